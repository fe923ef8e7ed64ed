/** Several databases as one store: real SQLite files, with a switch that takes one out of reach. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {type TestContext, test} from 'node:test'
import {DuplicateJobError, StoreError} from '../../src/lib/jobs/errors.ts'
import {idOf, type NewJob} from '../../src/lib/jobs/job.ts'
import {SeveralStores} from '../../src/lib/store/several/store.ts'
import {openSqlite} from '../../src/lib/store/sqlite/store.ts'
import type {Store} from '../../src/lib/store/store.ts'
import {behindSwitch} from '../support/behind-switch.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

/** Stores that can be cut off, each behind a proxy that then fails as a server does that is gone. */
async function setUp(t: TestContext, count = 2) {
  const folder = tempFolder(t)
  const cut = new Set<number>()
  const stores: Store[] = []
  for (let i = 1; i <= count; i++) stores.push(await openSqlite(join(folder, `${i}.db`)))
  const members = stores.map((store, i) => ({
    name: `${i + 1}.db`,
    driver: 'sqlite' as const,
    open: async () => behindSwitch(store, () => cut.has(i + 1)),
  }))
  const said: string[] = []
  const several = new SeveralStores(members, {onTrouble: message => said.push(message)})
  t.after(() => several.close())
  return {several, stores, cut, said}
}

const job = (fields: Partial<NewJob> = {}): NewJob => ({
  func: 'Work',
  arg: null,
  uniqkey: null,
  priority: 0,
  due: {in: 0},
  ...fields,
})
const want = (limit: number) => ({funcs: ['Work'], limit, lease: 60})
const all = {limit: 100, offset: 0}

test('jobs are spread, and each says where it is', async t => {
  const {several, stores} = await setUp(t)
  const places = new Set<number | undefined>()
  await until('both have got one', async () => {
    places.add((await several.enqueue(job())).db)
    return places.size === 2
  })
  const counts = await Promise.all(stores.map(store => store.counts()))
  const total = (await several.counts())[0]!.ready
  assert.equal(
    counts.reduce((sum, [work]) => sum + work!.ready, 0),
    total,
  )
})

test('one that is out of reach is told of once and left alone; its jobs go to another', async t => {
  const {several, cut, said} = await setUp(t)
  cut.add(1)
  for (let i = 0; i < 20; i++) assert.equal((await several.enqueue(job())).db, 2)
  assert.deepEqual(said, ['database 1 is out of reach: the server is gone'])
  assert.equal((await several.list(all)).length, 20)
  assert.equal(await several.enqueueMany([job(), job()]), 2)
})

test('what asks no server does not tell that it is back', async t => {
  const {several, cut, said} = await setUp(t)
  cut.add(1)
  await several.paused()
  cut.delete(1)
  assert.deepEqual(await several.resume([]), [])
  assert.deepEqual(said, ['database 1 is out of reach: the server is gone'])
})

test('if none can be reached, that is the error', async t => {
  const {several, cut} = await setUp(t)
  cut.add(1).add(2)
  await assert.rejects(several.enqueue(job()), {code: 'UNREACHABLE'})
  await assert.rejects(several.counts(), {code: 'UNREACHABLE'})
})

test('a refused uniqkey is no reason to try another one', async t => {
  const {several, stores} = await setUp(t)
  for (const store of stores) await store.enqueue(job({uniqkey: 'k'}))
  await assert.rejects(several.enqueue(job({uniqkey: 'k'})), (error: unknown) => {
    assert.ok(error instanceof DuplicateJobError)
    assert.ok(error.existingDb === 1 || error.existingDb === 2)
    assert.match(error.message, new RegExp(`\\(job ${error.existingDb}:1\\)$`))
    return true
  })
})

test('what may have been stored is not stored in another one as well', async t => {
  const {several, stores} = await setUp(t)
  for (const store of stores)
    t.mock.method(store, 'enqueue', async () => {
      throw new StoreError('UNCERTAIN', 'it may have been stored')
    })
  await assert.rejects(several.enqueue(job()), {code: 'UNCERTAIN'})
  const calls = stores.map(store =>
    (store.enqueue as unknown as {mock: {callCount(): number}}).mock.callCount(),
  )
  assert.equal(calls[0]! + calls[1]!, 1)
})

