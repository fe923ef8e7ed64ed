/** The server's and the network's errors in a user's words; never with a password, whatever they came with. */
import {ArgumentError, JobqError, StoreError} from '../../jobs/errors.ts'
import {OTHER_NAME_HINT, otherName, PasswordRefused} from '../shared/peer.ts'
import {mayBeStored as uncertain} from '../shared/uncertain.ts'

/** What mysql2 throws: the server's errno (its own of MariaDB have no code there), or the system's or the protocol's code. */
interface MysqlError extends Error {
  code?: string
  errno?: number
  /** The connection is gone. */
  fatal?: boolean
}

export const ERRNO = {
  columnIsNull: 1048,
  duplicate: 1062,
  lockWait: 1205,
  deadlock: 1213,
  tooLarge: 1153,
  outOfRange: 1264,
  overflow: 1690,
  /** No such savepoint, or procedure. */
  notThere: 1305,
  notExecutable: 1370,
} as const

const NO_CONNECTION_LEFT = [1040, 1203, 1226]
const OUT_OF_REACH = new Set(
  NO_CONNECTION_LEFT.concat([
    1042, 1043, 1044, 1045, 1049, 1053, 1080, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1251, 1698, 1927,
    1047, 2006, 2013, 3118, 4031, 4151,
  ]),
)
const LOCKED: ReadonlySet<number> = new Set([ERRNO.lockWait, ERRNO.deadlock, 1099, 3572])
/** By KILL QUERY, max_statement_time (MariaDB), max_execution_time (MySQL). */
const CANCELLED = new Set([1317, 1969, 3024])
const READ_ONLY = new Set([1036, 1290, 1792, 1836])
const FULL = new Set([1021, 1114])
/** A table, a column, jobq's index: Perl's tables have none of it before `jobq init`. */
const NOT_PREPARED = new Set([1146, 1054, 1176])
const NOT_GRANTED = new Set([1142, 1143, 1227, 1370, 1410, 1419])

/** Raised again if repeating the whole transaction may help: nothing of it was written. */
export function isPassing(error: unknown): boolean {
  const {errno} = error as MysqlError
  return errno === ERRNO.deadlock || errno === ERRNO.lockWait
}

/** The connection ended before an answer came: what was sent may have been done. */
export function isLost(error: unknown): boolean {
  const {code, errno, fatal} = error as MysqlError
  if (errno !== undefined && [1053, 1927, 2006, 2013, 4031].includes(errno)) return true
  return fatal === true || /^(PROTOCOL_|ECONN|EPIPE|ETIMEDOUT)/.test(code ?? '')
}

/** Galera's node is cut off from the others, or has not caught up with them: it does nothing of what it is asked. */
const NOT_READY = 1047
/** The server is ending, or was never there. */
const GONE = new Set([1053, 1080, 1152, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 3118, NOT_READY])

/** Said by a host that takes no writes, or not now; nothing of what it was asked is done. */
export function isRefusedHere(error: unknown): boolean {
  const {errno = 0, message} = error as MysqlError
  return errno === NOT_READY || (errno !== 1036 && READ_ONLY.has(errno) && /read[-_ ]only/i.test(message))
}

/** No connection to this host, where another one of the same address may do. */
export function isHostAway(error: unknown): boolean {
  const {code = '', errno = 0} = error as MysqlError
  if (isRefusedHere(error)) return true
  return errno > 0
    ? GONE.has(errno)
    : /^(E[A-Z]+|EAI_AGAIN|PROTOCOL_CONNECTION_LOST|ERR_SOCKET_.*)$/.test(code)
}

/** Galera's, where a node was cut off while it committed: the others may have it. */
const DURING_COMMIT = 1180

/** What was sent may have been done: nobody has said. */
export function isUndecided(error: unknown): boolean {
  return isLost(error) || hasErrno(error, DURING_COMMIT)
}

/** The server has broken off a statement, and what comes behind it in its batch; its transaction is still open. */
export function isCancelled(error: unknown): boolean {
  return CANCELLED.has((error as MysqlError).errno ?? 0)
}

/**
 * The server breaks the connection where a packet is too large, some after a part of it: so it is not sent.
 * @param most of the connection's packets
 */
export function checkPacket(bytes: number, most: number): void {
  if (bytes > most)
    throw Object.assign(new Error(`${bytes} bytes to send, max_allowed_packet allows for ${most}`), {
      code: 'ER_NET_PACKET_TOO_LARGE',
      errno: ERRNO.tooLarge,
    })
}

/** The server has as many connections as it may have, or this user has. */
export function isOutOfConnections(error: unknown): boolean {
  return NO_CONNECTION_LEFT.includes((error as MysqlError).errno ?? 0)
}

/** Not for this user. */
export function isDenied(error: unknown): boolean {
  const {errno = 0} = error as MysqlError
  return NOT_GRANTED.has(errno) || errno === 1044
}

export function hasErrno(error: unknown, errno: number): boolean {
  return (error as MysqlError | null)?.errno === errno
}

