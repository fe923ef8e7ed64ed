/** A clock that is never set. `performance` is one as well, and half a megabyte of Node that is loaded at its first use. */

/** Milliseconds since some moment before this process: only differences mean anything. */
export function monotonic(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
