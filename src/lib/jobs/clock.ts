/**
 * A clock that is never set, unlike the time of day. `performance` is one as well, but loads half a megabyte of Node at
 * its first use.
 */

/** Milliseconds since some moment before this process: only differences mean anything. */
export function monotonic(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
