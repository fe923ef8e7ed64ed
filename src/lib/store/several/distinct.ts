/** Checks that several databases are not the same one twice: its jobs would be given out twice. */
import {realpathSync} from 'node:fs'
import {basename, dirname, join} from 'node:path'
import {UsageError} from '../../jobs/errors.ts'
import {type Address, addressName} from '../address.ts'
import {placeOf, urlsOf} from '../shared/host-list.ts'

/** @throws UsageError that names the one that is there twice */
export function checkDistinct(addresses: readonly Address[]): void {
  const seen = new Map<string, number>()
  for (const [i, address] of addresses.entries()) {
    const places = placesOf(address)
    const first = places.map(place => seen.get(place)).find(index => index !== undefined)
    if (first !== undefined)
      throw new UsageError(
        `expected different databases, got the same one as the ${first + 1}. and the ${i + 1}.: ${addressName(address)}`,
        {hint: 'name it once'},
      )
    for (const place of places) seen.set(place, i)
  }
}

/** None for one that no other can be: in memory. A server's has one for each of its hosts. */
function placesOf(address: Address): string[] {
  if (address.driver === 'sqlite') return address.path === ':memory:' ? [] : [realPath(address.path)]
  const {driver, url} = address
  const database = decodeURIComponent(new URL(urlsOf(url)[0]).pathname)
  return urlsOf(url).map(one => `${driver}://${placeOf(one, driver)}${database}`)
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
