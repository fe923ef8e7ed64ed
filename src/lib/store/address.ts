/**
 * A database's address: what --db, JOBQ_DB and the config file may say, Perl's DSNs included.
 */
import {homedir} from 'node:os'
import {isAbsolute, join} from 'node:path'
import {UsageError} from '../jobs/errors.ts'
import {absolutePath} from '../jobs/here.ts'
import {withoutPassword} from '../jobs/passwords.ts'
import {parseDsn} from './dsn.ts'
import {hostOf, placeOf, urlsOf, withHosts} from './shared/host-list.ts'

export type Address = SqliteAddress | ServerAddress

export interface SqliteAddress {
  driver: 'sqlite'
  /** Absolute, or `:memory:`. */
  path: string
  /** The default path: its folder is made if it is missing. A folder that was named must be there. */
  isDefault: boolean
}

export interface ServerAddress {
  driver: 'mysql' | 'postgres'
  /** The whole URL, with all its hosts, password included: never for a message. */
  url: string
}

const FORMS =
  'a file (jobs.db, sqlite:jobs.db), mysql://user@host/db, postgres://user@host/db, or a Perl dbi: DSN'

/**
 * Reads one address. Relative paths are taken from `folder`, else from the current one.
 * @throws UsageError if it has none of the known forms; nothing of it that may be a password is repeated
 */
export function parseAddress(text: string, folder?: string): Address {
  if (text === '') throw new UsageError(`expected a database, got an empty one`, {hint: `give ${FORMS}`})
  if (!text.isWellFormed())
    throw new UsageError('expected a database, got one with half a character in it', {
      hint: 'no name can hold it: an escape such as \\ud83d stands without its other half',
    })
  if (/^dbi:/i.test(text)) return fromDsn(text, folder)
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase()
  switch (scheme) {
    case undefined:
      return sqlite(named(text), folder)
    case 'sqlite':
      return sqlite(fileOfUrl(text.slice('sqlite:'.length)), folder)
    case 'mysql':
    case 'mariadb':
      return server('mysql', text)
    case 'postgres':
    case 'postgresql':
      return server('postgres', text)
    default: {
      const isUrl = text.startsWith('://', scheme.length)
      const kind = isUrl ? `of an unknown kind, ${JSON.stringify(`${scheme}:`)}` : 'of an unknown kind'
      throw new UsageError(`expected a database, got one ${kind}`, {hint: `give ${FORMS}`})
    }
  }
}

function fromDsn(text: string, folder?: string): Address {
  const dsn = parseDsn(text, FORMS)
  if (dsn.driver !== 'sqlite') return server(dsn.driver, dsn.url)
  return sqlite(dsn.isUri ? fileOfUri(dsn.path) : dsn.path, folder)
}

/** `$XDG_DATA_HOME/jobq/jobq.db`, else `~/.local/share/jobq/jobq.db`. @throws UsageError where there is no home */
export function defaultAddress(): SqliteAddress {
  const named = process.env.XDG_DATA_HOME ?? ''
  // A relative one is to be ignored, by the XDG specification
  const data = isAbsolute(named) ? named : join(home(), '.local', 'share')
  return {driver: 'sqlite', path: join(data, 'jobq', 'jobq.db'), isDefault: true}
}

/** Absolute: a relative one, or an empty one, would be another queue in each folder. */
function home(): string {
  let cause: unknown
  try {
    const folder = homedir()
    if (isAbsolute(folder)) return folder
  } catch (error) {
    cause = error
  }
  throw new UsageError('expected a home folder for the default database, but this user has none', {
    hint: 'give --db or JOBQ_DB, or set HOME or XDG_DATA_HOME',
    cause,
  })
}

