/**
 * Perl's DSNs, as they stand in real scripts: read as DBD::SQLite, DBD::mysql, DBD::MariaDB and DBD::Pg read them, and
 * written as the URL that means the same.
 */
import {UsageError} from '../jobs/errors.ts'
import {hostOf, withHosts} from './shared/host-list.ts'

export type Dsn =
  | {driver: 'sqlite'; path: string; isUri: boolean}
  | {driver: 'mysql' | 'postgres'; url: string}

type Pairs = Map<string, string>

/**
 * A DSN often holds a password, and each driver parts it in its own way: no message repeats anything of it.
 * @throws UsageError
 */
export function parseDsn(text: string, forms: string): Dsn {
  const [, driver = '', rest = ''] = /^dbi:(\w+)(?:\([^)]*\))?:(.*)$/is.exec(text) ?? []
  switch (driver.toLowerCase()) {
    case 'sqlite':
      return sqlite(rest)
    case 'mysql':
    case 'mariadb':
      return mysql(mysqlPairs(rest))
    case 'pg':
      return postgres(conninfo(rest))
    default:
      throw new UsageError(
        `expected a DSN of SQLite, mysql, MariaDB or Pg, got ${JSON.stringify(`dbi:${driver}:`)}`,
        {hint: `give ${forms}`},
      )
  }
}

/** Without a `=` all of it is the file's name. */
function sqlite(rest: string): Dsn {
  let path = rest.includes('=') ? '' : rest
  let isUri = false
  for (const part of rest.includes('=') ? rest.split(';') : []) {
    const [key, value] = pair(part)
    if (!/^(db(name)?|database|uri)$/.test(key)) continue
    path = value
    isUri = key === 'uri'
  }
  return {driver: 'sqlite', path, isUri}
}

/** Parted at `;` and `:` alike; what has no `=` is the database, then the host, then the port. */
function mysqlPairs(rest: string): Pairs {
  const pairs: Pairs = new Map()
  for (const part of rest.split(';').flatMap(atColons)) {
    const [key, value] = pair(part)
    const name = key === 'hostname' ? 'host' : /^(db|dbname)$/.test(key) ? 'database' : key
    if (part.includes('=')) pairs.set(name, value)
    else {
      const free = ['database', 'host', 'port'].find(each => !pairs.has(each))
      if (free !== undefined && part.trim() !== '') pairs.set(free, part.trim())
    }
  }
  return pairs
}

/** An IPv6 address stands in brackets. A password is left whole: Perl would take what follows its colon for a host. */
function atColons(part: string): string[] {
  if (/^\s*(password|user|\w*socket)\s*=/i.test(part)) return [part]
  return part.match(/(?:\[[^\]]*\]|[^:])+/g)?.map(each => each.replace(/[[\]]/g, '')) ?? []
}

function mysql(pairs: Pairs): Dsn {
  const database = needed(pairs.get('database'))
  if (database.includes('@'))
    throw new UsageError('the DSN has an @ in the name of its database', {
      hint: 'write dbi:mysql:database=NAME;host=HOST;port=PORT: DBD::mysql knows no NAME@HOST either',
    })
  const own = (name: string) => pairs.get(`mysql_${name}`) ?? pairs.get(`mariadb_${name}`)
  return {
    driver: 'mysql',
    url: urlOf('mysql', {
      host: pairs.get('host'),
      port: pairs.get('port'),
      user: pairs.get('user') ?? process.env.DBI_USER,
      password: pairs.get('password') ?? process.env.DBI_PASS,
      database,
      params: {
        socket: own('socket'),
        ssl: isTrue(own('ssl')) ? 'true' : undefined,
        'ssl-ca': own('ssl_ca_file'),
        'ssl-cert': own('ssl_client_cert'),
        'ssl-key': own('ssl_client_key'),
        'server-public-key-path': own('server_pubkey'),
      },
    }),
  }
}

/** libpq's `key = value` pairs, between them blanks or, as DBD::Pg has it, `;`. A value may be quoted. */
function conninfo(rest: string): Pairs {
  const pairs: Pairs = new Map()
  for (const [, key = '', quoted, plain = ''] of rest.matchAll(
    /([^\s;=]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s;]*))/gs,
  ))
    pairs.set(/^(db|database)$/.test(key) ? 'dbname' : key, (quoted ?? plain).replace(/\\(.)/gs, '$1'))
  if (pairs.size === 0 && /^\s*[^\s;]+\s*$/.test(rest)) pairs.set('dbname', rest.trim())
  return pairs
}

const READ_HERE = ['host', 'hostaddr', 'port', 'user', 'password', 'dbname', 'sslmode']

/** The environment goes before the DSN here, as in DBD::Pg. */
function postgres(pairs: Pairs): Dsn {
  const host = pairs.get('host') || pairs.get('hostaddr')
  const mode = pairs.get('sslmode') ?? ''
  return {
    driver: 'postgres',
    url: urlOf('postgres', {
      host: host?.startsWith('/') ? undefined : host,
      port: pairs.get('port'),
      user: process.env.DBI_USER ?? pairs.get('user'),
      password: process.env.DBI_PASS ?? pairs.get('password'),
      database: needed(pairs.get('dbname')),
      params: {
        host: host?.startsWith('/') ? host : undefined,
        sslmode: ['', 'prefer', 'allow'].includes(mode) ? undefined : mode, // TLS or none, as the server likes: none
        ...Object.fromEntries([...pairs].filter(([key]) => !READ_HERE.includes(key))), // known or not, as a URL's
      },
    }),
  }
}

interface Parts {
  host: string | undefined
  port: string | undefined
  user: string | undefined
  password: string | undefined
  database: string
  params: Record<string, string | undefined>
}

/** Several hosts are separated by commas, as libpq has them; each has its port, or one holds for all. */
function urlOf(scheme: string, parts: Parts): string {
  const hosts = parts.host?.split(',') ?? []
  const ports = parts.port?.split(',') ?? []
  if (hosts.length < 2) return urlOfOne(scheme, parts)
  if (ports.length > 1 && ports.length !== hosts.length)
    throw new UsageError(`expected one port, or ${hosts.length} as there are hosts, got ${ports.length}`, {
      hint: 'write host=HOST1,HOST2;port=PORT1,PORT2',
    })
  const urls = hosts.map((host, i) => urlOfOne(scheme, {...parts, host, port: ports[i] ?? ports[0]}))
  return withHosts(
    urls[0]!,
    urls.map((url, i) => (hosts[i] === '' ? '' : hostOf(url))),
  )
}

function urlOfOne(scheme: string, {host, port, user, password, database, params}: Parts): string {
  const name = host?.includes(':') ? `[${host}]` : host || 'localhost'
  const url = new URL(`${scheme}://localhost/${encodeURIComponent(database)}`)
  for (const [key, value] of Object.entries(params)) if (value) url.searchParams.set(key, value)
  url.username = encodeURIComponent(user ?? '')
  url.password = encodeURIComponent(password ?? '')
  url.hostname = name // neither throws: what it can't be is left out
  url.port = port ?? ''
  if (url.hostname.toLowerCase() === name.toLowerCase() && url.port === (port ?? '')) return url.href
  throw new UsageError('the DSN has a host or a port that is none', {
    hint: 'write host=NAME;port=NUMBER',
  })
}

function needed(database: string | undefined): string {
  if (database) return database
  throw new UsageError('the DSN names no database', {hint: 'add dbname=NAME'})
}

function pair(part: string): [key: string, value: string] {
  const [key = '', ...value] = part.split('=')
  return [key.trim().toLowerCase(), value.join('=').trim()]
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && !['', '0'].includes(value)
}
