/** From a database's address to its driver. Only the driver that is named gets loaded. */
import {StoreError} from '../errors.ts'
import type {Address} from './address.ts'
import type {Preparation, Store} from './store.ts'

export interface OpenOptions {
  /** false: a commit may be lost by a power cut (never by a crash); for a dispatcher. Default true. */
  durable?: boolean
}

/**
 * Opens the store behind an address; a SQLite file and its schema are made if they are missing.
 * @throws StoreError if it can't be opened
 */
export async function openStore(address: Address, options: OpenOptions = {}): Promise<Store> {
  if (address.driver !== 'sqlite') throw noDriver(address)
  const {openSqlite} = await import('./sqlite.ts')
  return openSqlite(address.path, {makeFolder: address.isDefault, ...options})
}

/**
 * Makes what is missing of the schema, in a database of something else, too; with `dryRun`, only tells it.
 * @throws StoreError
 */
export async function prepareStore(address: Address, dryRun: boolean): Promise<Preparation> {
  if (address.driver !== 'sqlite') throw noDriver(address)
  const {prepareSqlite} = await import('./sqlite-init.ts')
  return prepareSqlite(address.path, {makeFolder: address.isDefault, dryRun})
}

function noDriver({driver}: Address): StoreError {
  return new StoreError('NO_DRIVER', `this version of jobq has no driver for ${driver}`, {
    hint: 'use a SQLite file: --db jobs.db',
  })
}
