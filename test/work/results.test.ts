/** What workers return, kept for who asks: modules, executables and functions of an application, on each kind of database. */
import assert from 'node:assert/strict'
import {describe, type TestContext, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

interface Sums {
  Sum: (arg: number[]) => {sum: number}
  Script: (arg: number[]) => number
  Kept: undefined
  Bad: string
}

const kinds = await databaseKinds()

const SUM = 'async work({arg}) { return {sum: arg.reduce((a, b) => a + b, 0)} }'
const WORKERS = {
  Sum: `export default {${SUM}}`,
  Kept: `export default {keepResult: '1h', setJobStatus: true, work() {}}`,
  Script: '#!/bin/sh\necho $(($(tr -d "[]" | tr , +))) >"$JOBQ_RESULT"',
  Says: `#!/bin/sh
# jobq: keep-result=1h
echo '{"context":'"\${JOBQ_CONTEXT:-null}"',
"n":12345678901234567890}' >>"$JOBQ_RESULT"`,
  None: '#!/bin/sh\ntest -z "$JOBQ_RESULT"',
  Bad: `export default {maxRetries: 1, work({arg}) {
    if (arg === 'large') return 'x'.repeat(70_000)
    if (arg === 'bigint') return {n: 1n}
    return () => {}
  }}`,
  BadScript: '#!/bin/sh\ncat >"$JOBQ_RESULT"',
}

for (const kind of kinds)
  describe(`results on ${kind.name}`, {
    concurrency: 2,
    skip: kind.skip,
  }, () => {
    async function place(t: TestContext) {
      const {db, query} = await kind.create(t)
      const site = new Workplace(t, WORKERS)
      const queue = await JobQueue.open<Sums>({db})
      t.after(() => queue.close())
      const run = (...words: string[]) => site.run([...words, '--db', db])
      return {site, queue, query, db, run}
    }

    test('of modules and executables, as asked for with the job or by its worker; of others none is written', async t => {
      const {queue, query, run, db} = await place(t)
      const sum = await queue.enqueue('Sum', {arg: [1, 2], keepResult: '1h'})
      const script = await queue.enqueue('Script', {arg: [3, 4], keepResult: 90})
      const kept = await queue.enqueue('Kept')
      const says = await run('enqueue', 'Says', '--keep-result', '1h')
      const plain = await queue.enqueue('Sum', {arg: [5], tracked: true})
      const context = await JobQueue.open({db})
      t.after(() => context.close())
      const given = await context.enqueue('Says', {context: {a: 'b'}, keepResult: '1h'})
      await context.enqueue('None')
      const {code, stderr} = await run('work', '--drain', '--jobs-per-child', '2')
      assert.equal(code, 0, stderr)
      const end = (await queue.wait(sum)).result
      assert.deepEqual(end?.sum, 3)
      assert.deepEqual((await queue.wait(script)).result, 7)
      assert.equal((await queue.wait(kept)).result, null)
      assert.deepEqual(await queue.wait(plain), {id: plain.id, outcome: 'completed', message: ''})
      const shown = await queue.show(given)
      assert.deepEqual(
        [shown!.func, (shown!.result!.value as {context: unknown}).context],
        ['Says', {a: 'b'}],
      )
      const wrong = await run('wait', '--result', says.stdout.trim(), String(plain.id))
      assert.deepEqual([wrong.code, wrong.stdout], [4, '{"context":null, "n":12345678901234567890}\n'])
      assert.match(wrong.stderr, /^jobq: job 5 was completed, and no result of it is kept .*--keep-result/)
      const rows = await query('SELECT count(*) AS n FROM jobq_result')
      assert.equal(Number(rows[0]!.n), 5)
    })

    test('wait --result prints them in the order of the ids, as they were written; show tells them', async t => {
      const {queue, run} = await place(t)
      const first = await run('enqueue', 'Sum', '--arg', '[1]', '--keep-result', '1h')
      const context = await queue.enqueue('Sum', {arg: [2], keepResult: '1h', context: {a: 'b'}})
      const waiting = run('wait', '--result', String(context.id), first.stdout.trim())
      await run('work', '--drain')
      const {code, stdout, stderr} = await waiting
      assert.deepEqual([code, stdout], [0, '{"sum":2}\n{"sum":1}\n'], stderr)
      assert.match(
        (await run('show', '1')).stdout,
        /\nstate +completed\n[\s\S]*\nresult +\{"sum":1\}\nkept until /,
      )
      const document = JSON.parse((await run('show', '1', '--json')).stdout)
      assert.deepEqual([document.func, document.result], ['Sum', {sum: 1}])
      assert.equal(typeof document.result_kept_until, 'number')
      const ended = JSON.parse((await run('wait', '1', '--json')).stdout).ended
      assert.deepEqual(ended, [{id: 1, outcome: 'completed', message: '', result: {sum: 1}}])
    })

    test('of a job that is retried, where that asks for it', async t => {
      const {site, queue, query, run} = await place(t)
      const results = async () =>
        Number(Object.values((await query('SELECT count(*) FROM jobq_result'))[0]!)[0])
      site.worker('Once', `export default {work() { throw new Error('not yet') }}`)
      for (let i = 0; i < 3; i++) await run('enqueue', 'Once', '--keep-result', '1h')
      assert.equal((await run('work', '--drain')).code, 5)
      site.worker('Once', 'export default {work: () => ({n: 1})}')
      const plain = await run('retry', '--job', '1')
      const kept = await run('retry', '--job', '2', '--keep-result', '1h')
      const [exception] = await queue.exceptions({unretried: true})
      const tracked = await queue.retry(exception!.id, {tracked: true})
      const refused = await run('retry', '--job', '2', '--keep-result', 'x')
      assert.equal(refused.code, 2)
      assert.match(refused.stderr, /^jobq: --keep-result: expected /)
      await assert.rejects(queue.retry(1, {keepResult: -1}), /retry: keepResult: expected/)
      assert.equal((await run('work', '--drain')).code, 0)
      const end = await run('wait', '--result', kept.stdout.trim())
      assert.deepEqual([end.code, end.stdout], [0, '{"n":1}\n'], end.stderr)
      assert.deepEqual(await queue.wait(tracked), {id: tracked.id, outcome: 'completed', message: ''})
      assert.match(plain.stdout, /^\d+\n$/)
      assert.equal(await results(), 1)
    })

    test('of what is retried behind a job, as of that', async t => {
      const {site, queue, run} = await place(t)
      site.worker('Once', `export default {work() { throw new Error('not yet') }}`)
      await run('enqueue', 'Once')
      await run('enqueue', 'Once', '--after', '1')
      await until('both have failed', async () => {
        await run('work', '--drain')
        return (await queue.exceptions({unretried: true})).length === 2
      })
      site.worker('Once', 'export default {work: () => ({n: 1})}')
      const ids = (await run('retry', '--job', '1', '--keep-result', '1h')).stdout.trim().split('\n')
      await run('work', '--drain')
      const {code, stdout} = await run('wait', '--result', ...ids)
      assert.deepEqual([ids.length, code, stdout], [2, 0, '{"n":1}\n{"n":1}\n'])
    })

    test('what is too large, or no JSON, is a failure of the job, with its retries', async t => {
      const {site, queue, run, db} = await place(t)
      for (const arg of ['large', 'bigint', 'function']) await queue.enqueue('Bad', {arg, keepResult: '1h'})
      const scripts = await JobQueue.open({db})
      t.after(() => scripts.close())
      for (const arg of [`"${'x'.repeat(70_000)}"`, 'no json'])
        await scripts.enqueue('BadScript', {arg, serializer: 'none', keepResult: '1h'})
      await queue.enqueue('Bad', {arg: 'large'}) // nobody keeps that
      const waiting = run('wait', '--result', '1', '4')
      const {code} = await run('work', '--drain')
      assert.equal(code, 5)
      const messages = (await queue.exceptions({limit: 20})).map(({jobId, message}) => `${jobId} ${message}`)
      for (const [job, says] of [
        [1, 'expected at most 65536 bytes of JSON, got 70002'],
        [2, 'expected what JSON holds, got \\{ n: 1n \\}'],
        [3, 'expected what JSON holds, got \\[Function'],
        [4, 'expected at most 65536 bytes of JSON, got 70002'],
        [5, 'expected JSON in JOBQ_RESULT, got "no json"'],
      ] as const)
        assert.equal(
          messages.filter(text => new RegExp(`^${job} result: ${says}`).test(text)).length,
          job < 4 ? 2 : 1,
          messages.join('\n'),
        )
      assert.equal(messages.length, 8)
      const {stdout, stderr, code: failed} = await waiting
      assert.deepEqual([failed, stdout], [5, ''])
      assert.match(stderr, /^jobq: job 1 failed: result: expected at most 65536 bytes/)
      assert.equal(site.survivors().length, 0)
    })

    test('of functions of an application, and of a job that is worked with others', async t => {
      const {queue} = await place(t)
      const both = [1, 2, 3].map(n =>
        queue.enqueue('Sum', {arg: [n], uniqkey: `k:${n}`, ...(n > 1 ? {keepResult: '1h'} : {})}),
      )
      const [one, two] = await Promise.all(both)
      const work = {coalesce: 5, work: async () => ({sum: 42})}
      await queue.work({workers: {Sum: work}, mode: 'drain'})
      assert.deepEqual((await queue.wait(two!)).result, {sum: 42})
      await assert.rejects(queue.wait(one!), {code: 'NOT_FOUND'})
      const again = await queue.enqueue('Sum', {arg: [1], keepResult: '1h'})
      await queue.work({workers: {Sum: ({arg}) => ({sum: arg[0]!})}, mode: 'once'})
      const ends = await Promise.all([queue.wait(again), queue.wait(again.id)])
      assert.deepEqual(
        ends.map(({result}) => result),
        [{sum: 1}, {sum: 1}],
      )
    })

    test('is taken away by whoever works when its time is over', async t => {
      const {queue, query, run, site, db} = await place(t)
      await queue.enqueue('Sum', {arg: [1], keepResult: '1h'})
      await run('work', '--drain')
      await query('UPDATE jobq_result SET kept_until = 1')
      assert.equal(await queue.show(1), null)
      const work = site.start(['work', '--db', db])
      await until('it is gone', async () => (await query('SELECT job_id FROM jobq_result')).length === 0)
      work.kill('SIGTERM')
      assert.equal((await work.exited).code, 0)
    })
  })
