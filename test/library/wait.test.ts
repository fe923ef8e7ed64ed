/** Waiting for jobs to end: those that end meanwhile, those that have, those that nobody knows. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {setImmediate} from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import {
  ClosedError,
  type EnqueuedJob,
  type JobQueue,
  NotFoundError,
  WaitTimeoutError,
} from '../../src/lib/index.ts'
import {collect} from '../../src/lib/store/shared/reads/stretch.ts'
import {openQueue, place} from '../support/library.ts'
import {until} from '../support/until.ts'

/** Works what is ready. */
function drain(queue: JobQueue) {
  return queue.work({
    mode: 'drain',
    workers: {
      Fine: () => {},
      Noted: {setJobStatus: true, work: () => {}},
      Bad: () => {
        throw new Error('no good')
      },
      Ends: job => job.abort('not today'),
      Splits: job => job.replace({func: 'Fine'}),
      Again: {
        maxRetries: 1,
        work(job) {
          if (job.retryCnt === 0) throw new Error('not yet')
        },
      },
    },
  })
}

describe('a job that ends while it is waited for', () => {
  const outcomes = [
    ['Fine', 'completed', /^$/],
    ['Bad', 'failed', /^Error: no good/],
    ['Ends', 'aborted', /^not today$/],
    ['Splits', 'replaced', /^$/],
    ['Again', 'completed', /^$/],
  ] as const
  for (const [func, outcome, message] of outcomes)
    test(`${func}: ${outcome}`, async t => {
      const {open, queue, rows} = await openQueue(t)
      const other = await open()
      const job = await queue.enqueue(func)
      const ended = queue.wait(job)
      const byId = queue.wait(job.id)
      await drain(other)
      const end = await ended
      assert.deepEqual({...end, message: ''}, {id: job.id, outcome, message: ''})
      assert.match(end.message, message)
      assert.deepEqual(await byId, end, 'everyone who waits is told')
      const kept = 'SELECT * FROM jobq_wait WHERE outcome IS NULL OR ended_at > unixepoch() - 86340'
      assert.deepEqual(rows(kept), [], 'longer than a minute')
    })

  test('taken away by someone who does not say how: gone', async t => {
    const {queue, rows} = await openQueue(t)
    const job = await queue.enqueue('Fine')
    const ended = queue.wait(job)
    await until('it is waited for', () => rows('SELECT * FROM jobq_wait').length === 1)
    rows('DELETE FROM job RETURNING id')
    assert.deepEqual(await ended, {id: job.id, outcome: 'gone', message: ''})
  })

  test('a hundred at once are told apart', async t => {
    const {open, queue} = await openQueue(t)
    const jobs = await Promise.all(
      Array.from({length: 100}, (_, i) => queue.enqueue(i % 2 === 0 ? 'Fine' : 'Ends')),
    )
    const ends = Promise.all(jobs.map(job => queue.wait(job)))
    await drain(await open())
    assert.deepEqual(
      (await ends).map(({id, outcome}) => [id, outcome]),
      jobs.map(({id}, i) => [id, i % 2 === 0 ? 'completed' : 'aborted']),
    )
  })
})

describe('a job that has ended before', () => {
  test('is told if it was tracked, and as long as that is kept', async t => {
    const {open, queue, rows} = await openQueue(t)
    const {id} = await queue.enqueue('Bad', {tracked: true})
    await drain(queue)
    await queue.close()
    const later = await open()
    const end = await later.wait(id)
    assert.deepEqual([end.outcome, end.message.split('\n')[0]], ['failed', 'Error: no good'])
    assert.deepEqual(await later.wait(id), end)
    rows('DELETE FROM jobq_wait RETURNING job_id') // as it is swept
    assert.deepEqual(await later.wait(id), end, 'its attempt is kept')
    rows('DELETE FROM jobq_attempt RETURNING job_id')
    await assert.rejects(later.wait(id), NotFoundError)
  })

  test('is told by what is kept of its attempts, if it was not', async t => {
    const {queue} = await openQueue(t)
    const job = await queue.enqueue('Bad')
    const kept = await queue.enqueue('Noted')
    await drain(queue)
    const {message} = (await queue.exceptions())[0]!
    assert.deepEqual(await queue.wait(job), {id: job.id, outcome: 'failed', message})
    assert.deepEqual(await queue.wait(kept), {id: kept.id, outcome: 'completed', message: ''})
  })

  test('is not known if it was not, nor is one that never was', async t => {
    const {queue} = await openQueue(t)
    const {id} = await queue.enqueue('Fine')
    await drain(queue)
    for (const unknown of [id, 999])
      await assert.rejects(queue.wait(unknown), error => {
        assert.ok(error instanceof NotFoundError)
        assert.equal(error.message, `job ${unknown} is not in the queue, and how it ended was not kept`)
        assert.match(error.hint, /tracked: true/)
        return true
      })
  })
})

