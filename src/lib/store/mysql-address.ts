/** What a mysql:// address asks of a connection. */
import {readFileSync} from 'node:fs'
import type {ConnectionOptions} from 'mysql2'
import {StoreError} from '../errors.ts'

/**
 * What an address says: mysql://user:password@host:port/database, with
 * `socket=PATH`; `ssl=true` or `ssl-mode=…`, `ssl-ca=FILE`, `ssl-cert=FILE`, `ssl-key=FILE`, `ssl-verify=false`.
 * @throws StoreError
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
  const database = decodeURIComponent(url.pathname.slice(1))
  if (database === '')
    throw new StoreError('UNREACHABLE', `${name} names no database`, {
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
    charset: 'UTF8MB4_BIN',
    multipleStatements: true,
    flags: ['FOUND_ROWS'],
    connectTimeout: 10_000,
  }
}

/** Once TLS is asked for, the server must prove who it is, unless the address says otherwise in so many words. */
function tlsOptions(params: URLSearchParams, name: string): ConnectionOptions['ssl'] {
  const mode = (params.get('ssl-mode') ?? params.get('sslmode') ?? '').toLowerCase().replaceAll('-', '_')
  const asked = (params.get('ssl') ?? '').toLowerCase()
  const files = {ca: params.get('ssl-ca'), cert: params.get('ssl-cert'), key: params.get('ssl-key')}
  const isOff = ['disabled', 'disable'].includes(mode) || ['false', '0', 'no', 'off'].includes(asked)
  const isOn = asked !== '' || !['', 'preferred', 'prefer', 'allow'].includes(mode) || files.ca !== null
  if (isOff || !isOn) return undefined
  const verify = !['false', '0', 'no'].includes(params.get('ssl-verify') ?? '')
  const given: Record<string, Buffer> = {}
  for (const [kind, path] of Object.entries(files)) {
    if (path === null) continue
    try {
      given[kind] = readFileSync(path)
    } catch (cause) {
      throw new StoreError('UNREACHABLE', `${name}: ssl-${kind}: can't read ${path}`, {cause})
    }
  }
  return {...given, rejectUnauthorized: verify, verifyIdentity: verify && mode !== 'verify_ca'}
}
