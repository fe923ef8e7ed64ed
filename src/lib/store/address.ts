/**
 * A database's address: what --db, JOBQ_DB and the config file may say, Perl's DSNs included.
 */
import {homedir} from 'node:os'
import {isAbsolute, join, resolve} from 'node:path'
import {UsageError} from '../errors.ts'

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
  /** The whole URL, password included: never for a message. */
  url: string
}

const FORMS =
  'a file (jobs.db, sqlite:jobs.db), mysql://user@host/db, postgres://user@host/db, or a Perl dbi: DSN'

/**
 * Reads one address. Relative paths are taken from `folder`.
 * @throws UsageError if it has none of the known forms
 */
export function parseAddress(text: string, folder: string = process.cwd()): Address {
  if (text === '') throw new UsageError(`expected a database, got an empty one`, {hint: `give ${FORMS}`})
  if (/^dbi:/i.test(text)) return parseDsn(text, folder)
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase()
  switch (scheme) {
    case undefined:
      return sqlite(text, folder)
    case 'sqlite':
      return sqlite(pathOf(text.slice('sqlite:'.length)), folder)
    case 'mysql':
    case 'mariadb':
      return server('mysql', text)
    case 'postgres':
    case 'postgresql':
      return server('postgres', text)
    default:
      throw new UsageError(
        `expected a database, got one of an unknown kind, ${JSON.stringify(`${scheme}:`)}`,
        {
          hint: `give ${FORMS}`,
        },
      )
  }
}

/** `$XDG_DATA_HOME/jobq/jobq.db`, else `~/.local/share/jobq/jobq.db`. */
export function defaultAddress(): SqliteAddress {
  const named = process.env.XDG_DATA_HOME ?? ''
  // A relative one is to be ignored, by the XDG specification
  const data = isAbsolute(named) ? named : join(homedir(), '.local', 'share')
  return {driver: 'sqlite', path: join(data, 'jobq', 'jobq.db'), isDefault: true}
}

/** sqlite:path and sqlite:///path name files; sqlite://path would be a host. */
function pathOf(rest: string): string {
  if (/^\/\/(?!\/)/.test(rest))
    throw new UsageError('expected a SQLite file, got a URL with a host', {
      hint: 'write sqlite:jobs.db, or sqlite:///folder/jobs.db for a path from the root',
    })
  return rest.replace(/^\/\//, '')
}

function sqlite(path: string, folder: string): SqliteAddress {
  if (path === '') throw new UsageError('expected a SQLite file, got no path', {hint: `give ${FORMS}`})
  return {driver: 'sqlite', path: path === ':memory:' ? path : resolve(folder, path), isDefault: false}
}

/** Checked here, where it is a word of the user's; what it says is never repeated: it may hold a password. */
function server(driver: ServerAddress['driver'], url: string): ServerAddress {
  try {
    const {username, password, pathname} = new URL(url)
    for (const part of [username, password, pathname]) decodeURIComponent(part)
    if (/^[a-z]+:\/\//i.test(url)) return {driver, url}
  } catch {} // told below
  throw new UsageError(`expected a URL of ${driver}, got one that can't be read`, {
    hint: `write ${driver}://user:password@host:port/database, with %-escapes in user and password`,
  })
}

/** `dbi:SQLite:dbname=…`, `dbi:mysql:database=…;host=…`, `dbi:Pg:dbname=…`, as Qudo's users have them. */
function parseDsn(text: string, folder: string): Address {
  const [, driver = '', rest = ''] = /^dbi:(\w+)(?:\([^)]*\))?:(.*)$/is.exec(text) ?? []
  const pairs = new Map<string, string>()
  for (const part of rest.split(';').filter(Boolean)) {
    const [key = '', ...value] = part.split('=')
    if (value.length === 0) pairs.set('dbname', key)
    else pairs.set(key.trim().toLowerCase(), value.join('=').trim())
  }
  const database = pairs.get('dbname') ?? pairs.get('database') ?? pairs.get('db')
  const kind = driver.toLowerCase()
  if (kind === 'sqlite') return sqlite(database ?? '', folder)
  if (kind !== 'mysql' && kind !== 'mariadb' && kind !== 'pg')
    throw new UsageError(
      `expected a DSN of SQLite, mysql, MariaDB or Pg, got ${JSON.stringify(`dbi:${driver}:`)}`,
      {
        hint: `give ${FORMS}`,
      },
    )
  if (!database) throw new UsageError('the DSN names no database', {hint: 'add dbname=NAME'})
  const url = new URL(`${kind === 'pg' ? 'postgres' : 'mysql'}://localhost`)
  url.hostname = pairs.get('host') ?? pairs.get('hostname') ?? 'localhost'
  url.port = pairs.get('port') ?? ''
  url.username = encodeURIComponent(pairs.get('user') ?? process.env.DBI_USER ?? '')
  url.password = encodeURIComponent(pairs.get('password') ?? process.env.DBI_PASS ?? '')
  url.pathname = `/${encodeURIComponent(database)}`
  return {driver: kind === 'pg' ? 'postgres' : 'mysql', url: url.href}
}

/** The address as --db takes it, password included. */
export function addressText(address: Address): string {
  return address.driver === 'sqlite' ? address.path : address.url
}

/** How messages name an address: never with a password. */
export function addressName(address: Address): string {
  if (address.driver === 'sqlite') return address.path
  const url = new URL(address.url)
  if (url.password) url.password = '***'
  for (const key of [...url.searchParams.keys()])
    if (/pass|secret|key|ssl|token|cert/i.test(key)) url.searchParams.set(key, '***')
  return url.href
}
