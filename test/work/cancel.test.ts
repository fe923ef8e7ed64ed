/** Jobs that run, cancelled: whoever runs them hears, on each kind of database, and whatever dies meanwhile. */
import assert from 'node:assert/strict'
import {existsSync} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {JobQueue, JobStoppedError} from '../../src/lib/index.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const worker = (
  body: string,
  settings = 'maxRetries: 3',
) => `import {setTimeout as sleep} from 'node:timers/promises'
import {note} from './_note.mjs'
void sleep
export default {${settings}, async work(job: any) {
  note({word: 'begin', id: job.id})
  ${body}
}}
`
const TOLD = `await new Promise<void>(resolve => job.signal.addEventListener('abort', () => resolve()))
  note({word: 'told', id: job.id, why: job.signal.reason.why, name: job.signal.reason.name})`
const THROWS = worker(`${TOLD}\n  throw job.signal.reason`)
const DEAF = worker('await sleep(600_000)')
const NAP = worker('await sleep(5)')
const STUBBORN = `#!/bin/sh\n# jobq: max-retries=3\ntrap '' TERM INT HUP; echo stubborn; while :; do sleep 0.05; done`

interface Note {
  word: 'begin' | 'told' | 'postWork'
  id: number
  why?: string
}

const noted = (site: Workplace, word: Note['word']) => site.notes<Note>().filter(note => note.word === word)
const begun = (site: Workplace, id: number) =>
  until(`${id} has begun`, () => noted(site, 'begin').some(note => note.id === id))
const left = (site: Workplace) => site.column<number>('SELECT id FROM job ORDER BY id')
const ended = (site: Workplace) =>
  site.rows('SELECT job_id AS id, outcome, is_last AS isLast FROM jobq_attempt ORDER BY job_id')
const aborted = (id: number) => ({id, outcome: 'aborted', isLast: 1})

const kinds = await databaseKinds()

for (const kind of kinds)
  describe(`a job is cancelled on ${kind.name}`, {
    concurrency: 2,
    skip: kind.skip,
  }, () => {
    async function place(t: TestContext, ...flags: string[]) {
      const {db} = await kind.create(t)
      const site = new Workplace(t, {Throws: THROWS, Nap: NAP})
      const queue = await JobQueue.open({db})
      t.after(() => queue.close())
      const work = site.start(['work', '--db', db, '--work-delay', '3600', '--debug', ...flags])
      await work.prints(/nothing ready/)
      return {site, queue, work}
    }

    const isCancelled = async (queue: JobQueue, id: number) => {
      await until(`${id} has left`, async () => (await queue.find(id)) === null)
      const history = await queue.show(id)
      const [attempt] = history!.attempts
      assert.deepEqual([attempt!.outcome, attempt!.message, attempt!.isLast], ['aborted', 'cancelled', true])
    }

    test('while its dispatcher waits for more', async t => {
      const {site, queue} = await place(t, '--max-workers', '2')
      const {id} = await queue.enqueue('Throws', {tracked: true})
      await begun(site, id)
      const {func, state, result} = await queue.cancel(id)
      assert.deepEqual([func, state, result], ['Throws', 'running', 'stopping'])
      await isCancelled(queue, id)
      assert.deepEqual(
        noted(site, 'told').map(({id, why}) => ({id, why})),
        [{id, why: 'cancelled'}],
      )
      assert.deepEqual(await queue.wait(id), {id, outcome: 'aborted', message: 'cancelled'})
      assert.deepEqual(await queue.store.orders(), [])
    })

    test('while all executors are busy, for long', async t => {
      const {site, queue} = await place(t, '--max-workers', '2')
      const ids = []
      for (let i = 0; i < 3; i++) ids.push((await queue.enqueue('Throws')).id)
      await begun(site, ids[0]!)
      await begun(site, ids[1]!)
      await queue.cancel(ids[1]!)
      await isCancelled(queue, ids[1]!)
      await begun(site, ids[2]!) // in its place
      assert.equal((await queue.find(ids[0]!))!.state, 'running')
    })

    test('while others come and go beside it, and behind them', async t => {
      const {site, queue} = await place(t, '--max-workers', '2')
      const {id} = await queue.enqueue('Throws', {priority: 1})
      await begun(site, id)
      await queue.enqueueMany(Array.from({length: 400}, () => ({func: 'Nap'})))
      await until('it is far beyond the turns that listen', () => noted(site, 'begin').length > 50)
      await queue.cancel(id)
      await isCancelled(queue, id)
      const {id: last} = await queue.enqueue('Throws', {priority: 1})
      await begun(site, last)
      await queue.cancel(last)
      await isCancelled(queue, last)
      const counts = {cancelled: 0, stopping: 0}
      for await (const {refused, ...outcome} of queue.cancelMany({func: 'Nap'}))
        if (refused === null) counts[(outcome as {result: 'cancelled' | 'stopping'}).result]++
      assert.ok(counts.cancelled > 0)
      await until('nothing is left', async () => (await queue.count()) === 0)
    })

    test('that was taken ahead and has not started: it never does', async t => {
      const {site, queue} = await place(t, '--max-workers', '1', '--prefetch', '8')
      const ids = []
      for (let i = 0; i < 4; i++) ids.push((await queue.enqueue('Throws')).id)
      await until('all are taken', async () => (await queue.counts())[0]!.running === 4)
      await begun(site, ids[0]!)
      assert.equal((await queue.cancel(ids[2]!)).state, 'running')
      await isCancelled(queue, ids[2]!)
      for (const id of [ids[0]!, ids[1]!, ids[3]!]) {
        await begun(site, id)
        await queue.cancel(id)
        await isCancelled(queue, id)
      }
      assert.equal(noted(site, 'begin').length, 3)
    })
  })

