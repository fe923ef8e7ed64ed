/**
 * What every job store does, in the same words for every driver: the Store interface, and Qudo's own SQL beside it.
 *
 * A server's clock can't be set by a test: time passes here by moving run_after and grabbed_until with SQL. No test
 * measures time or sleeps: what takes a while is waited for.
 */
import {describe, type TestContext, test} from 'node:test'
import type {Store} from '../../src/lib/store/store.ts'
import type {Bench, TestDatabase, Tests} from './suite/bench.ts'
import {args, preparing} from './suite/bytes.ts'
import {counting} from './suite/count.ts'
import {bulk, enqueueing, uniqkeys} from './suite/enqueue.ts'
import {delays, limits, order} from './suite/grab.ts'
import {leases} from './suite/lease.ts'
import {listings, logListings, streams} from './suite/list.ts'
import {retrying} from './suite/retry.ts'
import {deaths, outcomes, replacing, turns} from './suite/settle.ts'
import {watching} from './suite/watch.ts'

export type {TestDatabase} from './suite/bench.ts'

/** Runs the whole suite over one driver. */
export function storeSuite(name: string, createDatabase: () => Promise<TestDatabase>): void {
  async function setUp(t: TestContext): Promise<Bench> {
    const db = await createDatabase()
    const stores: Store[] = []
    t.after(async () => {
      for (const store of stores) await store.close()
      await db.remove()
    })
    const connect = async () => {
      const store = await db.connect()
      stores.push(store)
      return store
    }
    const another = async () => {
      const store = await connect()
      await store.init()
      return store
    }
    return {db, connect, another, store: await another()}
  }

  describe(`store on ${name}`, () => {
    for (const [part, tests] of Object.entries(PARTS))
      describe(part, () => {
        for (const [title, check] of Object.entries(tests)) test(title, async t => check(await setUp(t)))
      })
  })
}

const PARTS: Record<string, Tests> = {
  enqueue: enqueueing,
  uniqkey: uniqkeys,
  'enqueue many': bulk,
  'order of work': order,
  'not due yet': delays,
  leases,
  'what may be taken': limits,
  'how an attempt ends': outcomes,
  'deaths of workers': deaths,
  replaced: replacing,
  turn: turns,
  'retry of an exception': retrying,
  list: listings,
  'exceptions and statuses': logListings,
  'row by row': streams,
  'counts and times': counting,
  watch: watching,
  'arguments and names': args,
  init: preparing,
}
