/**
 * A clock that is never set, unlike the time of day. `performance` is one as well, but loads half a megabyte of Node at
 * its first use.
 */

/** Milliseconds since some moment before this process: only differences mean anything. */
export function monotonic(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

/**
 * Milliseconds until so many seconds are over by a clock that says whole seconds: just behind the second's turn. The second is that in
 * which it was asked: had it turned by the answer, a look too early costs less than one that is a second late.
 * @param since when it was asked, by monotonic()
 */
export function untilSecond(seconds: number, since: number): number {
  const elapsed = monotonic() - since
  return seconds * 1000 + 5 - ((Date.now() - elapsed) % 1000) - elapsed
}