/** What is neither the server's nor the system's is a defect and stays as it is. */
export function explain(name: string, error: unknown): unknown {
  if (error instanceof JobqError) return error
  const {errno = 0, message, code = errno > 0 ? `error ${errno}` : undefined} = error as MysqlError
  const cause = error
  const failed = (kind: StoreError['code'], what: string, hint: string) =>
    new StoreError(kind, what, {hint, cause})
  if (message.startsWith('As a result of LOCAL INFILE'))
    // mysql2's, without a code
    return failed(
      'UNREACHABLE',
      `${name} asks for a file of this machine, which jobq never sends`,
      'no server of jobq’s has a reason to: see who answers at that address',
    )
  if (typeof code !== 'string') return error
  if (error instanceof PasswordRefused)
    return failed(
      'UNREACHABLE',
      `refused to tell ${name} the password: ${message}`,
      'add ssl=true to the address, or server-public-key-path=FILE, or say that it may: ssl-mode=DISABLED',
    )
  if (LOCKED.has(errno))
    return failed(
      'LOCKED',
      `${name} stayed locked by another transaction`,
      'find it (SHOW FULL PROCESSLIST) and try again',
    )
  if (CANCELLED.has(errno))
    return failed(
      'CANCELLED',
      `${name} has cancelled it (${message})`,
      'someone has killed the statement, or a time limit of the server is too short for it (max_statement_time, max_execution_time)',
    )
  if (READ_ONLY.has(errno))
    return failed(
      'READ_ONLY',
      `${name} can only be read (${message})`,
      'it may be a replica: give the address of the server that is written to',
    )
  if (FULL.has(errno) || /errno: 28\b/.test(message))
    return failed(
      'FULL',
      `no room left at ${name} (${message}); nothing was stored`,
      'free some space on the server and try again',
    )
  if (NOT_PREPARED.has(errno) || (errno === ERRNO.notThere && message.includes('PROCEDURE')))
    return failed(
      'FOREIGN',
      `${name} is not prepared for jobq (${message})`,
      'run `jobq init` on it once, as a user who may make tables',
    )
  if (errno === ERRNO.notExecutable)
    return failed(
      'DATABASE',
      `${name}: ${message}`,
      'grant it, for who works calls what `jobq init` makes: GRANT EXECUTE ON DATABASE.* TO USER',
    )
  if (NOT_GRANTED.has(errno))
    return failed(
      'DATABASE',
      `${name}: ${message}`,
      'docs/servers.md names the GRANTs that each command needs',
    )
  if (errno === 1366)
    return new ArgumentError(`${name} can't hold this text (${message})`, {
      hint: 'its tables have an old character set; with nothing at work: ALTER TABLE job CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, likewise func, exception_log, job_status',
      cause,
    })
  if (errno === ERRNO.tooLarge || errno === 1406)
    return new ArgumentError(`larger than ${name} takes (${message}); nothing was stored`, {
      hint: 'keep large data elsewhere, and enqueue where it is; or raise max_allowed_packet on the server: an argument may have 16 MiB',
      cause,
    })
  if (errno === 1665)
    return failed('DATABASE', `${name}: ${message}`, 'set binlog_format = ROW (or MIXED) on the server')
  const other = otherName(error)
  if (other !== null) return failed('UNREACHABLE', `can't trust ${name}: ${other}`, OTHER_NAME_HINT)
  if (isOutOfReach(code, errno))
    return failed('UNREACHABLE', `can't reach ${name} (${reasonOf(code, message)})`, hintOf(code, errno))
  if (errno > 0) return failed('DATABASE', `${name}: ${message} (${code})`, '')
  return error
}

/** @param what such as `the job` */
export function mayBeStored(name: string, what: string, cause: unknown): StoreError {
  return uncertain(name, what, cause, isCancelled(cause) ? `${name} has cancelled it midway` : undefined)
}

function isOutOfReach(code: string, errno: number): boolean {
  return (
    OUT_OF_REACH.has(errno) ||
    /^(E[A-Z]+|EAI_AGAIN|PROTOCOL_.*|HANDSHAKE_.*|ERR_(TLS|SSL|OSSL|SOCKET)_.*|.*CERT.*|.*VERIFY.*|AUTH_.*|MYSQL_CLEAR_.*)$/.test(
      code,
    )
  )
}

function reasonOf(code: string, message: string): string {
  return message === '' ? code : message.includes(code) ? message : `${message}; ${code}`
}

function hintOf(code: string, errno: number): string {
  if (errno === 1045 || errno === 1698) return 'check the user and the password in the address'
  if (errno === 1049)
    return 'make it (CREATE DATABASE), then run `jobq init`; or check the name in the address'
  if (errno === 1044) return 'ask for a grant on this database; docs/servers.md names what each command needs'
  if (code === 'MYSQL_CLEAR_PASSWORD_NOT_ENABLED')
    return 'give this user another way to be known, such as mysql_native_password or caching_sha2_password'
  if (errno === NOT_READY)
    return "a node of a cluster: wait until it is connected to the others again (SHOW STATUS LIKE 'wsrep%')"
  if (NO_CONNECTION_LEFT.includes(errno))
    return 'the server has no connection left for this user: raise max_connections, or try again'
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT') return 'set TLS up on the server, or leave ssl out of the address'
  if (/CERT|VERIFY|TLS|SSL|HANDSHAKE/.test(code))
    return 'give the authority that signed its certificate: ?ssl-ca=FILE; or ssl-verify=false to trust anyone'
  if (code === 'ECONNREFUSED') return 'start the server, or check the host and port in the address'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'check the host in the address'
  if (code === 'ENOENT' || code === 'EACCES') return 'check the path in the address'
  return 'the server has gone away, or the network has; try again'
}
