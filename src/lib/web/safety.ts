/**
 * Who may ask, as far as a browser's own words tell: a page of another site reaches what listens on this machine through
 * its visitor's browser, with its own Origin, or by a name that it has let lead here, which is then the Host.
 */
import {isIP} from 'node:net'
import {Refusal} from './refusal.ts'

const THIS_MACHINE = ['localhost', '127.0.0.1', '[::1]']

/** Sent with every answer. Nothing is loaded but what is served here, nothing is framed, nothing is kept. */
export const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

/**
 * The Host must be a name of ours, or an address: a name that someone else owns can be made to lead here, an address can't.
 * @returns it. @throws Refusal
 */
export function checkHost(host: string, names: readonly string[]): string {
  const name = nameOf(host)
  if (name !== null && (THIS_MACHINE.includes(name) || names.includes(name) || isAddress(name))) return host
  throw new Refusal(421, 'WRONG_HOST', 'expected a name of this server in the address, got another one', {
    hint: 'it is let be known by another one: --allow-host NAME of jobq web, hosts of webHandler',
  })
}

/**
 * What changes something must come from a page of ours. Browsers say so by Sec-Fetch-Site, older ones by Origin; who says
 * neither is no browser.
 * @param isTrusted it shows a token that no browser would send by itself
 * @throws Refusal
 */
export function checkSource(
  headers: Headers,
  host: string,
  names: readonly string[],
  isTrusted: boolean,
): void {
  const site = headers.get('sec-fetch-site')
  const origin = headers.get('origin')
  const isOurs = origin === null ? site === 'same-origin' : isOwnOrigin(origin, host, names)
  if (isOurs && (site === null || site === 'same-origin')) return
  if (isTrusted && site === null && origin === null) return
  throw new Refusal(403, 'WRONG_SITE', 'expected a form of this page, got a request from elsewhere', {
    hint: 'a script sends the token that the server was started with (JOBQ_WEB_TOKEN, --token-file): Authorization: Bearer …; where an application says who asks, an Origin that is its own',
  })
}

/** A stream is held open for pages of ours only: another site could take them all. @throws Refusal */
export function checkReader(headers: Headers): void {
  const site = headers.get('sec-fetch-site')
  if (site !== null && site !== 'same-origin')
    throw new Refusal(403, 'WRONG_SITE', 'expected a page of ours to listen, got a request from elsewhere')
}

function isOwnOrigin(origin: string, host: string, names: readonly string[]): boolean {
  const url = URL.parse(origin)
  if (url === null || !/^https?:$/.test(url.protocol)) return false
  return url.host === host.toLowerCase() || names.includes(url.hostname)
}

/** Without its port, in small letters; null: it is no host. */
function nameOf(host: string): string | null {
  const [, name] = /^(\[[\da-f:.]+\]|[\w.-]+)(:\d{1,5})?$/i.exec(host) ?? []
  return name?.toLowerCase() ?? null
}

function isAddress(name: string): boolean {
  return isIP(name.replace(/^\[|\]$/g, '')) > 0
}

/** Is it an address of this machine alone? */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)
}
