/** Batches: jobs, and what runs when all of them have ended, on each kind of database. */
import assert from 'node:assert/strict'
import {existsSync, readFileSync} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {type BatchCounts, JobQueue} from '../../src/lib/index.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const WORKERS = {
  Page: `export default {maxRetries: 1, async work(job) {
    if (job.arg === 'bad') throw new Error('no such page')
    if (job.arg === 'off') job.abort('not wanted')
    if (job.arg === 'other') job.replace({func: 'Page', arg: 'good'})
  }}`,
  Slow: `export default {maxRetries: 0, async work(job) {
    await new Promise(resolve => setTimeout(resolve, 50))
    if (job.arg === 'bad') throw new Error('no such page')
  }}`,
  Report: `import {note} from './_note.mjs'
export default {maxRetries: 1, work({arg, retryCnt}) {
  note({arg, retryCnt})
  if (arg.fails && retryCnt === 0) throw new Error('not yet')
}}`,
  Alarm: '#!/bin/sh\ncat >>"$HOME/alarms"; echo >>"$HOME/alarms"',
}

interface Reported {
  arg: {batch: BatchCounts}
}

const kinds = await databaseKinds()

for (const kind of kinds)
  describe(`batches on ${kind.name}`, {
    concurrency: 2,
    skip: kind.skip,
  }, () => {
    async function place(t: TestContext) {
      const {db, query} = await kind.create(t)
      const site = new Workplace(t, WORKERS)
      const queue = await JobQueue.open({db})
      t.after(() => queue.close())
      const run = (...words: string[]) => site.run([...words, '--db', db])
      const rows = async (sql: string) => Number(Object.values((await query(sql))[0]!)[0])
      const reported = () => site.notes<Reported>().map(({arg}) => arg)
      return {db, site, queue, query, run, rows, reported}
    }
    const pages = (...args: string[]) => args.map(arg => ({func: 'Page', arg}))

    test('the job that follows can be given another argument, if the counts have room in it', async t => {
      const {queue, run, reported} = await place(t)
      const {thenJob} = await queue.batch(pages('good'), {then: {func: 'Report', arg: {to: 'ada'}}})
      for (const arg of [[1], 'ada', Buffer.from('{')])
        await assert.rejects(
          queue.edit(thenJob!, {arg, ...(Buffer.isBuffer(arg) ? {serializer: 'none'} : {})}),
          /^ArgumentError: job \d+ follows a batch: expected an object in JSON as its argument, or none/,
        )
      const wrong = await run('edit', String(thenJob!.id), '--arg', '[1]')
      assert.equal(wrong.code, 2)
      assert.match(
        wrong.stderr,
        /^jobq: job 2 follows a batch: expected an object in JSON as its argument, or none/,
      )
      const {id: other} = await queue.enqueue('Page', {arg: 'good'})
      const some = await run('edit', String(thenJob!.id), String(other), '--arg', '[1]', '--json')
      assert.deepEqual([some.code, JSON.parse(some.stdout).length], [2, 1], 'the others are edited')
      assert.equal((await run('edit', String(thenJob!.id), '--arg', '{"to": "grace"}')).code, 0)
      await queue.cancel(other)
      await run('work', '--drain')
      assert.deepEqual(reported(), [{to: 'grace', batch: {jobs: 1, completed: 1, failed: 0, aborted: 0}}])
    })

    test('what follows goes on following when it is replaced, whatever it is given then', async t => {
      const {queue, run, reported} = await place(t)
      const last = (uniqkey: string) => ({func: 'Report', arg: {to: uniqkey}, uniqkey})
      await queue.batch(pages('good'), {then: last('then'), onFailure: last('failure')})
      for (const uniqkey of ['then', 'failure']) {
        const replaced = {uniqkey, arg: {to: 'grace'}, context: {a: 'b'}, replace: true}
        assert.ok((await queue.enqueue('Report', replaced)).isReplaced)
        await queue.enqueue('Report', {...replaced, context: undefined, keepResult: '1h'})
        await assert.rejects(
          queue.enqueue('Report', {...replaced, arg: [5]}),
          /follows a batch: expected an object/,
        )
      }
      await run('work', '--drain')
      assert.deepEqual(reported(), [{to: 'grace', batch: {jobs: 1, completed: 1, failed: 0, aborted: 0}}])
    })

    test('what follows runs when all have ended, and has how many ended how', async t => {
      const {site, queue, run, reported, rows} = await place(t)
      const batch = await queue.batch(pages('good', 'bad', 'off', 'other', 'gone'), {
        then: {func: 'Report', arg: {to: 'ada', fails: true}, priority: 9},
        onFailure: {func: 'Alarm'},
      })
      assert.equal(batch.jobs, 5)
      const first = (await queue.list({func: 'Page', limit: 9})).map(({id}) => id).sort((a, b) => a - b)
      await queue.cancel(first[4]!)
      assert.deepEqual((await queue.show(batch.thenJob!))!.batch, {
        ...{jobs: 5, completed: 0, failed: 0, aborted: 1, left: 4},
      })
      assert.match(
        (await run('show', String(batch.thenJob!.id))).stdout,
        /\nbatch +5 jobs: 1 aborted, 4 in the queue\n/,
      )
      const waiting = queue.wait(batch.thenJob!)
      const {stderr} = await run('work', '--drain')
      assert.equal((await waiting).outcome, 'completed')
      const counts = {jobs: 5, completed: 2, failed: 1, aborted: 2}
      const report = {to: 'ada', fails: true, batch: counts}
      assert.deepEqual(reported(), [report, report], stderr)
      assert.equal(await queue.count(), 0)
      assert.deepEqual(JSON.parse(readFileSync(site.path('alarms'), 'utf8')), {batch: counts})
      assert.ok((await rows('SELECT count(*) FROM jobq_batch')) > 0)
      await queue.batch([], {then: {func: 'Report'}}) // takes away what is over
      assert.equal(await rows('SELECT count(*) FROM jobq_batch'), 1)
      await run('work', '--drain')
      assert.deepEqual(reported().at(-1), {batch: {jobs: 0, completed: 0, failed: 0, aborted: 0}})
    })

    test('where all have completed, what is for failures does not run', async t => {
      const {site, queue, run, reported} = await place(t)
      const batch = await queue.batch(pages('good', 'good'), {
        then: {func: 'Report'},
        onFailure: {func: 'Alarm', tracked: true},
      })
      const {code, stderr} = await run('work', '--drain')
      assert.equal(code, 0, stderr)
      assert.deepEqual(reported(), [{batch: {jobs: 2, completed: 2, failed: 0, aborted: 0}}])
      assert.equal((await queue.wait(batch.failureJob!)).outcome, 'completed')
      assert.equal(existsSync(site.path('alarms')), false)
    })

    test('by the command line, all or none: prints the id of what follows', async t => {
      const {site, queue, run, reported} = await place(t)
      site.write('jobs', '{"func":"Page","arg":"good"}\n{"func":"Page","arg":"bad"}\n')
      site.write('wrong', '{"func":"Page"}\n{"fun":"Page"}\n')
      const refused = [
        [['enqueue', '--batch', 'wrong', '--then', 'Report'], /line 2: fun: expected one of/],
        [
          ['enqueue', '--batch', 'jobs', '--then', 'Report', '--then-arg', '[1]'],
          /--then-arg: expected an object/,
        ],
        [['enqueue', '--batch', 'jobs', '--then', 'Report', '--then-arg', '{'], /--then-arg/],
        [['enqueue', '--batch', 'jobs', '--then-arg', '{}'], /--then-arg: expected --then with it/],
        [['enqueue', '--batch', 'jobs', '--each', '--then', 'Report'], /--then: expected none with --each/],
        [['enqueue', 'Page', '--then', 'Report'], /--then: expected --batch or --args-from with it/],
      ] as const
      for (const [words, says] of refused) {
        const {code, stdout, stderr} = await run(...words)
        assert.deepEqual([code, stdout], [2, ''], words.join(' '))
        assert.match(stderr, says)
      }
      assert.equal(await queue.count(), 0)
      const {stdout, stderr} = await run(
        'enqueue',
        '--batch',
        'jobs',
        '--then',
        'Report',
        '--then-arg',
        '{"n":12345678901}',
      )
      assert.match(stdout, /^\d+\n$/, stderr)
      const shown = JSON.parse((await run('show', stdout.trim(), '--json')).stdout)
      assert.deepEqual([shown.func, shown.state, shown.batch.left], ['Report', 'waiting', 2])
      await run('work', '--drain', '--abilities', 'Page')
      assert.equal((await run('work', '--job', stdout.trim())).code, 0)
      assert.deepEqual(reported(), [
        {n: 12_345_678_901, batch: {jobs: 2, completed: 1, failed: 1, aborted: 0}},
      ])
      const tracked = await run('enqueue', '--batch', 'jobs', '--then', 'Report', '--tracked')
      await run('work', '--drain')
      assert.equal((await run('wait', tracked.stdout.trim())).code, 0, 'what follows is tracked, too')
      const lines = await run('enqueue', 'Page', '--args-from', 'jobs', '--then', 'Report', '--json')
      const {enqueued, then} = JSON.parse(lines.stdout)
      assert.deepEqual([enqueued, then.func, typeof then.id], [2, 'Report', 'number'])
    })

    test('whose workers are killed again and again ends once, and every job is counted', async t => {
      const {db, site, queue, run, query, reported} = await place(t)
      const all = Array.from({length: 61}, (_, i) => ({func: 'Slow', arg: i === 0 ? 'bad' : 'good'}))
      await queue.batch(all, {then: {func: 'Report', priority: 9}})
      for (let kills = 0; kills < 3; kills++) {
        const before = await queue.count('Slow')
        const work = site.start(['work', '--db', db, '--max-workers', '2'])
        await until('it does something', async () => (await queue.count('Slow')) < before)
        work.kill('SIGKILL')
        await work.exited
        await until('all that was killed has ended', () => site.survivors().length === 0)
        await query('UPDATE job SET grabbed_until = 0') // a minute later
      }
      assert.ok((await queue.count('Slow')) > 0, 'it was killed in the midst')
      await run('work', '--drain')
      assert.equal(await queue.count(), 0)
      assert.deepEqual(reported(), [{batch: {jobs: 61, completed: 60, failed: 1, aborted: 0}}])
    })

    test('numbers in the argument of what follows stay digit by digit, beside the counts', async t => {
      const {site, run, queue} = await place(t)
      const arg = '{"id":12345678901234567890,"price":1.10}'
      site.write('jobs', '"good"\n')
      await run('enqueue', 'Page', '--args-from', 'jobs', '--then', 'Alarm', '--then-arg', arg)
      const {code, stderr} = await run('work', '--drain')
      assert.equal(code, 0, stderr)
      assert.equal(
        readFileSync(site.path('alarms'), 'utf8'),
        `${arg.slice(0, -1)},"batch":{"jobs":1,"failed":0,"aborted":0,"completed":1}}\n`,
      )
      assert.equal(await queue.count(), 0)
    })

    test('an argument with no room for the counts is refused; one that was put there is no reason to end', async t => {
      const {site, run, queue, query, db} = await place(t)
      const deep = `{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`
      const large = {a: 'x'.repeat(2 ** 24 - 10)}
      site.write('jobs', '"good"\n')
      const refused = await run(
        'enqueue',
        'Page',
        '--args-from',
        'jobs',
        '--then',
        'Alarm',
        '--then-arg',
        deep,
      )
      assert.deepEqual([refused.code, refused.stdout], [2, ''])
      assert.match(refused.stderr, /^jobq: --then-arg: JSON can't hold it \(it is nested too deeply\)/)
      await assert.rejects(queue.batch(pages('good'), {then: {func: 'Alarm', arg: large}}), {
        code: 'BAD_ARGUMENT',
      })
      assert.equal(await queue.count(), 0)
      const {thenJob} = await queue.batch(pages('good'), {then: {func: 'Alarm'}})
      await query(`UPDATE job SET arg = '${deep}' WHERE id = ${thenJob!.id}`) // as any other program may
      const {code, stderr} = await site.run(['work', '--drain', '--db', db])
      assert.equal(code, 0, stderr)
      assert.equal(readFileSync(site.path('alarms'), 'utf8'), `${deep}\n`)
    })

    test('what is asked for wrong, or refused, stores nothing', async t => {
      const {queue} = await place(t)
      const then = {func: 'Report'}
      const wrong = [
        [{}, /expected then or onFailure, got neither/],
        [{then: {func: 'Report', arg: [1]}}, /batch: then: expected an object as its argument/],
        [{then: {func: 'Report', serializer: 'none'}}, /expected the serializer json or msgpack/],
        [{onFailur: then}, /unknown option onFailur/],
      ] as const
      for (const [options, says] of wrong)
        await assert.rejects(queue.batch(pages('good'), options as never), says)
      const twice = [1, 2].map(() => ({func: 'Page', uniqkey: 'k'}))
      await assert.rejects(queue.batch(twice, {then}), {code: 'DUPLICATE'})
      await queue.enqueue('Report', {uniqkey: 'once', delay: 60})
      await assert.rejects(queue.batch(pages('good'), {then: {...then, uniqkey: 'once'}}), {
        code: 'DUPLICATE',
      })
      assert.equal(await queue.count('Page', 'Report'), 1)
    })
  })