test('work is taken by priority across all, then by how long it has been due', async t => {
  const {several, stores} = await setUp(t)
  for (const [i, priority] of [1, 9, 3, 7, 5, 5].entries()) await stores[i % 2]!.enqueue(job({priority}))
  const {jobs} = await several.turn([], want(10))
  assert.deepEqual(
    jobs.map(({priority}) => priority),
    [9, 7, 5, 5, 3, 1],
  )
  assert.deepEqual(
    jobs.map(row => idOf(row)),
    ['2:1', '2:2', jobs[2]!.db === 1 ? '1:3' : '2:3', jobs[3]!.db === 1 ? '1:3' : '2:3', '1:2', '1:1'],
  )
})

test('what has ended is settled where it came from; the next turn takes more', async t => {
  const {several, stores} = await setUp(t)
  for (const store of stores) await store.enqueue(job())
  const {jobs} = await several.turn([], want(2))
  const settlements = jobs.map(({id, db, grabbedUntil}) => ({
    lease: {id, db: db!, grabbedUntil},
    outcome: {kind: 'completed'} as const,
  }))
  const {settled} = await several.turn(settlements, want(1))
  assert.deepEqual(settled, [{held: true}, {held: true}])
  assert.deepEqual(await several.list(all), [])
})

test('a job whose database is gone meanwhile stays pending; the others go on', async t => {
  const {several, stores, cut} = await setUp(t)
  for (const store of stores) await store.enqueue(job())
  const {jobs} = await several.turn([], want(2))
  const settlements = jobs.map(({id, db, grabbedUntil}) => ({
    lease: {id, db: db!, grabbedUntil},
    outcome: {kind: 'completed'} as const,
  }))
  const gone = jobs[0]!.db!
  cut.add(gone)
  await stores[2 - gone]!.enqueue(job())
  const {settled, jobs: more, nextDueIn} = await several.turn(settlements, want(2))
  assert.deepEqual(settled, [{held: false, isPending: true}, {held: true}])
  assert.equal(more.length, 1)
  assert.ok(nextDueIn !== null && nextDueIn <= 30, 'it is tried again within 30 s')
  const renewed = await several.renew([settlements[0]!.lease], 60)
  assert.deepEqual(renewed, [settlements[0]!.lease])
})

test('exceptions are retried where they are, by DATABASE:ID', async t => {
  const {several, stores} = await setUp(t)
  await stores[1]!.enqueue(job())
  const [row] = (await stores[1]!.turn([], want(1))).jobs
  const lease = {id: row!.id, grabbedUntil: row!.grabbedUntil}
  await stores[1]!.turn([{lease, outcome: {kind: 'failed', message: 'no', retryIn: null}}], want(0))
  const [exception] = await several.exceptions(all)
  assert.equal(idOf(exception!), '2:1')
  await assert.rejects(several.retry(1, {priority: 0, due: {in: 0}}), {code: 'USAGE'})
  await assert.rejects(several.retry(1, {priority: 0, due: {in: 0}}, 3), {code: 'NOT_FOUND'})
  const again = await several.retry(1, {priority: 0, due: {in: 0}}, 2)
  assert.equal(idOf(again), '2:2')
})

test('a listing is one order over all, by pages', async t => {
  const {several, stores} = await setUp(t, 3)
  for (let i = 0; i < 30; i++) await stores[i % 3]!.enqueue(job({priority: i}))
  const pages = []
  for (const offset of [0, 7, 14, 21, 28]) pages.push(...(await several.list({limit: 7, offset})))
  assert.deepEqual(
    pages.map(({priority}) => priority),
    Array.from({length: 30}, (_, i) => 29 - i),
  )
})

test('pauses hold in all of them', async t => {
  const {several, stores} = await setUp(t)
  await several.pause(['Work'])
  for (const store of stores) assert.deepEqual(await store.paused(), ['Work'])
  assert.deepEqual(await several.resume(['Work']), ['Work'])
  assert.deepEqual(await several.paused(), [])
})

test('a watcher is rung by each of them', async t => {
  const {several, stores} = await setUp(t)
  await several.counts() // opens them
  let rings = 0
  const watch = several.watch(() => rings++)
  t.after(() => watch.close())
  for (const store of stores) {
    const before = rings
    await store.enqueue(job())
    await until('it rings', () => rings > before)
  }
})

