/**
 * Jobs enqueued in the transactions of ORMs, each the real one on a real database: what the callback gets is what
 * `enqueueIn` takes. The databases are shared, each ORM has functions of its own.
 */
import assert from 'node:assert/strict'
import {after, describe, type TestContext, test} from 'node:test'
import {DuplicateJobError, type EnqueuedJob, JobQueue, TransactionError} from '../../src/lib/index.ts'
import {databaseKinds, type Prepared} from '../support/kinds.ts'
import {ORMS, type Orm, type OrmTransactions} from '../support/orms.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const ARG = {name: `it's "ü"\\ ? $1 :x \u{1f680}`, much: 'é'.repeat(70_000)}
const BYTES = Uint8Array.from({length: 300_000}, (_, i) => i & 255)
const CONFIG = '/dev/null'

const unhandled: unknown[] = []
process.on('unhandledRejection', error => unhandled.push(error))

const kinds = await databaseKinds()
const prepared = new Map<string, Prepared>()
const undone: (() => unknown)[] = []
after(async () => {
  for (const undo of undone.reverse()) await undo()
})

for (const [i, orm] of ORMS.entries()) {
  const {name, skip} = kinds.find(({name}) => name === orm.database)!
  const [func, bytes] = [`Crop${i}`, `Bytes${i}`]
  const photosOf = async ({query}: Prepared) =>
    (await query(`SELECT name FROM photo WHERE name LIKE '${i} %'`)).map(({name}) => name)

  describe(`${orm.name} on ${name}`, {
    skip: skip || orm.missing || false,
  }, () => {
    test('a job is there when its transaction commits, and never if it rolls back; workers hear of it', async () => {
      await using s = await setUp(orm)
      const {db, queue, app} = s
      const stop = new AbortController()
      const worked: unknown[] = []
      const working = queue.work({
        workers: {
          [func]: job => void worked.push([job.id, job.arg, job.context]),
          [bytes]: {
            serializer: 'none',
            work: ({arg}) => void worked.push(Buffer.compare(arg as Buffer, BYTES)),
          },
        },
        workDelay: 3600,
        signal: stop.signal,
      })
      await rejected(() =>
        app.transaction(tx =>
          then(app.write(tx, `${i} rolled back`), () =>
            then(queue.enqueueIn(tx as never, func, {arg: 'never'}), () => {
              throw new Error('no')
            }),
          ),
        ),
      )
      const {id} = await app.transaction(tx => {
        const enqueued = queue.enqueueIn(tx as never, func, {
          arg: ARG,
          uniqkey: "k'1",
          priority: 3,
          context: {trace: "it's\\"},
          tags: {customer: '42'},
          tracked: true,
        }) as EnqueuedJob | Promise<EnqueuedJob>
        return then(enqueued, job => then(app.write(tx, `${i} committed`), () => job))
      })
      await until('it is worked', () => worked.length > 0)
      assert.deepEqual(worked, [[id, ARG, {trace: "it's\\"}]])
      assert.equal((await queue.wait(id)).outcome, 'completed')
      await app.transaction(tx => queue.enqueueIn(tx as never, bytes, {arg: BYTES, serializer: 'none'}))
      await until('the other is, too', () => worked.length > 1)
      assert.equal(worked[1], 0)
      stop.abort()
      await working
      assert.deepEqual(await photosOf(db), [`${i} committed`])
    })

    test('what is refused leaves it as it was; several at once go one after the other', async () => {
      await using s = await setUp(orm)
      const {queue, app} = s
      await queue.enqueue(func, {uniqkey: 'taken'})
      const enqueue = (tx: unknown, uniqkey: string) => queue.enqueueIn(tx as never, func, {uniqkey})
      await app.transaction<unknown>(tx => {
        if (!orm.isSync)
          return Promise.all([
            enqueue(tx, 'a'),
            rejected(() => enqueue(tx, 'taken'), DuplicateJobError),
            enqueue(tx, 'b'),
          ])
        assert.throws(() => enqueue(tx, 'taken'), DuplicateJobError)
        enqueue(tx, 'a')
        return [enqueue(tx, 'b')]
      })
      assert.equal(await queue.count(func), 3)
    })

    test('the ORM itself, and the queue of another database, are refused with the way', async t => {
      await using s = await setUp(orm)
      const {queue, app} = s
      await rejected(
        () => queue.enqueueIn(app.outside as never, 'Outside'),
        (error: unknown) => {
          assert.ok(error instanceof TransactionError)
          assert.match(`${error.message} ${error.hint}`, /in none.*callback|in no transaction.*IMMEDIATE/)
          return true
        },
      )
      await using other = await JobQueue.open({db: (await place(name, ' elsewhere')).db, config: CONFIG})
      await using local = await JobQueue.open({db: `${tempFolder(t)}/jobs.db`, config: CONFIG})
      await app.transaction<unknown>(tx => {
        const enqueueIn = (queue: JobQueue, func: string) => queue.enqueueIn(tx as never, func)
        if (orm.isSync) {
          assert.throws(() => enqueueIn(other, 'Elsewhere'), TransactionError)
          return [enqueueIn(queue, 'Here')]
        }
        return [
          rejected(() => enqueueIn(other, 'Elsewhere'), TransactionError),
          rejected(() => enqueueIn(local, 'Elsewhere'), TransactionError),
        ]
          .reduce((before, next) => before.then(() => next))
          .then(() => enqueueIn(queue, 'Here'))
      })
      assert.ok((await queue.funcs()).includes('Here'))
      assert.deepEqual(await other.funcs(), [])
    })
  })
}

describe('what can not be done says so', () => {
  test('kysely does not hand out its Database: the application does', async t => {
    const {Kysely, SqliteDialect} = await import('kysely')
    const {default: Sqlite} = await import('better-sqlite3')
    const {db} = await place('SQLite')
    await using queue = await JobQueue.open({db, config: CONFIG})
    const database = new Sqlite(db)
    const kysely = new Kysely<Record<string, never>>({dialect: new SqliteDialect({database})})
    t.after(() => kysely.destroy())
    await kysely.transaction().execute(async trx => {
      assert.throws(
        () => void queue.enqueueIn(trx, 'Kysely'),
        (error: unknown) =>
          error instanceof TransactionError && /SqliteDialect was made with/.test(error.hint),
      )
      queue.enqueueIn(database, 'Kysely')
    })
    await rejected(() =>
      kysely.transaction().execute(async () => {
        queue.enqueueIn(database, 'Kysely')
        throw new Error('no')
      }),
    )
    assert.equal(await queue.count('Kysely'), 1)
  })

  test('Prisma has a SQLite of its own', async t => {
    const {db} = await place('SQLite')
    await using queue = await JobQueue.open({db: [db, `${tempFolder(t)}/b.db`], config: CONFIG})
    const tx = {$queryRawUnsafe: async () => [], $executeRawUnsafe: async () => 0}
    assert.throws(
      () => void queue.enqueueIn(tx, 'Crop'),
      (error: unknown) =>
        error instanceof TransactionError && /when its transaction has committed/.test(error.hint),
    )
  })
})

test('no rejection was left unhandled', () => assert.deepEqual(unhandled, []))

/** Of this file's, on first use. */
async function place(kind: string, which = ''): Promise<Prepared> {
  const known = prepared.get(kind + which)
  if (known) return known
  const context = {after: (undo: () => unknown) => void undone.push(undo)} as TestContext
  const made = await kinds.find(({name}) => name === kind)!.create(context)
  if (which === '') await made.query('CREATE TABLE photo (name VARCHAR(20))')
  prepared.set(kind + which, made)
  return made
}

async function setUp(orm: Orm) {
  const db = await place(orm.database)
  const queue = await JobQueue.open({db: db.db, config: CONFIG})
  const app: OrmTransactions = await orm.open(db.db)
  const close = async () => {
    await app.close()
    await queue.close()
  }
  return {db, queue, app, [Symbol.asyncDispose]: close}
}

/** At once if there is nothing to wait for, as in a synchronous callback. */
function then<T, U>(value: T | Promise<T>, next: (value: T) => U): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}

/** Thrown now or later. */
function rejected(work: () => unknown, expected: object = /^Error: no$/): Promise<void> {
  return assert.rejects(async () => work(), expected as never)
}
