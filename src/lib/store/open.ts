/** From a database's address to its driver. Only the driver that is named gets loaded. */
import {isPassing} from '../jobs/errors.ts'
import {type Address, addressName, type ServerAddress} from './address.ts'
import type {PostgresOptions} from './postgres/store.ts'
import type {Preparation, Store} from './store.ts'

/** Between attempts to reach a server: doubled each time, up to the second. */
const OPEN_BACKOFF_MS = [100, 5000] as const

export interface OpenOptions {
  /**
   * Told once when a database is found to be out of reach, and when it is back; when a SQLite file's -wal grows, since
   * someone reads for long; when it is found to be replaced where nothing goes on; and where PostgreSQL's NOTIFY does not
   * arrive. Default: no one.
   */
  onTrouble?: (message: string) => void
  /** Wait for a server that can't be reached, however long. Default false. */
  patient?: boolean
  /** false: a commit may be lost by a power cut (never by a crash); for a dispatcher. Default true. */
  durable?: boolean | undefined
  /** For a command, which is gone when it has read: no thread is started for a long read. Default false. */
  brief?: boolean
  /** The process stores one job and is gone: on SQLite that takes fewer flushes of the disk. Default false. */
  oneJob?: boolean
}

/**
 * Opens the store behind an address; a SQLite file and its schema are made if they are missing.
 * @throws StoreError if it can't be opened
 */
export async function openStore(address: Address, options: OpenOptions = {}): Promise<Store> {
  const {durable = true, brief = false, oneJob = false, onTrouble} = options
  if (address.driver === 'sqlite') {
    const {openSqlite} = await import('./sqlite/store.ts')
    return openSqlite(address.path, {
      makeFolder: address.isDefault,
      durable,
      brief,
      oneJob,
      onTrouble: brief ? undefined : onTrouble,
    })
  }
  const store = await server(address, {durable, onTrouble: brief ? undefined : onTrouble})
  if (options.patient) await reached(store, onTrouble)
  return store
}

/** It connects when it is used. */
async function server(
  {driver, url}: ServerAddress,
  {durable, onTrouble}: {durable: boolean; onTrouble: PostgresOptions['onTrouble']},
): Promise<Store> {
  const name = addressName({driver, url})
  if (driver === 'mysql') return (await import('./mysql/store.ts')).openMysql(url, name, {durable})
  return (await import('./postgres/store.ts')).postgresStore(url, name, {durable, onTrouble})
}

/** What else is wrong with it, its first use tells. */
async function reached(store: Store, onTrouble: OpenOptions['onTrouble']): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const error: unknown = await store.paused().catch(failure => failure)
    if (!isPassing(error)) {
      if (attempt > 0) onTrouble?.(`${store.name} is back`)
      return
    }
    if (attempt === 0) onTrouble?.(`${error.message}; trying again until it works`)
    const pause = Math.min(OPEN_BACKOFF_MS[0] * 2 ** attempt, OPEN_BACKOFF_MS[1])
    await new Promise(resolve => setTimeout(resolve, pause))
  }
}

/**
 * Opens all of them as one store, servers when they are used: one that is out of reach does not stop the others.
 * @throws UsageError if two of them are the same; StoreError for the one, if there is only one
 */
export async function openStores(addresses: readonly Address[], options: OpenOptions = {}): Promise<Store> {
  const [address, ...more] = addresses
  if (address && more.length === 0) return openStore(address, options)
  const {SeveralStores} = await import('./several/store.ts')
  const {checkDistinct} = await import('./several/distinct.ts')
  checkDistinct(addresses)
  const members = addresses.map(each => ({
    name: addressName(each),
    driver: each.driver,
    open: () => openStore(each, {...options, patient: false}),
  }))
  const several = new SeveralStores(members, {onTrouble: options.onTrouble ?? (() => {})})
  await several.openLocal()
  return several
}

/**
 * Makes what is missing of the schema, in a database of something else, too; with `dryRun`, only tells it.
 * @throws StoreError
 */
export async function prepareStore(address: Address, dryRun: boolean): Promise<Preparation> {
  if (address.driver === 'sqlite') {
    const {prepareSqlite} = await import('./sqlite/init.ts')
    return prepareSqlite(address.path, {makeFolder: address.isDefault, dryRun})
  }
  if (address.driver === 'mysql') {
    const {prepareMysql} = await import('./mysql/store.ts')
    return prepareMysql(address.url, addressName(address), {dryRun})
  }
  const {preparePostgres} = await import('./postgres/init.ts')
  return preparePostgres(address.url, addressName(address), {dryRun})
}
