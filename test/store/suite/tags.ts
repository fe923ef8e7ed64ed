/** Tags: with a job from its enqueue on, as long as it or an attempt of it is kept; and jobs that are chosen by them. */
import assert from 'node:assert/strict'
import type {NewJob, TagChoice, Tags} from '../../../src/lib/jobs/job.ts'
import {collect} from '../../../src/lib/store/shared/reads/stretch.ts'
import type {Store} from '../../../src/lib/store/store.ts'
import {countOf, ids, newJob, perlEnqueue, SPAN, settle, type Tests, take, takeOne} from './bench.ts'

const ALL = {limit: 100_000, offset: 0, details: true}

function tagged(tags: Tags, more: Partial<NewJob> = {}): NewJob {
  return newJob('Work', {...more, tags: Object.entries(tags)})
}

const having = (name: string, value: string | null = null): TagChoice => ({name, value})

async function tagsIn(store: Store): Promise<Tags[]> {
  return (await store.list(ALL)).map(({tags}) => tags)
}

export const tagging: Tests = {
  'are there from the enqueue on, in whichever way the job comes': async ({store}) => {
    const [a, b] = [{customer: '42', kind: 'nightly'}, {customer: '43'}]
    await store.enqueue(tagged(a, {priority: 9, uniqkey: 'k'}))
    const many = Promise.all([
      store.enqueue(tagged(a, {priority: 8})),
      store.enqueue(newJob('Work', {priority: 7})),
      store.enqueue(tagged(b, {priority: 6, uniqkey: 'l', context: '{"a":"1"}', tracked: true})),
    ])
    await many
    await store.enqueueMany([
      tagged(b, {priority: 5}),
      newJob('Work', {priority: 4}),
      tagged(a, {priority: 3}),
    ])
    assert.deepEqual(await tagsIn(store), [a, a, {}, b, b, {}, a])
    const job = await takeOne(store)
    const jobs = [tagged(b, {func: 'B'}), newJob('B')]
    await settle(store, job, {kind: 'replaced', jobs, retryIn: null})
    assert.deepEqual(
      (await store.list({...ALL, func: 'B'})).map(({tags}) => tags),
      [b, {}],
    )
  },

  'are any text, and names that objects have anyway': async ({store}) => {
    const tags = Object.fromEntries([
      ['__proto__', 'constructor'],
      ['a b', '=x=y'],
      ['나', '😀'.repeat(255)],
      [`'"\\`, `'"\\%_`],
    ])
    const {id} = await store.enqueue(tagged(tags))
    assert.deepEqual((await store.find(id, undefined, {details: true}))!.tags, tags)
    for (const [name, value] of Object.entries(tags))
      for (const choice of [having(name, value), having(name)])
        assert.deepEqual(ids(await store.list({...ALL, tags: [choice]})), [id])
    assert.deepEqual(await store.list({...ALL, tags: [having('A B')]}), [])
  },

  'of a job that is refused are none': async ({db, store}) => {
    await store.enqueue(newJob('Work', {uniqkey: 'k'}))
    const refused = tagged({a: '1'}, {uniqkey: 'k'})
    await assert.rejects(store.enqueue(refused), /already waiting/)
    const together = [store.enqueue(refused), store.enqueue(tagged({b: '2'})), store.enqueue(refused)]
    assert.deepEqual(
      (await Promise.allSettled(together)).map(({status}) => status),
      ['rejected', 'fulfilled', 'rejected'],
    )
    await assert.rejects(store.enqueueMany([tagged({c: '3'}), refused]), /already waiting/)
    assert.deepEqual(
      (await db.query('SELECT name FROM jobq_tag')).map(({name}) => String(name)),
      ['b'],
    )
  },

  'choose jobs in a listing, in the order of work, a page at a time': async ({store}) => {
    const jobs = Array.from({length: 12}, (_, i) =>
      tagged({odd: String(i % 2), ...(i % 3 === 0 ? {third: 'yes'} : {})}, {priority: i}),
    )
    await store.enqueueMany(jobs)
    await store.enqueue(tagged({odd: '1'}, {due: {in: 60}}))
    await store.enqueue(newJob('Other', {tags: [['odd', '1']]}))
    await takeOne(store)
    const listed = async (page: object) =>
      (await store.list({...ALL, ...page})).map(({func, state, priority}) => `${func} ${state} ${priority}`)
    const odd = [having('odd', '1')]
    const all = ['Work running 11', ...[9, 7, 5, 3, 1].map(n => `Work ready ${n}`)]
    assert.deepEqual(await listed({tags: odd}), [...all, 'Other ready 0', 'Work delayed 0'])
    assert.deepEqual(await listed({tags: odd, offset: 2, limit: 3}), all.slice(2, 5))
    assert.deepEqual(await listed({tags: odd, func: 'Work', state: 'ready'}), all.slice(1))
    assert.deepEqual(await listed({tags: [...odd, having('third')]}), ['Work ready 9', 'Work ready 3'])
    assert.deepEqual(await listed({tags: odd, func: 'None'}), [])
    assert.equal((await listed({tags: [having('odd')]})).length, 14)
    const rows = await collect(store.eachId({tags: odd, func: 'Work'}))
    assert.equal(rows.length, 7)
    assert.equal((await collect(store.eachId({tags: [having('odd')]}))).length, 14)
  },

  'choose jobs of a key': async ({store}) => {
    const {id} = await store.enqueue(tagged({a: '1'}, {uniqkey: 'k'}))
    assert.deepEqual(ids(await store.list({...ALL, uniqkey: 'k', tags: [having('a', '1')]})), [id])
    assert.deepEqual(await store.list({...ALL, uniqkey: 'k', tags: [having('a', '2')]}), [])
  },

  'choose among more than are held, in the same order': async ({store}) => {
    function* jobs(): Generator<NewJob> {
      for (let i = 0; i < 12_000; i++)
        yield tagged({all: 'yes', some: String(i % 4000)}, {priority: i % 7, due: {in: i % 2 ? 0 : 60}})
    }
    await store.enqueueMany(jobs())
    const every = await collect(store.eachJob(ALL))
    assert.deepEqual(ids(await collect(store.eachJob({...ALL, tags: [having('all', 'yes')]}))), ids(every))
    const few = [having('all'), having('some', '3')]
    const wanted = every.filter(({tags}) => tags.some === '3')
    assert.equal(wanted.length, 3)
    assert.deepEqual(ids(await store.list({...ALL, tags: few})), ids(wanted))
    const page = {offset: 5000, limit: 30, tags: [having('all')]}
    assert.deepEqual(ids(await store.list(page)), ids(every.slice(5000, 5030)))
    assert.equal((await collect(store.eachId({tags: [having('some')]}))).length, 12_000)
  },

  'are kept with an attempt, and choose exceptions and statuses': async ({store}) => {
    const of = {customer: '42'}
    for (const [i, outcome] of [
      {kind: 'failed', message: 'x', retryIn: null} as const,
      {kind: 'completed'} as const,
      {kind: 'aborted', reason: 'x'} as const,
    ].entries()) {
      await store.enqueue(tagged({...of, nth: String(i)}))
      await store.enqueue(newJob('Work'))
      for (const job of await take(store, 'Work', 2)) await settle(store, job, outcome, SPAN)
    }
    const page = {...ALL, tags: [having('customer', '42')]}
    const nths = (rows: readonly {tags: Tags}[]) => rows.map(({tags}) => tags.nth)
    assert.deepEqual(nths(await store.exceptions(page)), ['2', '0'])
    assert.deepEqual(nths(await store.exceptions({...page, oldestFirst: true, unretried: true})), ['0', '2'])
    assert.deepEqual(nths(await store.statuses(page)), ['2', '1', '0'])
    assert.deepEqual(nths(await store.statuses({...page, offset: 1, limit: 1})), ['1'])
    const [status] = await store.statuses({...page, tags: [having('nth', '1')]})
    const history = await store.history(status!.jobId!)
    assert.deepEqual([history!.job, history!.tags], [null, {...of, nth: '1'}])
    assert.deepEqual(await store.exceptions({...ALL, tags: [having('none')]}), [])
    await store.forgetBeside([{id: status!.jobId!}])
    assert.equal(await store.sweepTags(0), null)
    assert.equal((await store.statuses(page)).length, 3)
  },

  'go with a retry to the new job': async ({store}) => {
    await store.enqueue(tagged({a: '1', b: '2'}))
    await settle(store, await takeOne(store), {kind: 'failed', message: 'x', retryIn: null})
    const [exception] = await store.exceptions(ALL)
    const {id} = await store.retry(exception!.id, {priority: 0, due: {in: 0}})
    assert.deepEqual((await store.find(id, undefined, {details: true}))!.tags, {a: '1', b: '2'})
    assert.deepEqual((await store.exceptions(ALL))[0]!.tags, {a: '1', b: '2'})
  },

  'are others once a job is edited so': async ({store}) => {
    const {id} = await store.enqueue(tagged({a: '1', b: '2'}))
    await store.edit(id, {priority: 3})
    assert.deepEqual((await store.find(id, undefined, {details: true}))!.tags, {a: '1', b: '2'})
    await store.edit(id, {tags: [['c', '3']]})
    assert.deepEqual((await store.find(id, undefined, {details: true}))!.tags, {c: '3'})
  },

  'go with the last of a job: at its cancel, when its attempts are pruned, when it is told that it has left':
    async ({db, store}) => {
      const cancelled = await store.enqueue(tagged({a: '1'}))
      await store.cancel([cancelled])
      assert.equal(await countOf(db, 'jobq_tag'), 0)
      const tried = await store.enqueue(tagged({a: '1'}))
      await settle(store, await takeOne(store), {kind: 'failed', message: 'x', retryIn: 0})
      await store.forgetBeside([tried])
      assert.equal(await countOf(db, 'jobq_tag'), 1) // it waits for its next try
      await store.cancel([tried])
      assert.equal(await countOf(db, 'jobq_tag'), 1) // an attempt is kept
      await db.run('UPDATE exception_log SET exception_time = 1')
      await collect(store.prune('exception_log', {ago: 60}, false))
      assert.equal(await countOf(db, 'jobq_tag'), 0)
      const done = await store.enqueue(tagged({a: '1'}))
      assert.equal((await store.beside()).hasTags, true)
      await settle(store, await takeOne(store), {kind: 'completed'})
      await store.forgetBeside([done])
      assert.equal(await countOf(db, 'jobq_tag'), 0)
      assert.equal((await store.beside()).hasTags, false)
    },

  'of jobs that Perl has worked are swept, those of others are not': async ({db, store}) => {
    const jobs = Array.from({length: 1200}, () => tagged({a: '1', b: '2'}))
    await store.enqueueMany(jobs)
    await perlEnqueue(db, {func: 'Work'})
    const [first, ...others] = await store.list(ALL)
    await db.run(`DELETE FROM job WHERE id <> ${first!.id}`)
    for (let from: number | null = 0; from !== null; ) from = await store.sweepTags(from)
    assert.equal(others.length, 1200)
    assert.deepEqual(
      (await db.query('SELECT DISTINCT job_id FROM jobq_tag')).map(({job_id}) => Number(job_id)),
      [first!.id],
    )
  },
}
