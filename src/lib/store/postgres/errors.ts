/** PostgreSQL's and the network's errors in a user's words; never with a password, whatever they came with. */
import {ArgumentError, JobqError, StoreError} from '../../jobs/errors.ts'
import {OTHER_NAME_HINT, otherName, PasswordRefused} from '../shared/peer.ts'

/** What pg throws: the server's SQLSTATE, or the system's code, or no code and only a message. */
interface PostgresError extends Error {
  code?: string
}

const DEADLOCK = '40P01'
const LOCK_TIMEOUT = '55P03'
const SERIALIZATION = '40001'
/** By pg_cancel_backend or statement_timeout: what was sent with it is undone, or will be. */
const CANCELLED = '57014'
/** A transaction that took too long, or nothing was asked in it for too long. */
const IDLE = ['25P03', '25P04']
/** For this user, or for anyone. */
const NO_CONNECTION_LEFT = '53300'
/** The connection was refused, or ended by the server, which had not begun to commit. */
const SHUT_DOWN = ['57P01', '57P02', '57P03', '57P05', NO_CONNECTION_LEFT, ...IDLE]

/** Raised again if repeating the whole transaction may help: nothing of it was written. */
export function isPassing(error: unknown): boolean {
  return [DEADLOCK, LOCK_TIMEOUT, SERIALIZATION].includes(stateOf(error))
}

/** A value that its column does not take: of several that were sent, only one may be to blame. */
export function isOfData(error: unknown): boolean {
  return /^2[23]/.test(stateOf(error)) && isState(stateOf(error))
}

/** The connection ended before an answer came: what was sent may have been done. */
export function isLost(error: unknown): boolean {
  const code = stateOf(error)
  if (SHUT_DOWN.includes(code) || isState(code)) return false
  return (
    /^(E[A-Z]+|ERR_STREAM.*)$/.test(code) ||
    (error instanceof Error && /terminated|not queryable|closed/i.test(error.message))
  )
}

/** Is there no server behind this connection any more? */
export function isDead(error: unknown): boolean {
  return isLost(error) || SHUT_DOWN.includes(stateOf(error)) || stateOf(error).startsWith('08')
}

/** The server has as many connections as it may have, or this user has. @param error as it was explained */
export function isFull(error: unknown): boolean {
  return error instanceof StoreError && stateOf(error.cause) === NO_CONNECTION_LEFT
}

/** Said by a host that takes no writes; nothing of the transaction is done. */
export function isReadOnly(error: unknown): boolean {
  return stateOf(error) === '25006'
}

/** No connection to this host, where another one of the same address may do. */
export function isHostAway(error: unknown): boolean {
  return ['57P01', '57P02', '57P03'].includes(stateOf(error)) || isLost(error)
}

export function notPrepared(name: string, why: string, cause?: Error): StoreError {
  return new StoreError('FOREIGN', `${name} is not prepared for jobq (${why})`, {
    hint: 'run `jobq init` on it once, as a user who may make tables',
    cause,
  })
}

/** What is neither the server's nor the system's is a defect and stays as it is. */
export function explain(name: string, error: unknown): unknown {
  if (error instanceof JobqError || !(error instanceof Error)) return error
  const code = stateOf(error)
  const {message} = error
  const cause = error
  const failed = (kind: StoreError['code'], what: string, hint: string) =>
    new StoreError(kind, what, {hint, cause})
  const unreachable = (hint: string) =>
    failed('UNREACHABLE', `can't reach ${name} (${message || code || 'no answer'})`, hint)
  if (error instanceof PasswordRefused)
    return failed(
      'UNREACHABLE',
      `refused to tell ${name} the password: ${message}`,
      'add sslmode=require to the address, or have the server take scram-sha-256, or say that it may: sslmode=disable',
    )
  if (isPassing(error))
    return failed(
      'LOCKED',
      `${name} stayed locked by another transaction`,
      'find it in pg_stat_activity and try again',
    )
  switch (code) {
    case '28P01':
    case '28000':
      return unreachable('check the user and the password in the address, and pg_hba.conf on the server')
    case '3D000':
      return unreachable('make it (createdb), then run `jobq init`; or check the name in the address')
    case NO_CONNECTION_LEFT:
      return unreachable(
        'the server has no connection left for this user: raise max_connections, or try again',
      )
    case CANCELLED:
      return failed(
        'CANCELLED',
        `${name} has cancelled it (${message})`,
        'someone has cancelled the statement, or statement_timeout is too short for it',
      )
    case '25006':
      return failed(
        'READ_ONLY',
        `${name} can only be read (${message})`,
        'it may be a replica: give the address of the server that is written to',
      )
    case '53100':
    case 'ENOSPC':
      return failed(
        'FULL',
        `no room left at ${name} (${message}); nothing was stored`,
        'free some space on the server and try again',
      )
    case '42P01':
    case '42703':
    case '42883':
    case '3F000':
      return notPrepared(name, message, error)
    case '42501':
      return failed(
        'DATABASE',
        `${name}: ${message}`,
        'docs/servers.md names the GRANTs that each command needs',
      )
    case '22001':
    case '22021':
    case '22P05':
      return new ArgumentError(`${name} can't hold this text (${message})`, {cause})
    case 'XX001':
    case 'XX002':
      return failed('DAMAGED', `${name} is damaged (${message})`, 'restore it from a backup')
  }
  if (IDLE.includes(code))
    return unreachable(
      'a time-out of the server for transactions is too short (idle_in_transaction_session_timeout)',
    )
  if (code === '55000' && /accepting connections/.test(message))
    return unreachable('ALTER DATABASE … ALLOW_CONNECTIONS lets them in')
  if (SHUT_DOWN.includes(code) || code.startsWith('08'))
    return unreachable('wait until the server is up again')
  if (isState(code)) return failed('DATABASE', `${name}: ${message} (${code})`, '')
  const other = otherName(error)
  if (other !== null) return failed('UNREACHABLE', `can't trust ${name}: ${other}`, OTHER_NAME_HINT)
  if (/SSL|TLS|CERT|SIGNATURE|SELF_SIGNED/.test(code) || /SSL connections/.test(message))
    return unreachable(
      'give its certificate authority with sslrootcert=FILE, or sslmode=no-verify to trust any server, or sslmode=disable',
    )
  if (/^Received unexpected \w+ message from backend/.test(message))
    return unreachable('what listens there is no PostgreSQL server: check the host and port in the address')
  if (code === 'ECONNREFUSED')
    return unreachable('start the server, or check the host and port in the address')
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return unreachable('check the host in the address')
  if (code === 'ENOENT' || code === 'EACCES') return unreachable('check the path in the address')
  if (/password|SASL/i.test(message)) return unreachable('check the user and the password in the address')
  if (isLost(error)) return unreachable('the server has gone away, or the network has; try again')
  return error
}

/** SQLSTATE, or the system's code; empty where there is none. */
export function stateOf(error: unknown): string {
  const code = (error as PostgresError | null)?.code
  return typeof code === 'string' ? code : ''
}

/** SQLSTATE: five digits or capitals, with a digit somewhere (EPIPE is the system's). */
function isState(code: string): boolean {
  return /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)
}
