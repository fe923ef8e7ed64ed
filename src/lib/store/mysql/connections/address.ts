/** What a mysql:// address asks of a connection. */
import {createPublicKey} from 'node:crypto'
import {readFileSync} from 'node:fs'
import type {Socket} from 'node:net'
import {type AuthPlugin, authPlugins, type ConnectionOptions} from 'mysql2'
import {StoreError, UsageError} from '../../../jobs/errors.ts'
import {hostOf, urlsOf} from '../../shared/host-list.ts'
import {Hosts, PassedOver} from '../../shared/hosts.ts'
import {checkParameters} from '../../shared/parameters.ts'
import {isLoopback, PasswordRefused} from '../../shared/peer.ts'
import {isHostAway} from '../errors.ts'
import type {MysqlConnection} from './connection.ts'

const KNOWN = [
  ...['socket', 'socketPath', 'ssl', 'ssl-mode', 'sslmode', 'ssl-ca', 'ssl-cert', 'ssl-key', 'ssl-verify'],
  'server-public-key-path',
]

/** MySQL's words, and libpq's. */
const MODES = [
  ...['disabled', 'preferred', 'required', 'verify_ca', 'verify_identity'],
  ...['disable', 'prefer', 'allow', 'require', 'verify_full'],
]

export type MysqlHosts = Hosts<ConnectionOptions, MysqlConnection>

/** @param url with one host or several. @throws as connectionOptions */
export function mysqlHosts(url: string, name: string): MysqlHosts {
  const hosts = urlsOf(url).map(one => ({name: hostOf(one), config: connectionOptions(one, name)}))
  return new Hosts(hosts, {
    name,
    isAway: error => error instanceof PassedOver || isHostAway(error),
    end: link => link.end(),
  })
}

/**
 * What an address of one host says: mysql://user:password@host:port/database, with
 * `socket=PATH`; `ssl=true` or `ssl-mode=…`, `ssl-ca=FILE`, `ssl-cert=FILE`, `ssl-key=FILE`, `ssl-verify=false`;
 * `server-public-key-path=FILE`.
 * @throws StoreError, UsageError for a parameter that is unknown
 */
export function connectionOptions(address: string, name: string): ConnectionOptions {
  let url: URL
  try {
    url = new URL(address)
  } catch {
    throw new StoreError('UNREACHABLE', 'the mysql URL can’t be read', {
      hint: 'write it as mysql://user:password@host:port/database, with %-escapes in user and password',
    })
  }
  checkParameters(url, KNOWN)
  const database = decodeURIComponent(url.pathname.slice(1))
  if (database === '')
    throw new UsageError(`${name} names no database`, {
      hint: 'add it behind the host: mysql://user@host/database',
    })
  const socketPath = url.searchParams.get('socket') ?? url.searchParams.get('socketPath')
  const ssl = tlsOptions(url.searchParams, name)
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1') || 'localhost',
    port: Number(url.port) || 3306,
    user: decodeURIComponent(url.username) || 'root',
    password: decodeURIComponent(url.password),
    database,
    ...(socketPath ? {socketPath} : {}),
    ...(ssl ? {ssl} : {}),
    ...(ssl || socketPath ? {} : {authPlugins: passwordPlugins(url.searchParams, name)}),
    charset: 'UTF8MB4_BIN',
    multipleStatements: true,
    supportBigNumbers: true, // what a number can't hold comes in its digits
    flags: ['FOUND_ROWS'],
    connectTimeout: 0, // it ends before what comes behind the handshake: connections.ts
  }
}

/** Once TLS is asked for, the server must prove who it is, unless the address says otherwise in so many words. */
function tlsOptions(params: URLSearchParams, name: string): ConnectionOptions['ssl'] {
  const mode = modeOf(params)
  const files = {ca: params.get('ssl-ca'), cert: params.get('ssl-cert'), key: params.get('ssl-key')}
  const isOn =
    isYes(params, 'ssl') || !['', 'preferred', 'prefer', 'allow'].includes(mode) || files.ca !== null
  if (isTlsOff(params) || !isOn) return undefined
  const verify = isYes(params, 'ssl-verify') ?? true
  const given: Record<string, Buffer> = {}
  for (const [kind, path] of Object.entries(files))
    if (path !== null) given[kind] = contentOf(path, `${name}: ssl-${kind}`)
  return {...given, rejectUnauthorized: verify, verifyIdentity: verify && mode !== 'verify_ca'}
}

function modeOf(params: URLSearchParams): string {
  const text = params.get('ssl-mode') ?? params.get('sslmode') ?? ''
  const mode = text.toLowerCase().replaceAll('-', '_')
  if (mode === '' || MODES.includes(mode)) return mode
  throw new UsageError(
    `ssl-mode: expected DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY, got ${JSON.stringify(text)}`,
    {hint: 'REQUIRED verifies the certificate, as VERIFY_IDENTITY does; ssl-verify=false does not'},
  )
}

function isTlsOff(params: URLSearchParams): boolean {
  return ['disabled', 'disable'].includes(modeOf(params)) || isYes(params, 'ssl') === false
}

/** Undefined: it says nothing. */
function isYes(params: URLSearchParams, name: string): boolean | undefined {
  const text = (params.get(name) ?? '').toLowerCase()
  if (text === '') return undefined
  if (['true', '1', 'yes', 'on'].includes(text)) return true
  if (['false', '0', 'no', 'off'].includes(text)) return false
  throw new UsageError(`${name}: expected true or false, got something else`, {
    hint: 'or write ssl-mode=…; the files are ssl-ca, ssl-cert, ssl-key',
  })
}

/**
 * Without TLS these two send the password itself, encrypted for a public key. Asked for it, mysql2 takes whatever key the
 * server sends: fine on this machine, or where the address says that there is to be no TLS.
 */
function passwordPlugins(params: URLSearchParams, name: string): Record<string, AuthPlugin> {
  const path = params.get('server-public-key-path')
  const own = path === null ? {} : {serverPublicKey: publicKey(path, `${name}: server-public-key-path`)}
  const strict = {
    ...own,
    onServerPublicKey: () => {
      throw Object.assign(new PasswordRefused(), {code: 'AUTH_REFUSED'})
    },
  }
  const isTold = isTlsOff(params)
  const guarded =
    (plugin: typeof authPlugins.caching_sha2_password): AuthPlugin =>
    metadata => {
      const {stream} = metadata.connection as unknown as {stream: Socket}
      return plugin(isTold || isLoopback(stream.remoteAddress) ? own : strict)(metadata)
    }
  return {
    caching_sha2_password: guarded(authPlugins.caching_sha2_password),
    sha256_password: guarded(authPlugins.sha256_password),
  }
}

function publicKey(path: string, what: string): Buffer {
  const pem = contentOf(path, what)
  try {
    createPublicKey(pem)
    return pem
  } catch (cause) {
    throw new StoreError(
      'UNREACHABLE',
      `${what}: expected a public key in PEM, got something else in ${path}`,
      {
        hint: 'copy the server’s public_key.pem',
        cause,
      },
    )
  }
}

function contentOf(path: string, what: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new StoreError('UNREACHABLE', `${what}: can't read ${path}`, {cause})
  }
}