describe('giving up', () => {
  test('after the timeout; it can be waited for again', async t => {
    const {queue} = await openQueue(t)
    const {id} = await queue.enqueue('Fine')
    await assert.rejects(queue.wait(id, {timeout: 0.02}), error => {
      assert.ok(error instanceof WaitTimeoutError)
      assert.deepEqual([error.code, error.message], ['WAIT_TIMEOUT', 'job 1 has not ended within 0.02 s'])
      return true
    })
    const again = queue.wait(id)
    await drain(queue)
    assert.equal((await again).outcome, 'completed')
  })

  test('one gives up, another does not', async t => {
    const {queue} = await openQueue(t)
    const {id} = await queue.enqueue('Fine')
    const patient = queue.wait(id)
    await assert.rejects(queue.wait(id, {timeout: 0.02}), WaitTimeoutError)
    await drain(queue)
    assert.equal((await patient).outcome, 'completed')
  })

  test('when the signal aborts, with its reason; and at once if it has', async t => {
    const {queue} = await openQueue(t)
    const {id} = await queue.enqueue('Fine')
    const stop = new AbortController()
    const waited = assert.rejects(queue.wait(id, {signal: stop.signal}), /^Error: enough$/)
    stop.abort(new Error('enough'))
    await waited
    await assert.rejects(queue.wait(id, {signal: stop.signal}), /^Error: enough$/)
  })

  test('when the signal aborts before anything is asked: nothing is left that would keep a process', async t => {
    const {queue} = await openQueue(t)
    const {id} = await queue.enqueue('Fine')
    const timers = () => process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length
    const giveUp = async (signal: AbortSignal) =>
      assert.rejects(queue.wait(id, {signal}), {name: 'AbortError'})
    await giveUp(AbortSignal.abort()) // what waits is loaded
    const before = timers()
    const left: number[] = []
    for (let turns = 0; turns < 10; turns++) {
      const stop = new AbortController()
      const waited = giveUp(stop.signal)
      for (let turn = 0; turn < turns; turn++) await null
      stop.abort()
      await waited
      await setImmediate()
      if (timers() > before) left.push(turns)
    }
    assert.deepEqual(left, [], 'so many microtasks after the call')
  })

  test('when the queue is closed', async t => {
    const {queue} = await openQueue(t)
    const {id} = await queue.enqueue('Fine')
    const waited = assert.rejects(queue.wait(id), error => {
      assert.ok(error instanceof ClosedError)
      assert.match(error.message, /closed/)
      return true
    })
    await queue.close()
    await waited
  })
})

