/** What a postgres:// address asks of a connection, and whom that tells the password. */
import type {Socket} from 'node:net'
import {userInfo} from 'node:os'
import pg, {type ClientConfig} from 'pg'
import {idTooLarge, UsageError} from '../../../jobs/errors.ts'
import {MAX_ID} from '../../../jobs/job.ts'
import {checkParameters} from '../../shared/parameters.ts'
import {isLoopback, PasswordRefused} from '../../shared/peer.ts'

const INT8 = 20
const MILLISECONDS = ['statement_timeout', 'idle_in_transaction_session_timeout']
/** Of libpq's and pg's. */
const KNOWN = [
  ...['host', 'port', 'user', 'password', 'options', 'application_name'],
  ...['sslmode', 'ssl', 'sslrootcert', 'sslcert', 'sslkey'],
  ...MILLISECONDS,
]

interface Config extends ClientConfig {
  /** The address says that there is to be no TLS: a server that asks for the password gets it. */
  mayTellPassword: boolean
}

/** pg's, but a server beyond this machine that asks for the password itself, without TLS, is left without. */
export class Client extends pg.Client {
  constructor(config?: ClientConfig) {
    super(config)
    const {connection, host} = this
    const isSafe = this.ssl || host.startsWith('/') || (config as Config | undefined)?.mayTellPassword
    if (isSafe) return
    // What pg writes then goes to a stream that takes no more
    connection.once('authenticationCleartextPassword', () => {
      const {stream} = connection as unknown as {stream: Socket}
      if (!isLoopback(stream.remoteAddress)) stream.destroy(new PasswordRefused())
    })
  }
}

/**
 * What pg makes of the URL, but TLS as libpq's strictest reading of sslmode has it: verified, unless the URL says no.
 * @throws UsageError
 */
export function configOf(url: string): Config {
  const parsed = new URL(url)
  checkParameters(parsed, KNOWN)
  for (const name of MILLISECONDS) {
    const text = parsed.searchParams.get(name) ?? '0'
    if (!/^\d{1,9}$/.test(text))
      throw new UsageError(`${name}: expected milliseconds from 0, got ${JSON.stringify(text)}`, {
        hint: 'in the address of the database',
      })
  }
  const mode = parsed.searchParams.get('sslmode') ?? modeOf(parsed.searchParams.get('ssl'))
  const {PGUSER, USER} = process.env // pg's own defaults
  if (!(parsed.username || parsed.searchParams.get('user') || PGUSER || USER))
    parsed.searchParams.set('user', systemUser())
  for (const read of ['sslmode', 'ssl']) parsed.searchParams.delete(read)
  const ssl = sslOf(mode)
  return {
    application_name: 'jobq',
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    ...(ssl === undefined ? {} : {ssl}),
    mayTellPassword: (mode ?? process.env.PGSSLMODE) === 'disable',
    connectionString: parsed.href,
    types: {
      getTypeParser: ((oid: number, format?: 'text') =>
        oid === INT8 ? wholeOf : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  }
}

/** As psql has it. @throws UsageError where this one has no name */
function systemUser(): string {
  try {
    return userInfo().username
  } catch (cause) {
    throw new UsageError(
      'expected a user of PostgreSQL, got an address without one, and this process’s user has no name',
      {
        hint: 'write postgres://user@host/db, or set PGUSER',
        cause,
      },
    )
  }
}

/** Of all columns of this type only ids can be so large. @throws StoreError, and the statement fails with it */
function wholeOf(digits: string): number {
  const number = Number(digits)
  if (number > MAX_ID) throw idTooLarge('job', digits)
  return number
}

/** `ssl=true` and `ssl=false`, which pg has beside sslmode, in its words. */
function modeOf(ssl: string | null): string | null {
  if (ssl === null || ssl === 'no-verify') return ssl
  if (['true', '1', 'yes', 'on'].includes(ssl)) return 'require'
  if (['false', '0', 'no', 'off'].includes(ssl)) return 'disable'
  throw new UsageError('ssl: expected true, false or no-verify, got something else', {
    hint: 'or write sslmode=…; the files are sslrootcert, sslcert, sslkey',
  })
}

function sslOf(mode: string | null): ClientConfig['ssl'] {
  switch (mode) {
    case null:
    case 'allow': // TLS or none, as the server likes: none, and no password that is told
    case 'prefer':
      return undefined
    case 'disable':
      return false
    case 'no-verify':
      return {rejectUnauthorized: false}
    case 'require':
    case 'verify-ca':
    case 'verify-full':
      return {rejectUnauthorized: true}
    default:
      throw new UsageError(
        `sslmode: expected disable, allow, prefer, require, verify-ca, verify-full or no-verify, got ${JSON.stringify(mode)}`,
        {
          hint: 'require verifies the certificate, as verify-full does; no-verify does not',
        },
      )
  }
}
