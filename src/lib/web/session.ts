/**
 * Who comes in by the token: a program with each request, a person once, who then has a cookie. The cookie holds until when it
 * is good and a signature made with the token, so it is known by every process that has the same token, and by none
 * that has another.
 */
import {createHmac, timingSafeEqual} from 'node:crypto'
import {monotonic} from '../jobs/clock.ts'
import {Refusal} from './refusal.ts'

const COOKIE = 'jobq_session'
/** How long a person is let in for. */
const SESSION_SECONDS = 12 * 3600
/** So many wrong tokens from one place, and for a minute none from there is looked at. */
const MAX_TRIES = 10
const TRIES_MS = 60_000
/** So many places are remembered. */
const MAX_PLACES = 10_000

export class Sessions {
  readonly #token: string
  readonly #path: string
  readonly #tries = new Map<string, {count: number; since: number}>()

  /** @param path where the cookie goes */
  constructor(token: string, path: string) {
    this.#token = token
    this.#path = path
  }

  /** Does the request show the token, or a cookie that was given for it? @throws Refusal 429 */
  isIn(headers: Headers, place: string): 'bearer' | 'cookie' | null {
    const [, bearer] = /^Bearer +(\S+)$/i.exec(headers.get('authorization') ?? '') ?? []
    if (bearer !== undefined) return this.isToken(bearer, place) ? 'bearer' : null
    const [, cookie] = new RegExp(`(?:^|; *)${COOKIE}=([^;]*)`).exec(headers.get('cookie') ?? '') ?? []
    return cookie !== undefined && this.#isGood(cookie) ? 'cookie' : null
  }

  /** @param place whence it comes, for the number of tries. @throws Refusal 429 */
  isToken(given: string, place: string): boolean {
    this.#checkTries(place)
    if (isSame(this.#sign(given), this.#sign(this.#token))) return true
    const tries = this.#tries.get(place) ?? {count: 0, since: monotonic()}
    tries.count++
    this.#tries.delete(place)
    this.#tries.set(place, tries)
    if (this.#tries.size > MAX_PLACES) this.#tries.delete(this.#tries.keys().next().value!)
    return false
  }

  /** For Set-Cookie. @param isSecure the page is served by https */
  begin(isSecure: boolean): string {
    const until = Math.floor(Date.now() / 1000) + SESSION_SECONDS
    return this.#cookie(`${until}.${this.#sign(String(until))}`, SESSION_SECONDS, isSecure)
  }

  end(): string {
    return this.#cookie('', 0, false)
  }

  #cookie(value: string, seconds: number, isSecure: boolean): string {
    const words = [
      `${COOKIE}=${value}`,
      `Path=${this.#path || '/'}`,
      `Max-Age=${seconds}`,
      'HttpOnly',
      'SameSite=Strict',
    ]
    return [...words, ...(isSecure ? ['Secure'] : [])].join('; ')
  }

  #isGood(cookie: string): boolean {
    const [until = '', signature = ''] = cookie.split('.')
    return isSame(signature, this.#sign(until)) && /^\d+$/.test(until) && Number(until) * 1000 > Date.now()
  }

  #checkTries(place: string): void {
    const tries = this.#tries.get(place)
    if (tries === undefined) return
    const left = TRIES_MS - (monotonic() - tries.since)
    if (left <= 0) this.#tries.delete(place)
    else if (tries.count >= MAX_TRIES) {
      const seconds = Math.ceil(left / 1000)
      throw new Refusal(
        429,
        'TOO_MANY_TRIES',
        `expected the token, got ${MAX_TRIES} wrong ones: wait ${seconds} s`,
        {
          headers: {'retry-after': String(seconds)},
        },
      )
    }
  }

  #sign(text: string): string {
    return createHmac('sha256', `jobq web ${this.#token}`).update(text).digest('base64url')
  }
}

/** In a time that does not tell where they differ. */
function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