describe('all jobs that are in the queue', () => {
  const waitedIn = (file: string) => {
    using db = {of: new Sqlite(file), [Symbol.dispose]: () => db.of.close()}
    return db.of.prepare('SELECT count(*) FROM jobq_wait').pluck().get() as number
  }
  const failing = {
    mode: 'drain',
    workers: {
      Fine: () => {},
      Bad: job => {
        if (job.id % 500 === 0) throw new Error('no good')
      },
    },
  } satisfies Parameters<JobQueue['work']>[0]

  test('each end is told once, of more than one portion; not of those enqueued meanwhile', async t => {
    const {open, queue, rows} = await openQueue(t)
    const count = 2200
    await queue.enqueueMany(Array.from({length: count}, () => ({func: 'Bad'})))
    await queue.enqueue('Fine')
    const waited = (jobs: number) => () => rows('SELECT * FROM jobq_wait').length === jobs
    const bad = collect(queue.waitFor({func: 'Bad'}))
    await until('those of one are waited for', waited(count))
    const all = collect(queue.waitFor())
    await until('all are waited for', waited(count + 1))
    await queue.enqueueMany([{func: 'Bad'}, {func: 'Bad', delay: 3600}])
    await (await open()).work(failing)
    const wanted = Array.from({length: count}, (_, i) => [i + 1, (i + 1) % 500 ? 'completed' : 'failed'])
    const told = (await bad).map(({id, outcome}) => [id, outcome])
    assert.deepEqual(
      told.toSorted(([a], [b]) => Number(a) - Number(b)),
      wanted,
    )
    assert.equal((await all).length, count + 1)
    const kept = 'SELECT * FROM jobq_wait WHERE outcome IS NULL OR ended_at > unixepoch() - 86340'
    assert.deepEqual(rows(kept), [], 'longer than a minute')
  })

  test('of several databases', async t => {
    const {folder, open} = place(t)
    const databases = [`${folder}/a.db`, `${folder}/b.db`]
    const queue = await open({db: databases})
    const jobs: EnqueuedJob[] = []
    while (new Set(jobs.map(({db}) => db)).size < 2) jobs.push(await queue.enqueue('Fine'))
    const ends = collect(queue.waitFor({func: 'Fine'}))
    await until(
      'all are waited for',
      () => databases.reduce((sum, file) => sum + waitedIn(file), 0) === jobs.length,
    )
    await (await open({db: databases})).work(failing)
    const where = ({id, db}: {id: number; db?: number | undefined}) => `${db}:${id}`
    assert.deepEqual((await ends).map(where).sort(), jobs.map(where).sort())
  })

  test('none: at once; a function that is not known, another option', async t => {
    const {queue} = await openQueue(t)
    assert.deepEqual(await collect(queue.waitFor()), [])
    await assert.rejects(collect(queue.waitFor({func: 'Fien'})), NotFoundError)
    const odd = {fun: 'Fine'} as object
    await assert.rejects(collect(queue.waitFor(odd)), /waitFor: .*fun/)
  })

  test('given up: when the time is up, when the signal aborts, when the queue is closed', async t => {
    const {queue, rows} = await openQueue(t)
    await queue.enqueue('Fine')
    await queue.enqueue('Bad')
    const all = (options: object) => collect(queue.waitFor({}, options))
    await assert.rejects(all({timeout: 0.02}), error => {
      assert.ok(error instanceof WaitTimeoutError)
      assert.equal(error.message, '2 jobs have not ended within 0.02 s')
      return true
    })
    await assert.rejects(collect(queue.waitFor({func: 'Bad'}, {timeout: 0})), /: 1 job has not/)
    const stop = new AbortController()
    const stopped = assert.rejects(all({signal: stop.signal}), /^Error: enough$/)
    stop.abort(new Error('enough'))
    await stopped
    rows('DELETE FROM jobq_wait RETURNING job_id')
    const closed = assert.rejects(all({}), ClosedError)
    await until('it waits', () => rows('SELECT * FROM jobq_wait').length === 2)
    const {id} = await queue.enqueue('Bad', {delay: 60})
    const following = assert.rejects(async () => {
      for await (const _ of queue.follow(id)) assert.fail('nothing is written')
    }, ClosedError)
    await until('it follows', () => rows('SELECT * FROM jobq_order').length === 1)
    await queue.close()
    await closed
    await following
  })
})

test('with several databases, a job is waited for where it is', async t => {
  const {folder, open} = place(t)
  const databases = [`${folder}/a.db`, `${folder}/b.db`]
  const queue = await open({db: databases})
  const jobs: EnqueuedJob[] = []
  for (const places = new Set<number | undefined>(); places.size < 2; ) {
    const job = await queue.enqueue('Fine', {tracked: jobs.length % 2 === 0})
    jobs.push(job)
    places.add(job.db)
  }
  const ends = Promise.all(jobs.map(job => queue.wait(job)))
  await drain(await open({db: databases}))
  assert.deepEqual(
    (await ends).map(({id, db, outcome}) => ({id, db, outcome})),
    jobs.map(({id, db}) => ({id, db, outcome: 'completed'})),
  )
  await assert.rejects(queue.wait(1), /expected DATABASE:ID, such as 1:1, got 1/)
  await assert.rejects(queue.wait({id: 1, db: 3}), /no database 3/)
  await assert.rejects(queue.wait({id: 99, db: 2}), /job 2:99 is not in the queue/)
})
