/** Hooks where a job is worked, in an application's own process: what they see, may change, and what their failure means. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import type {Hook, JobQueue} from '../../src/lib/index.ts'
import {openQueue} from '../support/library.ts'

function drain(queue: JobQueue, work: (job: {arg: unknown}) => unknown, said: string[] = []) {
  return queue.work({mode: 'drain', workers: {F: work}, onTrouble: message => said.push(message)})
}

describe('around a job', () => {
  test('deserialize, preWork, work, postWork; each hook in its order; the end as it was', async t => {
    const seen: string[] = []
    const hook = (name: string): Hook => ({
      name,
      deserialize: job => void seen.push(`${name} deserialize ${job.arg}`),
      async preWork(job) {
        seen.push(`${name} preWork ${job.arg}`)
      },
      postWork: job => void seen.push(`${name} postWork ${job.outcome} ${job.message.split('\n')[0]}`),
    })
    const {queue} = await openQueue(t, {hooks: [hook('a'), hook('b')]})
    await queue.enqueue('F', {arg: 1})
    await queue.enqueue('F', {arg: 2})
    await drain(queue, ({arg}) => {
      seen.push(`work ${arg}`)
      if (arg === 2) throw new Error('no 2')
    })
    const before = (n: number) => [
      ...[`a deserialize ${n}`, `b deserialize ${n}`, `a preWork ${n}`, `b preWork ${n}`, `work ${n}`],
    ]
    assert.deepEqual(seen, [
      ...[...before(1), 'a postWork completed ', 'b postWork completed '],
      ...[...before(2), 'a postWork failed Error: no 2', 'b postWork failed Error: no 2'],
    ])
  })

  test('deserialize may set the argument; preWork may end the job, which is no failure of its own', async t => {
    const {queue} = await openQueue(t, {
      hooks: [
        {
          name: 'h',
          deserialize(job) {
            job.arg = (job.arg as number) * 10
          },
          preWork(job) {
            if (job.arg === 20) job.abort('not 2')
          },
        },
      ],
    })
    const seen: unknown[] = []
    await queue.enqueue('F', {arg: 1})
    await queue.enqueue('F', {arg: 2})
    const summary = await drain(queue, ({arg}) => seen.push(arg))
    assert.deepEqual([seen, summary.completed, summary.aborted], [[10], 1, 1])
    assert.deepEqual(
      (await queue.exceptions()).map(({message}) => message),
      ['not 2'],
    )
  })

  for (const point of ['deserialize', 'preWork'] as const)
    test(`${point} that throws is the death of the worker: the job is not worked, and the third one fails it`, async t => {
      const {queue, rows} = await openQueue(t, {
        hooks: [
          {
            name: 'bad',
            [point]() {
              throw new Error('boom')
            },
          },
        ],
      })
      const outcomes: string[] = []
      queue.on('fail', ({outcome}) => outcomes.push(outcome))
      await queue.enqueue('F')
      const summary = await drain(queue, () => assert.fail('it is not worked'))
      assert.deepEqual(outcomes, ['died', 'died', 'failed'])
      assert.equal(summary.completed, 0)
      const [{message}] = rows<{message: string}>('SELECT message FROM exception_log') as [{message: string}]
      const how = `hook "bad" at ${point}: threw: boom`
      assert.equal(message, `its worker died 3 times: 1. ${how}; 2. ${how}; 3. ${how}`)
      assert.deepEqual(rows('SELECT * FROM job'), [])
    })

  test('one that hangs is a death, too', async t => {
    const {queue, rows} = await openQueue(t, {
      hookTimeout: 0.01,
      hooks: [{name: 'hangs', preWork: () => new Promise(() => {})}],
    })
    await queue.enqueue('F')
    await drain(queue, () => assert.fail('it is not worked'))
    const [{message}] = rows<{message: string}>('SELECT message FROM exception_log') as [{message: string}]
    assert.match(message, /3\. hook "hangs" at preWork: expected an end within 0\.01 s, got none$/)
  })

  test('postWork that throws changes nothing of the end; it is told', async t => {
    const {queue, rows} = await openQueue(t, {
      hooks: [
        {
          name: 'bad',
          async postWork() {
            throw new Error('boom')
          },
        },
      ],
    })
    const said: string[] = []
    await queue.enqueue('F')
    const {completed} = await drain(queue, () => {}, said)
    assert.equal(completed, 1)
    assert.deepEqual([rows('SELECT * FROM job'), rows('SELECT * FROM exception_log')], [[], []])
    assert.deepEqual(said, ['hook "bad" at postWork: threw: boom'])
  })
})