test('attempts of several databases are added up', async t => {
  const {several, stores} = await setUp(t)
  for (const [i, store] of stores.entries())
    for (let n = 0; n <= i; n++) {
      await store.enqueue(job())
      const turn = await store.turn([], want(1))
      const [taken] = turn.jobs
      const span = {start: turn.now, end: turn.now + 2}
      const lease = {id: taken!.id, grabbedUntil: taken!.grabbedUntil}
      await store.turn([{lease, outcome: {kind: 'completed'}, span}], want(0))
    }
  assert.deepEqual(await several.attempts(), [
    {func: 'Work', ended: [{status: 'completed', seconds: 2, attempts: 3}]},
  ])
  assert.deepEqual(await several.attempts('Other'), [])
})

test('a job is taken by its id, and put back for later, where it is', async t => {
  const {several, stores, cut} = await setUp(t)
  const here = await stores[0]!.enqueue(job())
  await stores[1]!.enqueue(job({due: {in: 600}}))
  const {jobs} = await several.claim([{id: here.id, db: 2}], 60, {early: true})
  assert.deepEqual(jobs.map(idOf), ['2:1'])
  await several.postpone(jobs.map(lease => ({lease, seconds: 3600})))
  const cutOff = await several.claim([{id: here.id, db: 1}], 60)
  cut.add(1)
  await several.postpone([...jobs, ...cutOff.jobs].map(lease => ({lease, seconds: 3600}))) // no one else waits for it
  await assert.rejects(several.claim([{id: here.id, db: 1}], 60), {code: 'UNREACHABLE'})
  const {settled} = await several.turn(
    jobs.map(lease => ({lease, outcome: {kind: 'released'}})),
    want(0),
  )
  assert.deepEqual(settled, [{held: true}])
  const {runAfter, enqueueTime} = (await stores[1]!.find(1))!
  assert.ok(runAfter - enqueueTime >= 3600, `due ${runAfter - enqueueTime} s later`)
})

test('listings of several databases go on behind what was listed, over all of them', async t => {
  const {several} = await setUp(t, 3)
  const due = {at: 1_000_000_000}
  for (let i = 0; i < 20; i++) await several.enqueue(job({priority: i % 2, due}))
  for (let i = 0; i < 6; i++) await several.enqueue(job({due: {in: 3600 + (i % 2)}}))
  const {jobs} = await several.turn([], want(7))
  const failed = jobs.map(({id, db, grabbedUntil}) => ({
    lease: {id, db: db!, grabbedUntil},
    outcome: {kind: 'failed' as const, message: 'x', retryIn: null},
  }))
  await several.turn(failed.slice(3), want(0))
  const listed = await several.list(all)
  assert.equal(listed.length, 22)
  for (const [i, after] of listed.entries()) {
    const rest = await several.list({...all, after})
    assert.deepEqual(rest.map(idOf), listed.slice(i + 1).map(idOf))
  }
  const exceptions = await several.exceptions(all)
  const last = new Map<number, number>()
  for (const [i, {id, db}] of exceptions.entries()) {
    last.set(db!, id)
    const after = [...last].map(([db, id]) => ({id, db}))
    const rest = await several.exceptions({...all, after})
    assert.deepEqual(rest.map(idOf), exceptions.slice(i + 1).map(idOf))
  }
})

test('an action is kept in a database that can be reached, and told of all', async t => {
  const {several, stores, cut} = await setUp(t)
  await stores[0]!.logAction({who: 'me', what: 'first'})
  cut.add(1)
  const second = await several.logAction({who: 'me', what: 'second'})
  assert.equal(second.db, 2)
  cut.clear()
  await several.countAction(second, 5)
  const told = await several.actions({limit: 100})
  assert.deepEqual(told.map(({what, db, jobs}) => [what, db, jobs]).sort(), [
    ['first', 1, 0],
    ['second', 2, 5],
  ])
  assert.equal((await several.actions({limit: 1})).length, 1)
  assert.deepEqual(await several.actions({limit: 9, after: told.map(({id, db}) => ({id, db: db!}))}), [])
})
