/**
 * What every job store does, in the same words for every driver: the Store interface, and Qudo's own SQL beside it.
 *
 * A server's clock can't be set by a test: time passes here by moving run_after and grabbed_until with SQL. No test
 * measures time or sleeps: what takes a while is waited for.
 */
import {describe, type TestContext, test} from 'node:test'
import type {Store} from '../../src/lib/store/store.ts'
import {actions} from './suite/actions.ts'
import {waitingForOthers} from './suite/after.ts'
import {batching} from './suite/batches.ts'
import type {Bench, TestDatabase, Tests} from './suite/bench.ts'
import {args, preparing} from './suite/bytes.ts'
import {alikes, claiming, postponing} from './suite/claims.ts'
import {contexts} from './suite/context.ts'
import {counting} from './suite/count.ts'
import {ends} from './suite/ends.ts'
import {bulk, enqueueing, slowBulk, uniqkeys} from './suite/enqueue.ts'
import {expiries} from './suite/expiry.ts'
import {following} from './suite/follow.ts'
import {foreignRows} from './suite/foreign.ts'
import {delays, limits, order} from './suite/grab.ts'
import {histories} from './suite/history.ts'
import {keys} from './suite/keys.ts'
import {leases} from './suite/lease.ts'
import {listings, logListings, streams} from './suite/list.ts'
import {managing} from './suite/managers.ts'
import {outputs} from './suite/output.ts'
import {progressing} from './suite/progress.ts'
import {pruning} from './suite/prune.ts'
import {results} from './suite/results.ts'
import {retrying} from './suite/retry.ts'
import {schedules} from './suite/schedules.ts'
import {deaths, outcomes, replacing, turns} from './suite/settle.ts'
import {sharing} from './suite/shares.ts'
import {cancelling, editing} from './suite/steer.ts'
import {tagging} from './suite/tags.ts'
import {tokens} from './suite/tokens.ts'
import {watching} from './suite/watch.ts'
import {within} from './suite/within.ts'

export type {TestDatabase} from './suite/bench.ts'

/**
 * Runs the suite over one driver.
 * @param lacks parts that it does not have yet
 */
export function storeSuite(
  name: string,
  createDatabase: (t: TestContext) => Promise<TestDatabase>,
  {lacks = []}: {lacks?: readonly (keyof typeof PARTS)[]} = {},
): void {
  async function setUp(t: TestContext): Promise<Bench> {
    const stores: Store[] = []
    t.after(async () => {
      for (const store of stores) await store.close()
    })
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
      const db = await createDatabase(t)
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
  'taken by ids': claiming,
  'put back for later': postponing,
  'alike to another': alikes,
  'how an attempt ends': outcomes,
  'deaths of workers': deaths,
  replaced: replacing,
  turn: turns,
  'retry of an exception': retrying,
  schedules,
  cancel: cancelling,
  edit: editing,
  'waiting for others': waitingForOthers,
  'what is scarce': sharing,
  "a job's history": histories,
  'what attempts wrote': outputs,
  'who follows': following,
  'the result of a job': results,
  'how far a job is': progressing,
  batches: batching,
  prune: pruning,
  list: listings,
  'exceptions and statuses': logListings,
  'row by row': streams,
  'rows of other programs': foreignRows,
  'counts and times': counting,
  managers: managing,
  'log of actions': actions,
  watch: watching,
  context: contexts,
  tags: tagging,
  'jobs that expire': expiries,
  'keys that stay taken': keys,
  'tokens of enqueues': tokens,
  'jobs that are waited for': ends,
  "in a caller's transaction": within,
  'arguments and names': args,
  init: preparing,
} satisfies Record<string, Tests>
