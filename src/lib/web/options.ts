/** What `webHandler` may be told, checked once. */
import type {IncomingMessage} from 'node:http'
import {UsageError} from '../jobs/errors.ts'
import {checkOptions, is} from '../jobs/options.ts'

/** How the pages are served. */
export interface WebOptions {
  /** The path that it is mounted at, such as '/jobq'. Default: the root. */
  basePath?: string | undefined
  /** Who has it may come in, by a login page or as `Authorization: Bearer`. At least 16 characters. */
  token?: string | undefined
  /**
   * Instead of a token: says who asks, for the log of actions, or null to refuse; whatever is no name refuses, too. It is
   * asked at each request, but for /healthz. With `node` it gets the request of node:http as well, with what middleware has put there.
   */
  authorize?:
    | ((request: Request, incoming?: IncomingMessage) => string | null | Promise<string | null>)
    | undefined
  /** The names by which browsers may know it, besides this machine's own. */
  hosts?: readonly string[] | undefined
  /** Every action is refused. Default false. */
  readOnly?: boolean | undefined
  /** /metrics without a token. Default false. */
  publicMetrics?: boolean | undefined
  /** The header in which a proxy says who asks, such as 'X-Forwarded-User'. Default: nobody is believed. */
  userHeader?: string | undefined
  /** Told what a person should look at. Default: nobody. */
  onTrouble?: ((message: string) => void) | undefined
}

/** The same, with what is not said filled in. */
export interface Settings extends WebOptions {
  /** '' or '/jobq'. */
  basePath: string
  hosts: readonly string[]
  readOnly: boolean
  publicMetrics: boolean
  /** Everybody who can come here is let in, and nobody asked: then programs can't enqueue. */
  isOpen: boolean
  onTrouble: (message: string) => void
}

/** A shorter one could be guessed. */
const MIN_TOKEN_LENGTH = 16

const OPTIONS = {
  basePath: is.text,
  token: is.text,
  authorize: is.callback,
  hosts: is.array,
  readOnly: is.yesNo,
  publicMetrics: is.yesNo,
  userHeader: is.text,
  onTrouble: is.callback,
}

/** @throws UsageError */
export function settingsOf(options: WebOptions): Settings {
  checkOptions(options, 'webHandler', OPTIONS)
  if ((options.token === undefined) === (options.authorize === undefined))
    throw new UsageError(
      `webHandler: expected token or authorize, got ${options.token === undefined ? 'neither' : 'both'}`,
      {
        hint: "who may come in is yours to say: token: '…', or authorize: request => nameOfWhoAsks(request)",
      },
    )
  if (options.token !== undefined) checkToken(options.token, 'webHandler: token')
  for (const name of options.hosts ?? []) checkHostName(name, 'webHandler: hosts')
  return {
    ...options,
    basePath: checkBasePath(options.basePath ?? '', 'webHandler: basePath'),
    hosts: (options.hosts ?? []).map(name => name.toLowerCase()),
    readOnly: options.readOnly ?? false,
    publicMetrics: options.publicMetrics ?? false,
    isOpen: false,
    onTrouble: options.onTrouble ?? (() => {}),
  }
}

/** @throws UsageError; the token is not in the message */
export function checkToken(token: string, what: string): string {
  if (token.length >= MIN_TOKEN_LENGTH && /^[\x21-\x7e]+$/.test(token)) return token
  throw new UsageError(
    `${what}: expected at least ${MIN_TOKEN_LENGTH} letters, digits and signs without blanks, got ${token.length} characters`,
    {hint: 'make one: openssl rand -hex 32'},
  )
}

/** @returns '' for the root, else with a slash before it and none behind. @throws UsageError */
export function checkBasePath(path: string, what: string): string {
  const bare = path.replace(/\/$/, '')
  if (bare === '' || /^(\/(?!\.\.?(\/|$))[\w.~-]+)+$/.test(bare)) return bare
  throw new UsageError(`${what}: expected a path such as /jobq, got ${JSON.stringify(path)}`)
}

/** @throws UsageError */
export function checkHostName(name: string, what: string): string {
  if (typeof name === 'string' && /^[\w-]+(\.[\w-]+)*$|^\[[\da-f:.]+\]$/i.test(name)) return name
  throw new UsageError(`${what}: expected a name such as jobs.example.com, got ${JSON.stringify(name)}`, {
    hint: 'without https:// and without a port',
  })
}