describe('a job that is cancelled', {concurrency: 2}, () => {
  test('ends as aborted, however it takes it, and is not tried again; one that gets done is done', async t => {
    const site = new Workplace(t, {
      Throws: THROWS,
      Deaf: DEAF,
      Exits: worker(`${TOLD}\n  process.exit(3)`),
      Resolves: worker(TOLD),
      Aborts: worker(`${TOLD}\n  job.abort('mine')`),
      Fails: `#!/bin/sh\ntrap 'exit 9' TERM\necho ready; while :; do sleep 0.02; done`,
      Done: `#!/bin/sh\ntrap 'exit 0' TERM\necho ready; while :; do sleep 0.02; done`,
      Stubborn: STUBBORN,
    })
    const funcs = ['Throws', 'Deaf', 'Exits', 'Resolves', 'Aborts', 'Fails', 'Done', 'Stubborn']
    await site.enqueue(...funcs.map((func): [string] => [func]))
    const work = site.work('--max-workers', '8')
    for (let id = 1; id <= 5; id++) await begun(site, id)
    await work.prints(/ready[\s\S]*ready/)
    await work.prints(/stubborn/)
    const {code, stdout} = await site.run(['cancel', '--all', '--json'])
    const {cancelled, stopping, refused} = JSON.parse(stdout)
    assert.deepEqual([cancelled, stopping + refused, code], [0, 8, refused > 0 ? 4 : 0])
    assert.ok(refused <= 3, stdout) // those whose end does not say that they were told may be gone before that is seen: 4, 5, 7
    await until('all have left', () => left(site).length === 0)
    assert.deepEqual(ended(site), [1, 2, 3, 5, 6, 8].map(aborted))
    assert.deepEqual(
      site
        .exceptions()
        .map(({message}) => message)
        .sort(),
      ['cancelled', 'cancelled', 'cancelled', 'cancelled', 'cancelled', 'mine'],
    )
    const check = async (max: number) => (await site.run(['check', '--max-failed', `${max}`])).code
    assert.deepEqual([await check(1), await check(0)], [0, 2], 'what was cancelled has not failed')
    const all = await site.run(['retry', '--all', '--dry-run', '--json'])
    assert.deepEqual(
      JSON.parse(all.stdout).retried.map(({func}: {func: string}) => func),
      ['Aborts'],
    )
    const listed = await site.run(['list', '--failed', '--func', 'Deaf', '--json'])
    assert.deepEqual(
      JSON.parse(listed.stdout).map(({state, retried}: Record<string, unknown>) => [state, retried]),
      [['cancelled', 0]],
    )
    work.kill('SIGTERM')
    const {stderr} = await work.exited
    for (const [id, said] of [
      [4, 'Resolves completed'],
      [7, 'Done completed'],
      [8, 'Stubborn aborted [\\d.]+m?s cancelled'],
    ])
      assert.match(stderr, new RegExp(`${id} ${said}`))
    assert.deepEqual(site.column('SELECT * FROM jobq_order'), [])
    assert.deepEqual(site.survivors(), [])
  })

  test('is told by its signal why, as one that overruns and one whose dispatcher ends', async t => {
    const site = new Workplace(t, {Throws: THROWS, Over: worker(TOLD, 'grabFor: 1')})
    await site.enqueue(['Throws'], ['Throws'], ['Over'])
    const work = site.work('--max-workers', '3', '--shutdown-timeout', '0')
    for (const id of [1, 2, 3]) await begun(site, id)
    await site.run(['cancel', '1'])
    await until('two are told', () => noted(site, 'told').length === 2)
    work.kill('SIGTERM')
    await work.exited
    assert.deepEqual(
      noted(site, 'told')
        .map(({id, why}) => `${id} ${why}`)
        .sort(),
      ['1 cancelled', '2 shutdown', '3 overrun'],
    )
  })

  test('hooks behind its end see that it was aborted', async t => {
    const site = new Workplace(t, {Throws: THROWS})
    site.write(
      'jobq.config.mjs',
      `import {note} from './workers/_note.mjs'
export default {hooks: [{name: 'seen', postWork: ({id, outcome, message, retryIn}) => note({word: 'postWork', id, outcome, message, retryIn})}]}`,
    )
    await site.enqueue(['Throws'], ['Throws'])
    const work = site.work('--max-workers', '1')
    for (const id of [1, 2]) {
      await begun(site, id)
      await site.run(['cancel', String(id)])
      await until('the hook was called', () => noted(site, 'postWork').some(note => note.id === id))
      const {at: _, ...note} = site.notes<Note>().findLast(({word}) => word === 'postWork')!
      assert.deepEqual(note, {word: 'postWork', id, outcome: 'aborted', message: 'cancelled', retryIn: null})
    }
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('within an application: its signal, the event; a function that does not heed it is waited for no longer', async t => {
    const site = new Workplace(t)
    const queue = await JobQueue.open({db: site.db})
    t.after(() => queue.close())
    const finished: unknown[] = []
    queue.on('finish', ({id, outcome, message}) => finished.push({id, outcome, message}))
    const reasons: unknown[] = []
    const running = new Set<number>()
    const ending = new AbortController()
    const done = queue.work({
      workers: {
        Heeds: async ({id, signal}) => {
          running.add(id)
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        },
        Deaf: async ({id, signal}) => {
          running.add(id)
          signal.addEventListener('abort', () => reasons.push(signal.reason))
          await new Promise(resolve => ending.signal.addEventListener('abort', resolve))
        },
      },
      concurrency: 2,
      signal: ending.signal,
    })
    for (const func of ['Heeds', 'Deaf']) await queue.enqueue(func)
    await until('both run', () => running.size === 2)
    for (const id of [1, 2]) assert.equal((await queue.cancel(id)).result, 'stopping')
    await until('both have ended', () => finished.length === 2)
    const cancelled = {outcome: 'aborted', message: 'cancelled'}
    assert.deepEqual(
      finished,
      [1, 2].map(id => ({id, ...cancelled})),
    )
    assert.ok(reasons[0] instanceof JobStoppedError && reasons[0].why === 'cancelled')
    ending.abort()
    assert.equal((await done).aborted, 2)
  })

  test('does not run again when its dispatcher is killed that has heard', async t => {
    const site = new Workplace(t, {Stubborn: STUBBORN, Nap: NAP})
    await site.enqueue(['Stubborn'])
    const work = site.work()
    await work.prints(/stubborn/)
    assert.equal((await site.run(['cancel', '1'])).stdout, '1\tStubborn\tstopping\n')
    work.kill('SIGKILL') // within the second that its job has to stop
    await work.exited
    assert.deepEqual(left(site), [1])
    await until('nothing of it is left', () => site.survivors().length === 0)
    site.rows('UPDATE job SET grabbed_until = 1')
    await site.enqueue(['Nap'])
    const {stdout, stderr} = await site.drain()
    assert.doesNotMatch(stdout + stderr, /stubborn/)
    assert.match(stderr, /1 Stubborn aborted [^\n]*cancelled/)
    assert.deepEqual(ended(site), [aborted(1)])
    assert.deepEqual([left(site), site.column('SELECT * FROM jobq_order')], [[], []])
  })

  test('is cancelled by a canceller that is killed once it has ordered it', async t => {
    const site = new Workplace(t, {Throws: THROWS})
    await site.enqueue(['Throws'])
    const work = site.work('--debug')
    await begun(site, 1)
    await site.pause(work)
    const cancel = site.start(['cancel', '1'])
    await until('it is ordered', () => site.column('SELECT * FROM jobq_order').length === 1)
    cancel.kill('SIGKILL')
    await cancel.exited
    work.kill('SIGCONT')
    await work.prints(/1 Throws aborted [^\n]*cancelled/)
    assert.deepEqual([left(site), site.column('SELECT * FROM jobq_order')], [[], []])
  })

  test('a dispatcher that is stopped hears nothing, and its job goes on when it does', async t => {
    const site = new Workplace(t, {
      Waits: worker(`const {existsSync} = await import('node:fs')
  while (!existsSync(process.env.HOME + '/go')) await sleep(5)`),
    })
    await site.enqueue(['Waits'])
    const work = site.work()
    await begun(site, 1)
    await site.pause(work)
    const {code, stderr} = await site.run(['cancel', '1'])
    assert.equal(code, 4)
    assert.match(stderr, /has not heard within 3 s/)
    work.kill('SIGCONT')
    site.write('go', '')
    await work.prints(/1 Waits completed/)
    assert.ok(existsSync(site.path('go')))
  })

  test('of several databases: each by its number', async t => {
    const site = new Workplace(t, {Throws: THROWS})
    const db = ['a.db', 'b.db'].map(name => site.path(name))
    for (const each of db) await site.run(['enqueue', '--db', each, 'Throws'])
    for (const each of db) await site.run(['enqueue', '--db', each, 'Later', '--delay', '60'])
    const words = db.flatMap(each => ['--db', each])
    const work = site.start(['work', '--max-workers', '2', ...words])
    await until('both run', () => noted(site, 'begin').length === 2)
    const {code, stdout, stderr} = await site.run(['cancel', ...words, '2:1', '1:2', '3:1', '2:9'])
    assert.equal(stdout, '1:2\tLater\tcancelled\n2:1\tThrows\tstopping\n')
    assert.match(stderr, /no database 3/)
    assert.equal(code, 4)
    await work.prints(/2:1 Throws aborted [^\n]*cancelled/)
    assert.equal(noted(site, 'told').length, 1)
  })
})
