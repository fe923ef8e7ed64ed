/** What plugins put around an enqueue, and what a job gets in a plugin's place. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import type {EnqueueCall} from '../../src/lib/hooks/hooks.ts'
import {PluginSet} from '../../src/lib/hooks/plugin-set.ts'
import type {Plugin} from '../../src/lib/hooks/plugins.ts'
import type {EnqueuedJob, JobRow} from '../../src/lib/jobs/job.ts'
import {RunningJob} from '../../src/lib/work/executors/running-job.ts'

const STORED: EnqueuedJob = {id: 1, func: 'Work', uniqkey: null, priority: 0, runAfter: 0}
const ROW: JobRow = {
  ...{id: 7, func: 'Work', funcId: 1, arg: null, uniqkey: null, enqueueTime: 0, grabbedUntil: 9},
  ...{runAfter: 0, retryCnt: 0, priority: 0},
}

function recorder(name: string, said: string[]): Plugin {
  return {
    aroundEnqueue(call, enqueue) {
      said.push(`${name} before ${call ? call.func : 'many'}`)
      const result = enqueue()
      said.push(`${name} after`)
      return result
    },
  }
}

describe('around an enqueue', () => {
  const call = {func: 'Work'} as EnqueueCall

  test('the first plugin is the outermost, and a job comes back without a promise', () => {
    const said: string[] = []
    const plugins = new PluginSet([
      ['a', recorder('a', said)],
      ['none', {}],
      ['b', recorder('b', said)],
    ])
    assert.equal(
      plugins.aroundEnqueue!(call, () => {
        said.push('stored')
        return STORED
      }),
      STORED,
    )
    assert.deepEqual(said, ['a before Work', 'b before Work', 'stored', 'b after', 'a after'])
  })

  test('a promise passes through, and so does what is thrown', async () => {
    const said: string[] = []
    const plugins = new PluginSet([['a', recorder('a', said)]])
    assert.equal(await plugins.aroundEnqueue!(null, async () => 3), 3)
    const error = new Error('refused')
    await assert.rejects(
      plugins.aroundEnqueue!(call, async (): Promise<EnqueuedJob> => {
        throw error
      }),
      error,
    )
    assert.equal(said[0], 'a before many')
  })

  test('one that does not call enqueue is told; one that calls it twice, or keeps its result, stores one job', async () => {
    const none = (plugin: object) => new PluginSet([['p', plugin]]).aroundEnqueue!
    const refused = {name: 'PluginError', message: 'a plugin did not call enqueue() in its aroundEnqueue()'}
    assert.throws(() => none({aroundEnqueue() {}})(call, () => STORED), refused)
    await assert.rejects(
      none({async aroundEnqueue() {}})(call, async () => STORED),
      refused,
    )
    let stored = 0
    const store = async () => {
      stored++
      return STORED
    }
    const forgetful: Plugin[] = [
      {
        async aroundEnqueue(_call: unknown, enqueue: () => unknown) {
          await enqueue()
        },
      },
      {
        aroundEnqueue(_call: unknown, enqueue: () => unknown) {
          void enqueue()
        },
      },
      {
        async aroundEnqueue(_call: unknown, enqueue: () => unknown) {
          await enqueue()
          return enqueue()
        },
      },
    ] as object[]
    for (const plugin of forgetful) assert.equal(await none(plugin)(call, store), STORED)
    assert.equal(stored, forgetful.length)
  })

  test('nothing stands around where no plugin wants to', () => {
    assert.equal(new PluginSet([['a', {}]]).aroundEnqueue, null)
  })
})

describe('job.plugin', () => {
  test('is what the plugin has for the job, else the plugin', () => {
    const plain = {}
    const plugins = new PluginSet([
      ['plain', plain],
      ['bound', {forJob: ({id, db}: {id: number; db?: number}) => `for ${db}:${id}`}],
    ])
    const job = new RunningJob({...ROW, db: 2}, new AbortController(), plugins)
    assert.equal(job.plugin('plain'), plain)
    assert.equal(job.plugin('bound'), 'for 2:7')
    assert.equal(typeof plugins.get('bound'), 'object')
    assert.throws(() => job.plugin('none'), {code: 'BAD_PLUGIN', message: 'no plugin "none"'})
  })

  test('what is no function is refused', () => {
    assert.throws(
      () => new PluginSet([['x', {forJob: 7}]]),
      /plugin x: forJob: expected a function, got number/,
    )
    assert.throws(() => new PluginSet([['x', {aroundEnqueue: {}}]]), /aroundEnqueue: expected a function/)
  })
})
