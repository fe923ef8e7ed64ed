/** Ticks of schedules: each is passed once, with its job in the same transaction, by whichever store is first. */
import assert from 'node:assert/strict'
import {DuplicateJobError} from '../../../src/lib/jobs/errors.ts'
import {FAR_AHEAD_SECONDS, type ScheduleRow, type Tick} from '../../../src/lib/jobs/side-tables/schedules.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {countOf, newJob, rings, settle, type Tests, takeOne} from './bench.ts'

const NIGHTLY = {name: 'nightly', cron: '0 22 * * *', timeZone: 'Asia/Seoul'}

const rowOf = async (store: Store, name = NIGHTLY.name): Promise<ScheduleRow> => {
  const row = (await store.schedules()).rows.find(row => row.name === name)
  assert.ok(row, `${name} is known`)
  return row
}

/** Taken up, and the tick that comes so many seconds after that. */
async function begun(store: Store): Promise<(seconds: number, more?: Partial<Tick>) => Tick> {
  await store.takeUp([NIGHTLY])
  const {passedTo} = await rowOf(store)
  return (seconds, more = {}) => ({...NIGHTLY, at: passedTo + seconds, overlap: false, ...more})
}

export const schedules: Tests = {
  'what is new begins now; taken up again it goes on': async ({store, another, db}) => {
    assert.deepEqual((await store.schedules()).rows, [])
    const [before, other] = [await db.now(), {name: `Übung's "x"`, cron: '* * * * *', timeZone: 'UTC'}]
    await store.takeUp([NIGHTLY, other])
    const {now, rows} = await store.schedules()
    assert.ok(now >= before && now <= (await db.now()))
    assert.deepEqual(
      rows.map(({passedTo: _, ...row}) => row),
      [NIGHTLY, other].map(schedule => ({...schedule, ranAt: null, lastJob: null, isQueued: false})),
    )
    for (const {passedTo} of rows) assert.ok(passedTo >= before && passedTo <= now)
    await db.run('UPDATE jobq_schedule SET passed_to = passed_to - 1000')
    await (await another()).takeUp([NIGHTLY])
    assert.equal((await rowOf(store)).passedTo, rows[0]!.passedTo - 1000)
    await store.takeUp([])
    assert.equal(await countOf(db, 'jobq_schedule'), 2)
  },

  'another rhythm, another time zone, and what a wrong clock has passed, begin now': async ({db, store}) => {
    await store.takeUp([NIGHTLY])
    for (const change of [
      {cron: '0 12 * * *', timeZone: 'Asia/Seoul'},
      {cron: '0 12 * * *', timeZone: 'UTC'},
    ]) {
      await db.run('UPDATE jobq_schedule SET passed_to = passed_to - 1000')
      const before = await db.now()
      await store.takeUp([{name: NIGHTLY.name, ...change}])
      const row = await rowOf(store)
      assert.deepEqual([row.cron, row.timeZone], [change.cron, change.timeZone])
      assert.ok(row.passedTo >= before)
    }
    const changed = {name: NIGHTLY.name, cron: '0 12 * * *', timeZone: 'UTC'}
    for (const [ahead, isKept] of [
      [FAR_AHEAD_SECONDS - 100, true],
      [FAR_AHEAD_SECONDS + 100, false],
    ] as const) {
      const at = (await db.now()) + ahead
      await db.run(`UPDATE jobq_schedule SET passed_to = ${at}`)
      await store.takeUp([changed])
      assert.equal((await rowOf(store)).passedTo === at, isKept)
    }
  },

  'a tick is one job, however many try; what is before it is passed with it': async ({
    db,
    store,
    another,
  }) => {
    const tick = await begun(store)
    const stores = [store, await another(), await another()]
    const job = newJob('Work', {arg: '{"a":1}', priority: 7, context: '{"t":"1"}'})
    const passed = await Promise.all(
      Array.from({length: 12}, (_, i) => stores[i % 3]!.tick(tick(10, {overlap: true}), job)),
    )
    const ours = passed.filter(({isOurs}) => isOurs)
    assert.equal(ours.length, 1)
    const enqueued = ours[0]!.job!
    assert.deepEqual(
      passed.filter(({isOurs}) => !isOurs),
      Array.from({length: 11}, () => ({isOurs: false, job: null})),
    )
    assert.deepEqual(await store.tick(tick(9, {overlap: true}), job), {isOurs: false, job: null})
    const {passedTo: _, ...row} = await rowOf(store)
    assert.deepEqual(row, {...NIGHTLY, ranAt: tick(10).at, lastJob: {id: enqueued.id}, isQueued: true})
    const taken = await takeOne(store)
    assert.deepEqual(
      [taken.id, Buffer.from(taken.arg!).toString(), taken.priority, taken.context],
      [enqueued.id, '{"a":1}', 7, '{"t":"1"}'],
    )
    assert.equal(await countOf(db, 'job'), 1)
  },

  'of another definition: not passed here': async ({db, store}) => {
    const tick = await begun(store)
    for (const other of [{cron: '* * * * *'}, {timeZone: 'UTC'}, {name: 'other'}])
      assert.deepEqual(await store.tick({...tick(10), ...other}, newJob()), {isOurs: false, job: null})
    assert.equal(await countOf(db, 'job'), 0)
  },

  'while the last job waits or runs a tick adds none, and is passed; overlap lets it': async ({
    db,
    store,
  }) => {
    const tick = await begun(store)
    const {job: first} = await store.tick(tick(1), newJob())
    const none = {isOurs: true, job: null}
    assert.deepEqual(await store.tick(tick(2), newJob()), none)
    assert.deepEqual((await rowOf(store)).lastJob, {id: first!.id})
    const running = await takeOne(store)
    assert.deepEqual(await store.tick(tick(3), newJob()), none)
    assert.notEqual((await store.tick(tick(4, {overlap: true}), newJob())).job, null)
    assert.deepEqual(await store.tick(tick(5), newJob()), none)
    await settle(store, running, {kind: 'completed'})
    await settle(store, await takeOne(store), {kind: 'completed'})
    const row = await rowOf(store)
    assert.deepEqual([row.isQueued, row.ranAt, row.passedTo], [false, tick(4).at, tick(5).at])
    assert.notEqual((await store.tick(tick(6), newJob())).job, null)
    assert.equal(await countOf(db, 'job'), 1)
  },

  'without a job it is passed all the same, and so it is where the uniqkey is taken': async ({db, store}) => {
    const tick = await begun(store)
    assert.deepEqual(await store.tick(tick(1), null), {isOurs: true, job: null})
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const keyed = newJob('Work', {uniqkey: 'k', context: '{}'})
    assert.deepEqual(await store.tick(tick(2), keyed), {isOurs: true, job: null})
    const {passedTo, ranAt, lastJob} = await rowOf(store)
    assert.deepEqual([passedTo, ranAt, lastJob], [tick(2).at, null, null])
    assert.equal(await countOf(db, 'job'), 1)
    assert.equal(await countOf(db, 'jobq_context'), 0)
  },

  'by hand: a job now, whatever waits, and the ticks stay as they are': async ({db, store}) => {
    const byHand = {...NIGHTLY, at: null, overlap: false}
    const before = await db.now()
    const {job} = await store.tick(byHand, newJob())
    const row = await rowOf(store)
    assert.deepEqual([row.cron, row.lastJob, row.isQueued], [NIGHTLY.cron, {id: job!.id}, true])
    assert.ok(row.ranAt! >= before && row.passedTo >= before)
    const again = await store.tick({...byHand, cron: 'another'}, newJob('Work', {uniqkey: 'k'}))
    const now = await rowOf(store)
    assert.deepEqual([now.cron, now.passedTo, now.lastJob], [NIGHTLY.cron, row.passedTo, {id: again.job!.id}])
    await assert.rejects(store.tick(byHand, newJob('Work', {uniqkey: 'k'})), DuplicateJobError)
    assert.deepEqual((await rowOf(store)).lastJob, {id: again.job!.id})
  },

  'whoever waits for work hears of it': async ({store, another}) => {
    const tick = await begun(store)
    const other = await another()
    await rings(store, () => other.tick(tick(1), newJob()))
  },

  'what is refused passes nothing': async ({db, store}) => {
    const tick = await begun(store)
    const {passedTo} = await rowOf(store)
    await assert.rejects(store.tick(tick(1), newJob('Work', {due: {at: 2 ** 33}})))
    assert.equal((await rowOf(store)).passedTo, passedTo)
    assert.equal(await countOf(db, 'job'), 0)
    assert.notEqual((await store.tick(tick(1), newJob())).job, null)
  },
}