/** sqlite:path and sqlite:///path name files; sqlite://path would be a host. */
function pathOf(rest: string): string {
  if (/^\/\/(?!\/)/.test(rest))
    throw new UsageError('expected a SQLite file, got a URL with a host', {
      hint: 'write sqlite:jobs.db, or sqlite:///folder/jobs.db for a path from the root',
    })
  return rest.replace(/^\/\//, '')
}

/** What looks like a server's address is none of a file, or its password would become a name in the file system. */
function named(text: string): string {
  const isPath = /^\.{0,2}\//.test(text)
  const isUrl = /:\/\/|^[^@]*:[^@]*@|^[^/@]*@[^/]*\//.test(text)
  const isKeywords =
    /(^|[\s;,&?])(host|hostaddr|server|port|user|username|uid|pass|passwd|password|pwd|dbname|database|service|sslmode)\s*=/i
  if (isPath || !(isUrl || isKeywords.test(text))) return text
  throw new UsageError('expected a database, got what looks like the address of a server', {
    hint: 'write mysql://user:password@host/db or postgres://user:password@host/db; a file of such a name is ./NAME',
  })
}

function fileOfUrl(rest: string): string {
  if (rest.includes('#'))
    throw new UsageError('expected a SQLite file, got one with a #, which begins a fragment of a URL', {
      hint: 'leave it out, or write %23 for a # in its name',
    })
  const path = decoded(withoutParameters(pathOf(rest)))
  if (path !== null) return path
  throw new UsageError('expected a SQLite file, got one with a % that starts no escape', {
    hint: 'write %25 for a % in its name',
  })
}

/** SQLite's own `file:` URIs, as Perl's `uri=` gives them. */
function fileOfUri(uri: string): string {
  if (!uri.startsWith('file:')) return uri
  const [name = ''] = withoutParameters(uri.slice('file:'.length)).split('#', 1)
  const local = name.replace(/^\/\/(localhost)?(?=\/)/, '')
  const path = local.startsWith('//') ? null : decoded(local)
  if (path !== null) return path
  throw new UsageError('expected a file: URI of a SQLite file, got one that can’t be read', {
    hint: 'write file:jobs.db or file:///folder/jobs.db, with %-escapes',
  })
}

/** null: it can't be. */
function decoded(path: string): string | null {
  try {
    return decodeURIComponent(path)
  } catch {
    return null
  }
}

/** `mode=rwc` is how jobq opens a file; no other parameter would be obeyed. */
function withoutParameters(path: string): string {
  const [name = '', ...query] = path.split('?')
  const parameters = new URLSearchParams(query.join('?'))
  for (const [key, value] of parameters)
    if (key !== 'mode' || value !== 'rwc')
      throw new UsageError(`expected a SQLite file, got one with the parameter ${JSON.stringify(key)}`, {
        hint: 'leave it out: jobq reads and writes the file; a file with a ? in its name is ./NAME',
      })
  return name
}

function sqlite(path: string, folder?: string): SqliteAddress {
  if (path === '') throw new UsageError('expected a SQLite file, got no path', {hint: `give ${FORMS}`})
  if (path.includes('\0'))
    throw new UsageError('expected a SQLite file, got a NUL in its name', {hint: 'no file’s name has one'})
  const [, file] = /^(.+)-(?:wal|shm|journal)$/.exec(path) ?? []
  if (file)
    throw new UsageError(
      `expected a SQLite file, got ${JSON.stringify(path)}, a name that SQLite itself takes`,
      {
        hint: `what lies there is part of ${file}, and is removed with its last use`,
      },
    )
  return {driver: 'sqlite', path: path === ':memory:' ? path : absolutePath(path, folder), isDefault: false}
}

/**
 * Checked here, where it is a word of the user's; what it says is never repeated: it may hold a password. An @ behind
 * the host is what is left of one that has a /, a ? or a # in it.
 */
function server(driver: ServerAddress['driver'], text: string): ServerAddress {
  // Without a host, where a parameter names one or a socket: libpq takes that, URL does not
  const url = text.replace(/^(\w+:\/\/)(?:([^/?#@]*@)(?=[:/?#]|$)|(?=:\d*(?:[/?#]|$)))/, '$1$2localhost')
  const urls = urlsOf(url)
  if (/^[a-z]+:\/\/[^/?#]*@[^/?#]*,[^/?#]*@/i.test(url))
    throw new UsageError(`expected user and password once, before all hosts, in the URL of ${driver}`, {
      hint: `write ${driver}://user:password@host1,host2/database; in a password an @ is %40, and a comma %2C`,
    })
  if (urls.length > 1) checkHosts(driver, urls)
  try {
    const {username, password, pathname, searchParams, hash} = new URL(urls[0])
    for (const part of [username, password, pathname]) decodeURIComponent(part)
    const isCut = [pathname, hash, ...searchParams.keys()].some(part => part.includes('@')) || hash !== ''
    if (/^[a-z]+:\/\//i.test(url) && !isCut) {
      checkDatabase(driver, pathname)
      return {driver, url: urls.length > 1 ? severalHosts(urls) : url}
    }
  } catch (error) {
    if (error instanceof UsageError) throw error // else it is told below
  }
  throw new UsageError(`expected a URL of ${driver}, got one that can't be read`, {
    hint: `write ${driver}://user:password@host:port/database, with %-escapes in user and password`,
  })
}

/** Told by their place: what is taken for a host may be a piece of a password. @throws UsageError */
function checkHosts(driver: ServerAddress['driver'], urls: readonly string[]): void {
  const hint = `write ${driver}://user:password@host1:port,host2:port/database, an IPv6 address in brackets`
  const seen: string[] = []
  for (const [i, url] of urls.entries()) {
    const which = `the ${i + 1}. of ${urls.length} hosts in the URL of ${driver}`
    if (/^[a-z]+:\/\/([^/?#]*@)?([/?#]|$)/i.test(url))
      throw new UsageError(`expected a host, got an empty one: ${which}`, {hint})
    const host = readHost(url, driver)
    if (host === null)
      throw new UsageError(`expected a host, or a host and a port up to 65535, got neither: ${which}`, {hint})
    const first = seen.indexOf(host)
    if (first >= 0)
      throw new UsageError(`expected different hosts, got the ${first + 1}. again: ${which}`, {hint})
    seen.push(host)
  }
  const {searchParams} = new URL(urls[0]!)
  for (const name of ['host', 'port', 'hostaddr', 'socket', 'socketPath'])
    if (searchParams.has(name))
      throw new UsageError(`expected hosts between @ and /, got one in the parameter ${name}, too`, {hint})
}

/** @throws UsageError if a list goes on behind it */
function checkDatabase(driver: string, pathname: string): void {
  if (pathname.includes(','))
    throw new UsageError('expected one database, behind all hosts, got a list of them', {
      hint: `write ${driver}://user@host1,host2/database; for several databases give --db several times; a comma in a name is %2C`,
    })
}

/** Null: it can't be. */
function readHost(url: string, driver: ServerAddress['driver']): string | null {
  try {
    return placeOf(url, driver)
  } catch {
    return null
  }
}

/** As JOBQ_DB may say it, too, where a comma elsewhere would part two databases. */
function severalHosts(urls: readonly [string, ...string[]]): string {
  const first = new URL(urls[0])
  if (first.pathname === '') first.pathname = '/'
  return withHosts(first.href.replaceAll(',', '%2C'), urls.map(hostOf))
}

/**
 * The addresses in JOBQ_DB: a comma parts them, but for those between a server's hosts, which come before its URL's next `/`.
 */
export function splitAddresses(text: string): string[] {
  const found: string[] = []
  for (const part of text.split(',')) {
    const last = found.at(-1)
    const isHost = last !== undefined && OPEN_URL.test(last) && !OTHER_ADDRESS.test(part)
    if (isHost) found[found.length - 1] = `${last},${part}`
    else found.push(part)
  }
  return found
}

const OPEN_URL = /^\s*(mysql|mariadb|postgres|postgresql):\/\/[^/?#]*$/i
const OTHER_ADDRESS = /^\s*((mysql|mariadb|postgres|postgresql|sqlite|dbi):|[./]|[^/]*@)/i

/** The address as --db takes it, password included. */
export function addressText(address: Address): string {
  return address.driver === 'sqlite' ? address.path : address.url
}

/** What of a URL's parameters tells one database from another; all others may be secret. */
const SHOWN = ['host', 'port', 'user', 'dbname', 'socket', 'socketPath', 'options', 'sslmode', 'ssl-mode']

/** How messages name an address: never with a password. */
export function addressName(address: Address): string {
  if (address.driver === 'sqlite') return address.path
  const urls = urlsOf(address.url)
  const url = new URL(urls[0])
  if (url.password) url.password = '***'
  const shown = SHOWN.flatMap(key =>
    // In a DSN that is cut wrongly, such as `sslmode= password=…`, a value has another's key in it
    url.searchParams.getAll(key).map((value): [string, string] => [key, withoutPassword(value)]),
  )
  url.search = new URLSearchParams(shown).toString()
  return urls.length > 1 ? withHosts(url.href, urls.map(hostOf)) : url.href
}
