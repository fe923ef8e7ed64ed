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
import {contexts} from './suite/context.ts'
import {counting} from './suite/count.ts'
import {ends} from './suite/ends.ts'
import {bulk, enqueueing, slowBulk, uniqkeys} from './suite/enqueue.ts'
import {foreignRows} from './suite/foreign.ts'
import {delays, limits, order} from './suite/grab.ts'
import {histories} from './suite/history.ts'
import {leases} from './suite/lease.ts'
import {listings, logListings, streams} from './suite/list.ts'
import {pruning} from './suite/prune.ts'
import {retrying} from './suite/retry.ts'
import {deaths, outcomes, replacing, turns} from './suite/settle.ts'
import {watching} from './suite/watch.ts'
import {within} from './suite/within.ts'

export type {TestDatabase} from './suite/bench.ts'

/**
 * Runs the suite over one driver.
 * @param lacks parts that it does not have yet
 */
export function storeSuite(
  name: string,
  createDatabase: () => Promise<TestDatabase>,
  {lacks = []}: {lacks?: readonly (keyof typeof PARTS)[]} = {},
): void {
  async function setUp(t: TestContext): Promise<Bench> {
    const made: TestDatabase[] = []
    const stores: Store[] = []
    t.after(async () => {
      for (const store of stores) await store.close()
      for (const db of made) await db.remove()
    })
    const create = async () => {
      const db = await createDatabase()
      made.push(db)
      return db
    }
    const connectTo = async (db: TestDatabase) => {
      const store = await db.connect()
      stores.push(store)
      return store
    }
    const storeOn = async (db: TestDatabase) => {
      const store = await connectTo(db)
      await store.init()
      return store
    }
    const elsewhere = async () => {
      const db = await create()
      return {db, store: await storeOn(db)}
    }
    const {db, store} = await elsewhere()
    return {db, store, connect: () => connectTo(db), another: () => storeOn(db), elsewhere}
  }

  describe(`store on ${name}`, () => {
    for (const [part, tests] of Object.entries<Tests>(PARTS))
      if (!lacks.includes(part as keyof typeof PARTS))
        describe(part, () => {
          for (const [title, check] of Object.entries(tests)) test(title, async t => check(await setUp(t)))
        })
  })
}

const PARTS = {
  enqueue: enqueueing,
  uniqkey: uniqkeys,
  'enqueue many': bulk,
  'enqueue many, from a slow source': slowBulk,
  'order of work': order,
  'not due yet': delays,
  leases,
  'what may be taken': limits,
  'how an attempt ends': outcomes,
  'deaths of workers': deaths,
  replaced: replacing,
  turn: turns,
  'retry of an exception': retrying,
  "a job's history": histories,
  prune: pruning,
  list: listings,
  'exceptions and statuses': logListings,
  'row by row': streams,
  'rows of other programs': foreignRows,
  'counts and times': counting,
  watch: watching,
  context: contexts,
  'jobs that are waited for': ends,
  "in a caller's transaction": within,
  'arguments and names': args,
  init: preparing,
} satisfies Record<string, Tests>
