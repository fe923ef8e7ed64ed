/** Listings of jobs, exceptions and statuses, as pages and row by row. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import type {ListedJob} from '../../../src/lib/jobs/job.ts'
import {HEAD_BYTES} from '../../../src/lib/jobs/rows/history.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {
  assertBytes,
  BYTES,
  enqueueAll,
  everyEnd,
  fail,
  HOUR,
  ids,
  leaseOf,
  logs,
  NOW,
  newJob,
  SPAN,
  settle,
  type TestDatabase,
  type Tests,
  take,
  takeOne,
} from './bench.ts'

// ---- listings

export const listings: Tests = {
  'running ones first, ready ones by priority, delayed ones by their time': async ({db, store}) => {
    const wanted = await everyState(db, store)
    assert.deepEqual(await told(store), wanted)
  },

  'pages cover the same, over all borders': async ({db, store}) => {
    const wanted = await everyState(db, store)
    for (const limit of [1, 2, 3, 5, 7]) {
      const pages = []
      for (let offset = 0; offset < wanted.length + limit; offset += limit)
        pages.push(...(await told(store, {limit, offset})))
      assert.deepEqual(pages, wanted, `pages of ${limit}`)
    }
    assert.deepEqual(await told(store, {limit: 10, offset: 1000}), [])
    assert.deepEqual(await told(store, {limit: 0}), [])
  },

  'a job that is taken and released all the while is in each': async ({store, another}) => {
    await store.enqueue(newJob())
    const other = await another()
    let isOver = false
    const working = (async () => {
      while (!isOver) await settle(other, await takeOne(other), {kind: 'released'})
    })()
    const counts = new Set<number>()
    for (let i = 0; i < 100; i++) counts.add((await told(store)).length)
    isOver = true
    await working
    assert.deepEqual([...counts], [1])
  },

  'a page goes on behind any job that was listed': async ({db, store}) => {
    const wanted = await everyState(db, store)
    for (const limit of [1, 3, 100]) {
      const all: string[] = []
      for (let after: ListedJob | undefined; ; ) {
        const page: ListedJob[] = await store.list({limit, offset: 0, after})
        all.push(...page.map(({state, func, id}) => `${state} ${func} ${id}`))
        if (page.length < limit) break
        after = page.at(-1)
      }
      assert.deepEqual(all, wanted, `pages of ${limit}`)
    }
    const jobs = await store.list({limit: 100, offset: 0})
    for (const [i, after] of jobs.entries()) {
      assert.deepEqual(await told(store, {after}), wanted.slice(i + 1))
      const onlyB = wanted.slice(i + 1).filter(line => line.includes(' B '))
      assert.deepEqual(await told(store, {after, func: 'B'}), onlyB)
      const delayed = wanted.slice(i + 1).filter(line => line.startsWith('delayed'))
      assert.deepEqual(await told(store, {after, state: 'delayed'}), delayed)
      const running = wanted.slice(i + 1).filter(line => line.startsWith('running'))
      assert.deepEqual(await told(store, {after, state: 'running'}), running)
    }
  },

  'what is left of a key goes on behind a job, too': async ({store}) => {
    for (const func of ['A', 'B', 'C']) await store.enqueue(newJob(func, {uniqkey: 'k'}))
    const page = {limit: 10, offset: 0, uniqkey: 'k'}
    const all = await store.list(page)
    for (const [i, after] of all.entries())
      assert.deepEqual(ids(await store.list({...page, after})), ids(all.slice(i + 1)))
  },

  'by state, by function, by both, in pages': async ({db, store}) => {
    const wanted = await everyState(db, store)
    for (const state of ['running', 'ready', 'delayed'] as const)
      for (const func of ['A', 'B', undefined]) {
        const some = wanted.filter(line => line.startsWith(state) && (!func || line.includes(` ${func} `)))
        assert.deepEqual(await told(store, {state, func}), some)
        assert.deepEqual(await told(store, {state, func, limit: 2, offset: 1}), some.slice(1, 3))
      }
    const onlyB = wanted.filter(line => line.includes(' B '))
    assert.deepEqual(await told(store, {func: 'B'}), onlyB)
    assert.deepEqual(await told(store, {func: 'Nobody'}), [])
  },

  'by key, over all functions or in one': async ({db, store}) => {
    for (const [func, due] of [
      ['Late', HOUR],
      ['Soon', 0],
      ['Busy', 0],
    ] as const)
      await store.enqueueMany([
        newJob(func, {uniqkey: 'k', due: {in: due}}),
        newJob(func, {uniqkey: 'other'}),
      ])
    await db.run(
      'UPDATE job SET grabbed_until = ? WHERE func_id = (SELECT id FROM func WHERE name = ?)',
      (await db.now()) + HOUR,
      'Busy',
    )
    const funcs = async (page: object) =>
      (await store.list({limit: 10, offset: 0, uniqkey: 'k', ...page})).map(({func}) => func)
    assert.deepEqual(await funcs({}), ['Busy', 'Soon', 'Late'])
    assert.deepEqual(await funcs({limit: 1, offset: 1}), ['Soon'])
    assert.deepEqual(await funcs({func: 'Late'}), ['Late'])
    assert.deepEqual(await funcs({state: 'running'}), ['Busy'])
    assert.deepEqual(await funcs({func: 'Late', state: 'ready'}), [])
    assert.deepEqual(await funcs({uniqkey: 'nobody'}), [])
  },

  'running jobs keep their place while leases are renewed': async ({store}) => {
    const enqueued = await enqueueAll(store, [newJob(), newJob(), newJob(), newJob()])
    const jobs = await take(store, 'Work', 4)
    for (const [i, job] of jobs.entries()) await store.renew([leaseOf(job)], 900 - i * 100)
    const pages = []
    for (let offset = 0; offset < 4; offset += 2)
      pages.push(...ids(await store.list({state: 'running', limit: 2, offset})))
    assert.deepEqual(pages, ids(enqueued))
  },

  'a job whose lease ran out is ready again, at its place': async ({db, store}) => {
    await enqueueAll(
      store,
      [5, 4, 3, 2, 1, 0].map(priority => newJob('Work', {priority})),
    )
    await take(store, 'Work', 4)
    await db.run('UPDATE job SET grabbed_until = ? WHERE priority IN (2, 4, 5)', (await db.now()) - 5)
    const [first, ...rest] = await store.list({limit: 10, offset: 0})
    assert.deepEqual([first!.priority, first!.state], [3, 'running'])
    assert.deepEqual(
      rest.map(({priority, state}) => `${priority} ${state}`),
      ['5 ready', '4 ready', '2 ready', '1 ready', '0 ready'],
    )
    const pages = []
    for (let offset = 0; offset < 6; offset++) pages.push(...(await store.list({limit: 1, offset})))
    assert.deepEqual(ids(pages), ids([first!, ...rest]))
  },

  'find gives a job as it is now, null for none': async ({store}) => {
    const {id} = await store.enqueue(newJob('Work', {arg: BYTES, uniqkey: 'k', priority: 2}))
    const job = (await store.find(id))!
    assert.deepEqual([job.id, job.func, job.uniqkey, job.priority, job.state], [id, 'Work', 'k', 2, 'ready'])
    assertBytes(job.arg, BYTES)
    await takeOne(store)
    assert.equal((await store.find(id))?.state, 'running')
    assert.equal(await store.find(id + 1), null)
  },
}

export const logListings: Tests = {
  'exceptions, newest first, in pages': async ({store}) => {
    for (let i = 0; i < 5; i++) await fail(store, newJob(`F${i % 2}`), `no ${i}`)
    const messages = async (page: object) =>
      (await store.exceptions({limit: 10, offset: 0, ...page})).map(({message}) => message)
    assert.deepEqual(await messages({}), ['no 4', 'no 3', 'no 2', 'no 1', 'no 0'])
    assert.deepEqual(await messages({limit: 2, offset: 1}), ['no 3', 'no 2'])
    assert.deepEqual(await messages({func: 'F1'}), ['no 3', 'no 1'])
    assert.deepEqual(await messages({func: 'F0', limit: 1, offset: 2}), ['no 0'])
    assert.deepEqual(await messages({func: 'Nobody'}), [])
    assert.deepEqual(await messages({oldestFirst: true, limit: 3, offset: 1}), ['no 1', 'no 2', 'no 3'])
  },

  'a page of a log goes on behind any row that was listed': async ({store}) => {
    for (let i = 0; i < 5; i++) await fail(store, newJob(`F${i % 2}`), `no ${i}`)
    await everyEnd(store, 'Ends')
    const {exceptions, statuses} = await logs(store)
    const page = {limit: 100, offset: 0}
    for (const [i, row] of exceptions.entries()) {
      const after = [{id: row.id}]
      assert.deepEqual(ids(await store.exceptions({...page, after})), ids(exceptions.slice(i + 1)))
      const older = exceptions.slice(0, i).reverse()
      assert.deepEqual(ids(await store.exceptions({...page, after, oldestFirst: true})), ids(older))
      const ofOne = exceptions.slice(i + 1).filter(({func}) => func === 'F1')
      assert.deepEqual(ids(await store.exceptions({...page, after, func: 'F1'})), ids(ofOne))
    }
    for (const [i, {id}] of statuses.entries())
      assert.deepEqual(ids(await store.statuses({...page, after: [{id}]})), ids(statuses.slice(i + 1)))
  },

  'heads of exceptions: no arguments, and the beginning of each message': async ({store}) => {
    const long = `é ${'0123456789'.repeat(100)}`
    await fail(store, newJob('Work', {arg: '{"a":1}', uniqkey: 'k'}), long)
    await fail(store, newJob('Work', {arg: '{"a":1}'}), 'short')
    const page = {limit: 10, offset: 0}
    const whole = await store.exceptions(page)
    const heads = await store.exceptions({...page, heads: true})
    assert.deepEqual(
      heads,
      whole.map(row => ({
        ...row,
        arg: null,
        message: Buffer.from(row.message).subarray(0, HEAD_BYTES).toString(),
      })),
    )
    const each = []
    for await (const row of store.eachException({...page, heads: true, unretried: true})) each.push(row)
    assert.deepEqual(each, heads)
  },

  'exceptions not retried yet, and those since a time': async ({db, store}) => {
    for (let i = 0; i < 4; i++) await fail(store, newJob('Work'), `no ${i}`)
    const [, second, third] = (await logs(store)).exceptions
    await store.retry(third!.id, NOW)
    const now = await db.now()
    await db.run('UPDATE exception_log SET exception_time = ? WHERE id <= ?', now - HOUR, second!.id)
    const messages = async (page: object) =>
      (await store.exceptions({limit: 10, offset: 0, ...page})).map(({message}) => message)
    assert.deepEqual(await messages({unretried: true}), ['no 3', 'no 2', 'no 0'])
    assert.deepEqual(await messages({unretried: false}), ['no 3', 'no 2', 'no 1', 'no 0'])
    assert.deepEqual(await messages({since: {at: now - 60}}), ['no 3'])
    assert.deepEqual(await messages({since: {at: now - HOUR}}), ['no 3', 'no 2', 'no 1', 'no 0'])
    assert.deepEqual(await messages({since: {at: 4_102_444_800}}), [], 'beyond what a column holds')
    assert.equal((await messages({since: {ago: 1e12}})).length, 4)
    assert.deepEqual(await messages({unretried: true, since: {at: now - HOUR}, func: 'Work', offset: 1}), [
      'no 2',
      'no 0',
    ])
    assert.deepEqual(await messages({since: {at: now + HOUR}}), [])
    assert.deepEqual(await messages({since: {ago: 600}}), ['no 3'])
    assert.deepEqual(await messages({since: {ago: HOUR + 600}}), ['no 3', 'no 2', 'no 1', 'no 0'])
  },

  'an exception by its id, and all of one key': async ({store}) => {
    for (const [i, uniqkey] of ['a', 'b', 'a', null].entries())
      await fail(store, newJob(`F${i}`, {uniqkey}), `no ${i}`)
    const all = await store.exceptions({limit: 10, offset: 0})
    for (const {id, message} of all) {
      const found = await store.exceptions({id, limit: 10, offset: 0})
      assert.deepEqual(
        found.map(row => row.message),
        [message],
      )
    }
    assert.deepEqual(await store.exceptions({id: all[0]!.id + 1, limit: 10, offset: 0}), [])
    const ofKey = await store.exceptions({uniqkey: 'a', limit: 10, offset: 0})
    assert.deepEqual(
      ofKey.map(({message}) => message),
      ['no 2', 'no 0'],
    )
    const ofBoth = await store.exceptions({uniqkey: 'a', func: 'F0', limit: 10, offset: 0})
    assert.deepEqual(
      ofBoth.map(({message}) => message),
      ['no 0'],
    )
  },

  'statuses, newest first, in pages': async ({store}) => {
    for (const [i, outcome] of (
      [
        {kind: 'completed'},
        {kind: 'aborted', reason: 'x'},
        {kind: 'failed', message: 'x', retryIn: null},
      ] as const
    ).entries()) {
      await store.enqueue(newJob(`F${i % 2}`))
      await settle(store, await takeOne(store, ['F0', 'F1']), outcome, SPAN)
    }
    const words = async (page: object) =>
      (await store.statuses({limit: 10, offset: 0, ...page})).map(({func, status}) => `${func} ${status}`)
    assert.deepEqual(await words({}), ['F0 failed', 'F1 abort', 'F0 completed'])
    assert.deepEqual(await words({limit: 1, offset: 1}), ['F1 abort'])
    assert.deepEqual(await words({func: 'F0'}), ['F0 failed', 'F0 completed'])
    assert.deepEqual(await words({func: 'Nobody'}), [])
  },

  'how many there are: as many as are listed': async ({store}) => {
    const choices = [{}, {func: 'F0'}, {uniqkey: "it's"}, {func: 'F1', uniqkey: "it's"}, {func: 'Nobody'}]
    const counts = async () =>
      Promise.all(
        (['exception_log', 'job_status'] as const).map(log =>
          Promise.all(choices.map(choice => store.logCount(log, choice))),
        ),
      )
    assert.deepEqual(await counts(), [
      [0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0],
    ])
    const failed = {kind: 'failed', message: 'x', retryIn: null} as const
    for (const [func, uniqkey, outcome, keeps] of [
      ['F0', "it's", failed, SPAN],
      ['F0', null, failed, SPAN],
      ['F1', "it's", failed, undefined],
      ['F1', "it's", {kind: 'completed'}, SPAN],
    ] as const) {
      await store.enqueue(newJob(func, {uniqkey}))
      await settle(store, await takeOne(store, ['F0', 'F1']), outcome, keeps)
    }
    assert.deepEqual(await counts(), [
      [3, 2, 2, 1, 0],
      [3, 2, 2, 1, 0],
    ])
    for (const choice of choices) {
      const page = {...choice, limit: 10, offset: 0}
      assert.equal((await store.exceptions(page)).length, await store.logCount('exception_log', choice))
      assert.equal((await store.statuses(page)).length, await store.logCount('job_status', choice))
    }
  },
}

// ---- listings, row by row

export const streams: Tests = {
  'rows come one by one, the same as in a listing, from page to page': async ({db, store}) => {
    await everyState(db, store)
    for (const page of [{}, {func: 'A'}, {state: 'ready'}, {offset: 3, limit: 7}, {limit: 0}] as const) {
      const whole = {limit: 100, offset: 0, ...page}
      assert.deepEqual(await collect(store.eachJob(whole)), await store.list(whole))
    }
    for (let i = 0; i < 5; i++) await everyEnd(store, `F${i % 2}`)
    for (const page of [{}, {func: 'F1'}, {offset: 2, limit: 2}]) {
      const whole = {limit: 100, offset: 0, ...page}
      assert.deepEqual(await collect(store.eachException(whole)), await store.exceptions(whole))
      assert.deepEqual(await collect(store.eachStatus(whole)), await store.statuses(whole))
    }
  },

  'ids come in their order, once, whatever becomes of the jobs meanwhile': async ({store}) => {
    const count = 1200
    await store.enqueueMany(
      Array.from({length: 2 * count}, (_, i) => newJob(i % 2 ? 'B' : 'A', {due: {in: i % 3 ? 0 : HOUR}})),
    )
    const all = ids(await collect(store.eachId()))
    assert.equal(all.length, 2 * count)
    assert.deepEqual(
      all,
      all.toSorted((a, b) => a - b),
    )
    const met = []
    for await (const {id} of store.eachId({func: 'B'})) {
      if (met.length === 0) {
        assert.equal((await take(store, 'B', 2 * count)).length, (2 * count) / 3)
        await store.enqueue(newJob('B'))
      }
      met.push(id)
    }
    assert.deepEqual(
      met,
      all.filter((_, i) => i % 2 === 1),
    )
    assert.deepEqual(await collect(store.eachId({func: 'C'})), [])
  },

  'thousands of jobs, large arguments among them, come in order and once': async ({store}) => {
    const large = randomBytes(300_000)
    const jobs = function* () {
      for (let i = 0; i < 4000; i++)
        yield newJob(`F${i % 3}`, {
          priority: i % 7,
          arg: i % 500 === 0 ? large : String(i),
          due: i % 2 ? {in: HOUR + (i % 11)} : {at: 1_700_000_000 + (i % 13)},
        })
    }
    await store.enqueueMany(jobs())
    await take(store, ['F0', 'F1', 'F2'], 20)
    const rows = await collect(store.eachJob({limit: 1e6, offset: 0}))
    assert.equal(rows.length, 4000)
    assert.equal(new Set(ids(rows)).size, 4000)
    const place = {running: 0, ready: 1, delayed: 2, waiting: 3}
    const keys = rows.map(({state, priority, runAfter, id}) =>
      state === 'running'
        ? [0, 0, 0, id]
        : state === 'ready'
          ? [place.ready, -priority, runAfter, id]
          : [place.delayed, runAfter, -priority, id],
    )
    assert.deepEqual(keys, [...keys].sort(byNumbers))
    assert.deepEqual(ids(await store.list({limit: 1500, offset: 1700})), ids(rows.slice(1700, 3200)))
  },

  'megabytes of exceptions come in order and once, from any offset on': async ({store}) => {
    const large = randomBytes(400_000)
    for (let i = 0; i < 8; i++) await fail(store, newJob('Work', {arg: large}), `no ${i}`)
    const all = ['no 7', 'no 6', 'no 5', 'no 4', 'no 3', 'no 2', 'no 1', 'no 0']
    for (const offset of [0, 1, 5])
      for (const limit of [100, 4]) {
        const page = {limit, offset}
        const wanted = all.slice(offset, offset + limit)
        for (const rows of [await collect(store.eachException(page)), await store.exceptions(page)])
          assert.deepEqual(
            rows.map(({message}) => message),
            wanted,
          )
      }
  },

  'who reads may change what it reads': async ({store}) => {
    for (let i = 0; i < 5; i++) await fail(store, newJob('Work', {arg: String(i)}), `no ${i}`)
    const seen = []
    for await (const {id, message} of store.eachException({unretried: true, limit: 100, offset: 0})) {
      seen.push(message)
      await store.retry(id, NOW)
      await fail(store, newJob('Other'), 'meanwhile') // newer than the listing
    }
    assert.deepEqual(seen, ['no 4', 'no 3', 'no 2', 'no 1', 'no 0'])
    const oldest = []
    for await (const {message} of store.eachException({oldestFirst: true, limit: 100, offset: 5})) {
      oldest.push(message)
      await fail(store, newJob('Other'), 'later')
    }
    assert.deepEqual(oldest, Array(5).fill('meanwhile'))
  },

  'who stops reading holds nothing up': async ({store}) => {
    await store.enqueueMany([newJob(), newJob(), newJob()])
    for await (const job of store.eachJob({limit: 10, offset: 0})) {
      await store.enqueue(newJob())
      assert.equal(job.state, 'ready')
      break
    }
    await store.enqueue(newJob())
    assert.equal((await take(store, 'Work', 9)).length, 5)
  },
}

/** Jobs of two functions in all states. @returns how `told` tells of them, in the order they are to be listed */
async function everyState(db: TestDatabase, store: Store): Promise<string[]> {
  const now = await db.now()
  const running = await enqueueAll(store, [
    newJob('A'),
    newJob('B', {priority: 4}),
    newJob('A', {priority: 9}),
  ])
  await take(store, ['A', 'B'], 3)
  const at = (time: number) => ({due: {at: now + time}})
  const ready = await enqueueAll(store, [
    newJob('B', {priority: 5, ...at(-10)}),
    newJob('A', {priority: 5, ...at(-5)}),
    newJob('A', {priority: 2, ...at(-90)}),
    newJob('B', {priority: 2, ...at(-80)}),
    newJob('A', {priority: 2, ...at(-70)}),
    newJob('A', at(-99)),
    newJob('B', at(-99)),
  ])
  const delayed = await enqueueAll(store, [
    newJob('A', {priority: 1, ...at(1 * HOUR)}),
    newJob('B', {priority: 9, ...at(2 * HOUR)}),
    newJob('A', {priority: 8, ...at(3 * HOUR)}),
    newJob('B', {priority: 0, ...at(3 * HOUR)}),
    newJob('A', {priority: 0, ...at(3 * HOUR)}),
  ])
  const tell = async (state: string, jobs: {id: number}[]) => {
    const lines = []
    for (const {id} of jobs) lines.push(`${state} ${(await store.find(id))!.func} ${id}`)
    return lines
  }
  return [
    ...(await tell('running', running)),
    ...(await tell('ready', ready)),
    ...(await tell('delayed', delayed)),
  ]
}

/** Compares lists of numbers from their first on. */
function byNumbers(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((number, i) => number !== b[i])
  return at < 0 ? 0 : a[at]! - b[at]!
}

async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const row of rows) all.push(row)
  return all
}

async function told(store: Store, page: Partial<Parameters<Store['list']>[0]> = {}): Promise<string[]> {
  const jobs = await store.list({limit: 100, offset: 0, ...page})
  return jobs.map(({state, func, id}) => `${state} ${func} ${id}`)
}
