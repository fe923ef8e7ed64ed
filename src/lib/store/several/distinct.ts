/** Checks that several databases are not the same one twice: its jobs would be given out twice. */
import {realpathSync} from 'node:fs'
import {basename, dirname, join} from 'node:path'
import {UsageError} from '../../jobs/errors.ts'
import {type Address, addressName} from '../address.ts'

/** @throws UsageError that names the one that is there twice */
export function checkDistinct(addresses: readonly Address[]): void {
  const seen = new Map<string, number>()
  for (const [i, address] of addresses.entries()) {
    const place = placeOf(address)
    const first = place === null ? undefined : seen.get(place)
    if (first !== undefined)
      throw new UsageError(
        `expected different databases, got the same one as the ${first + 1}. and the ${i + 1}.: ${addressName(address)}`,
        {hint: 'name it once'},
      )
    if (place !== null) seen.set(place, i)
  }
}

/** Null for one that no other can be: in memory. */
function placeOf(address: Address): string | null {
  if (address.driver === 'sqlite') return address.path === ':memory:' ? null : realPath(address.path)
  const {hostname, port, pathname} = new URL(address.url)
  const host = ['127.0.0.1', '[::1]'].includes(hostname) ? 'localhost' : hostname
  const defaultPort = address.driver === 'mysql' ? '3306' : '5432'
  return `${address.driver}://${host}:${port || defaultPort}${decodeURIComponent(pathname)}`
}

/** A file that is not there yet is where its folder really is. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    try {
      return join(realpathSync(dirname(path)), basename(path))
    } catch {
      return path
    }
  }
}
