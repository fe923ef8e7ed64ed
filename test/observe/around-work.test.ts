/** What plugins put around an attempt at a job: they are told how it ended, and can't change it. */
import assert from 'node:assert/strict'
import {AsyncLocalStorage} from 'node:async_hooks'
import {describe, test} from 'node:test'
import {Hooks} from '../../src/lib/hooks/hooks.ts'
import {PluginSet} from '../../src/lib/hooks/plugin-set.ts'
import type {AttemptEnd, Plugin} from '../../src/lib/hooks/plugins.ts'
import type {JobRow} from '../../src/lib/jobs/job.ts'
import type {Job, Worker} from '../../src/lib/jobs/worker.ts'
import {readyWorker} from '../../src/lib/work/executors/ready-worker.ts'
import {runJob} from '../../src/lib/work/executors/run-job.ts'
import {RunningJob} from '../../src/lib/work/executors/running-job.ts'

const ROW: JobRow = {
  ...{id: 7, func: 'Work', funcId: 1, arg: Buffer.from('"x"'), uniqkey: null, enqueueTime: 0},
  ...{grabbedUntil: 9, runAfter: 0, retryCnt: 0, priority: 0},
}
const BOOM = new Error('boom')

function run(worker: Partial<Worker>, plugins: Plugin[], {hooks = new Hooks(), row = ROW} = {}) {
  const ready = readyWorker({work: () => {}, ...worker}, {}, 'Work')
  const set = new PluginSet(plugins.map((plugin, i) => [`p${i}`, plugin] as const))
  const job = new RunningJob(row, new AbortController(), set)
  return runJob(ready, job, {hooks, plugins: set, serializer: 'json'})
}

/** A plugin that keeps how the attempt ended. */
function witness(seen: AttemptEnd[] = []) {
  const plugin: Plugin = {
    async aroundWork(_job, work) {
      seen.push(await work())
      return seen[0]!
    },
  }
  return {plugin, seen}
}

describe('around an attempt', () => {
  const ends: [title: string, work: (job: Job) => unknown, end: AttemptEnd][] = [
    ['completed', () => {}, {outcome: 'completed', message: '', error: undefined, retryIn: null}],
    [
      'replaced',
      job => job.replace({func: 'Other'}),
      {outcome: 'replaced', message: '', error: undefined, retryIn: null},
    ],
    ['aborted', job => job.abort('no'), {outcome: 'aborted', message: 'no', error: undefined, retryIn: null}],
  ]
  for (const [title, work, end] of ends)
    test(`${title} is told`, async () => {
      const {plugin, seen} = witness()
      const {outcome} = await run({work}, [plugin])
      assert.equal(outcome.kind, title)
      assert.deepEqual(seen, [end])
    })

  test('failed is told, with what was thrown and the retry', async () => {
    const {plugin, seen} = witness()
    const work = () => {
      throw BOOM
    }
    const {outcome} = await run({work, maxRetries: 1, retryDelay: 5}, [plugin])
    assert.equal(outcome.kind, 'failed')
    const [{message, ...end}] = seen as [AttemptEnd]
    assert.deepEqual(end, {outcome: 'failed', error: BOOM, retryIn: 5})
    assert.match(message, /boom/)
  })

  test('an argument that can not be decoded is told', async () => {
    const {plugin, seen} = witness()
    const {outcome} = await run({}, [plugin], {row: {...ROW, arg: Buffer.from('{')}})
    assert.equal(outcome.kind, 'failed')
    assert.equal(seen[0]!.outcome, 'failed')
    assert.equal((seen[0]!.error as {code: string}).code, 'BAD_ARGUMENT')
  })

  test('a hook that fails is told as a death', async () => {
    const {plugin, seen} = witness()
    const hooks = new Hooks().register({
      name: 'bad',
      preWork: () => {
        throw BOOM
      },
    })
    const {outcome} = await run({}, [plugin], {hooks})
    assert.equal(outcome.kind, 'died')
    assert.equal(seen[0]!.outcome, 'died')
    assert.equal((seen[0]!.error as Error).cause, BOOM)
  })

  test('the first plugin is the outermost; the argument is decoded; hooks run within', async () => {
    const said: unknown[] = []
    const storage = new AsyncLocalStorage<string>()
    const around = (name: string): Plugin => ({
      async aroundWork(job, work) {
        said.push(name, job.arg)
        return storage.run(`${storage.getStore() ?? ''}${name}`, work)
      },
    })
    const hooks = new Hooks().register({name: 'hook', preWork: () => said.push(`hook ${storage.getStore()}`)})
    await run({work: () => said.push(`work ${storage.getStore()}`)}, [around('a'), around('b')], {hooks})
    assert.deepEqual(said, ['a', 'x', 'b', 'x', 'hook ab', 'work ab'])
  })
})

describe('a plugin that fails', () => {
  test('before the work has failed the job', async () => {
    let worked = 0
    const {outcome, afterwards} = await run({work: () => worked++, maxRetries: 1}, [
      {
        aroundWork: () => {
          throw BOOM
        },
      },
    ])
    assert.equal(outcome.kind === 'failed' && outcome.retryIn, 0)
    assert.equal(worked, 0)
    assert.equal(afterwards, null)
  })

  test('after the work changes nothing, and is told afterwards', async () => {
    const {outcome, afterwards} = await run({}, [
      {
        async aroundWork(_job, work) {
          await work()
          throw BOOM
        },
      },
    ])
    assert.deepEqual(outcome, {kind: 'completed'})
    await assert.rejects(afterwards!(), BOOM)
  })

  test('one that does not call work has failed the job', async () => {
    const end: AttemptEnd = {outcome: 'completed', message: '', error: undefined, retryIn: null}
    const {outcome} = await run({}, [{aroundWork: async () => end}])
    assert.equal(outcome.kind === 'failed' && /did not call work/.test(outcome.message), true)
  })

  test('one that calls it twice, or does not wait for it, does not work twice', async () => {
    let worked = 0
    const work = async () => {
      await new Promise(setImmediate)
      worked++
    }
    const {outcome} = await run({work}, [
      {
        aroundWork(_job, attempt) {
          void attempt()
          void attempt()
          return Promise.resolve({outcome: 'aborted', message: 'a lie', error: null, retryIn: null})
        },
      },
    ])
    assert.deepEqual(outcome, {kind: 'completed'})
    assert.equal(worked, 1)
  })
})
