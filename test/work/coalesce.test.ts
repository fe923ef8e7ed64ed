/** Jobs worked together with others of their function and key, on each kind of database. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {type EnqueueOptions, type Job, JobQueue} from '../../src/lib/index.ts'
import {openTestQueue} from '../../src/lib/testing.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const worker = (body: string, settings = 'coalesce: 20') => `import {note} from './_note.mjs'
import {existsSync} from 'node:fs'
export default {${settings}, async work(job: any) {
  note({id: job.id, others: job.others.map((other: any) => other.id), arg: job.arg, args: job.others.map((other: any) => other.arg)})
  const go = async () => { while (!existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 5)) }
  void go
  ${body}
}}`

interface Note {
  id: number
  others: number[]
  arg: unknown
  args: unknown[]
}

const runs = (site: Workplace) => site.notes<Note>().map(({id, others}) => [id, ...others])

const kinds = await databaseKinds()

for (const kind of kinds)
  describe(`jobs together on ${kind.name}`, {
    concurrency: 2,
    skip: kind.skip,
  }, () => {
    async function place(t: TestContext, workers: Record<string, string>) {
      const {db} = await kind.create(t)
      const site = new Workplace(t, workers)
      const queue = await JobQueue.open({db})
      t.after(() => queue.close())
      const enqueue = async (...jobs: EnqueueOptions[]) => {
        const ids: number[] = []
        for (const options of jobs) ids.push((await queue.enqueue('Work', options)).id)
        return ids
      }
      const drain = (...flags: string[]) => site.run(['work', '--drain', '--db', db, ...flags])
      return {site, queue, db, enqueue, drain}
    }
    const left = async (queue: JobQueue) => (await queue.list()).map(({id}) => id)

    test('of a key: those that are ready, at most so many more; each is told and gone', async t => {
      const {site, queue, enqueue, drain} = await place(t, {
        Work: worker('', 'coalesce: 3, setJobStatus: true'),
      })
      const ids = await enqueue(
        ...['a:1', 'b:1', 'a:2', 'a:3', 'a', 'a:5', 'b:2'].map((uniqkey, i) => ({uniqkey, arg: i})),
        {uniqkey: 'a:later', delay: 3600},
        {arg: 'no key'},
        {uniqkey: 'aa:1', arg: 'another key'},
      )
      const {code, stdout, stderr} = await drain()
      assert.deepEqual([code, /^9 completed in /.test(stdout)], [0, true], stderr)
      const [a1, b1, a2, a3, a4, a5, b2, later, none, aa] = ids
      assert.deepEqual(runs(site), [[a1, a2, a3, a4], [b1, b2], [a5], [none], [aa]])
      const [first] = site.notes<Note>()
      assert.deepEqual([first!.arg, first!.args], [0, [2, 3, 4]])
      assert.deepEqual(await left(queue), [later])
      assert.deepEqual(
        (await queue.statuses()).map(({jobId}) => jobId).sort((a, b) => a! - b!),
        ids.filter(id => id !== later),
      )
      assert.match(stderr, new RegExp(` ${a2} Work completed \\S+\\n`))
    })

    test('of a member of their arguments, in whatever order', async t => {
      const {site, queue, enqueue, drain} = await place(t, {
        Work: worker('', `coalesce: 9, coalesceBy: 'to'`),
        Packed: worker('', `coalesce: 9, coalesceBy: 'to', serializer: 'msgpack'`),
      })
      const [x1, y1, x2, none, x3, number, text] = await enqueue(
        ...['x', 'y', 'x'].map(to => ({arg: {to}})),
        {arg: [1]},
        {arg: {to: 'x', more: 'of it'}},
        {arg: {to: 5}},
        {arg: {to: {deep: 'x'}}},
      )
      await drain()
      assert.deepEqual(runs(site), [[x1, x2, x3], [y1], [none], [number], [text]])
      const packed = []
      for (const to of ['x', 'y', 'x'])
        packed.push((await queue.enqueue('Packed', {arg: {to}, serializer: 'msgpack'})).id)
      await drain()
      assert.deepEqual(runs(site).slice(-2), [[packed[0], packed[2]], [packed[1]]])
    })

    test("fails all of them, each by its own retries; a delay is each one's own", async t => {
      const {queue, enqueue, drain} = await place(t, {
        Work: worker(`throw new Error('no')`, 'coalesce: 9, maxRetries: 1, retryDelay: 600'),
        Asks: worker(
          `throw new Error('no')`,
          'coalesce: 9, maxRetries: 5, retryDelay: (job: any) => 1000 * job.arg',
        ),
      })
      const [tried, fresh] = await enqueue({uniqkey: 'k:1', priority: 1}, {uniqkey: 'k:2'})
      await queue.enqueue('Asks', {uniqkey: 'k:1', arg: 1})
      await queue.enqueue('Asks', {uniqkey: 'k:2', arg: 2})
      const job = (await queue.store.claim([{id: tried!}], 60)).jobs[0]!
      await queue.store.turn([{lease: job, outcome: {kind: 'failed', message: 'x', retryIn: 0}}], {
        funcs: [],
        limit: 0,
        lease: 0,
      })
      const {code, stdout} = await drain()
      assert.deepEqual([code, /^4 failed in /.test(stdout)], [5, true])
      const shown = await queue.show(tried!)
      assert.deepEqual([shown!.job, shown!.attempts.at(-1)!.isLast], [null, true])
      const {message} = shown!.attempts.at(-1)!
      assert.ok(
        message.startsWith('Error: no\n') && message.endsWith(`\n(together with job ${fresh})`),
        message,
      )
      const again = (await queue.find(fresh!))!
      assert.deepEqual([again.retryCnt, again.state], [1, 'delayed'])
      const [exception] = await queue.exceptions({func: 'Work', limit: 1})
      assert.ok(exception!.message.includes('together with job'))
      const waits = (await queue.list({func: 'Asks'})).map(
        ({runAfter, enqueueTime}) => runAfter - enqueueTime,
      )
      assert.ok(waits[0]! >= 1000 && waits[0]! < 1100 && waits[1]! >= 2000 && waits[1]! < 2100, waits.join())
    })

    test('aborts all, declines all', async t => {
      const {queue, enqueue, drain} = await place(t, {
        Work: worker(
          `if (job.uniqkey === 'k') job.abort('enough'); job.decline('1h')`,
          'coalesce: 9, maxRetries: 3',
        ),
      })
      await enqueue({uniqkey: 'k', priority: 1}, {uniqkey: 'k:1'}, {uniqkey: 'k:2'})
      const later = await enqueue({uniqkey: 'l:1'}, {uniqkey: 'l:2'})
      const {code, stdout} = await drain()
      assert.deepEqual([code, /^3 aborted, 2 declined in /.test(stdout)], [5, true])
      assert.deepEqual(
        (await queue.exceptions()).map(({message}) => message),
        ['enough', 'enough', 'enough'],
      )
      assert.deepEqual(
        (await queue.list()).map(({id, state, retryCnt}) => [id, state, retryCnt]),
        later.map(id => [id, 'delayed', 0]),
      )
    })

    test('is replaced once, the others are done; if that is refused all have failed', async t => {
      const {site, queue, enqueue, drain} = await place(t, {
        Work: worker(
          `job.replace({func: 'New', uniqkey: 'n'}, {func: 'New', uniqkey: job.arg})`,
          'coalesce: 9',
        ),
      })
      await enqueue({uniqkey: 'k:1', arg: 'm'}, {uniqkey: 'k:2', arg: 'x'}, {uniqkey: 'k:3', arg: 'x'})
      assert.match((await drain()).stdout, /^3 completed in /)
      assert.deepEqual(
        (await queue.list()).map(({func, uniqkey}) => [func, uniqkey]),
        [
          ['New', 'n'],
          ['New', 'm'],
        ],
      )
      const ids = await enqueue({uniqkey: 'k:1', arg: 'o'}, {uniqkey: 'k:2', arg: 'x'})
      const {code, stdout} = await drain()
      assert.deepEqual([code, /^2 failed in /.test(stdout)], [5, true])
      assert.deepEqual((await queue.list()).length, 2)
      for (const {message, jobId} of await queue.exceptions())
        assert.ok(ids.includes(jobId!) && message.startsWith('job.replace: refused: '), message)
      assert.equal(runs(site).length, 2)
    })

    test('cancelled: one of the others is, if the run fails; its leader stops all, and the others run again', async t => {
      const {site, queue, db, enqueue} = await place(t, {
        Work: worker(
          `if (job.arg === 'stop') await new Promise(resolve => job.signal.addEventListener('abort', resolve))
          else await go()
          if (job.arg) throw new Error(job.arg)`,
          'coalesce: 9, maxRetries: 1, retryDelay: 600',
        ),
      })
      const atOnce = async (...jobs: EnqueueOptions[]) => {
        await queue.pause(['Work'])
        const ids = await enqueue(...jobs)
        await queue.resume(['Work'])
        return ids
      }
      const work = site.start(['work', '--db', db])
      const [first, second] = await atOnce({uniqkey: 'k:1', arg: 'fail', priority: 1}, {uniqkey: 'k:2'})
      await until('it runs', () => runs(site).length === 1)
      assert.deepEqual(runs(site), [[first, second]])
      await queue.cancel(second!)
      site.write('go', '')
      await work.prints(new RegExp(` ${second} Work aborted \\S+ cancelled`))
      assert.deepEqual(await left(queue), [first])
      await queue.cancel(first!)
      const [stops, other] = await atOnce({uniqkey: 'l:1', arg: 'stop'}, {uniqkey: 'l:2'})
      await until('that runs', () => runs(site).length === 2)
      await queue.cancel(stops!)
      await work.prints(new RegExp(` ${stops} Work aborted \\S+ cancelled`))
      await work.prints(new RegExp(` ${other} Work released`))
      await work.prints(new RegExp(` ${other} Work completed`))
      assert.deepEqual(runs(site).at(-1), [other])
      assert.deepEqual(await queue.store.orders(), [])
    })

    test('dies: all run again, alone, and who is to blame fails alone', async t => {
      const {site, queue, enqueue, drain} = await place(t, {
        Work: worker(
          `if (job.arg === 'kills' || job.others.some((other: any) => other.arg === 'kills')) process.exit(3)`,
          'coalesce: 9',
        ),
      })
      const [good, bad, fine] = await enqueue(
        {uniqkey: 'k:1'},
        {uniqkey: 'k:2', arg: 'kills'},
        {uniqkey: 'k:3'},
      )
      const {code, stdout} = await drain()
      assert.deepEqual([code, /^2 completed, 1 failed, 4 died in /.test(stdout)], [5, true], stdout)
      assert.deepEqual(runs(site), [[good, bad, fine], [good], [bad], [bad], [fine]])
      assert.deepEqual(
        (await queue.exceptions()).map(({jobId}) => jobId),
        [bad],
      )
    })

    test('a killed dispatcher loses none, and none is done twice whose worker lived', async t => {
      const {site, queue, db, enqueue} = await place(t, {
        Work: worker(`if (job.arg === 'waits') await go()`, 'coalesce: 2, setJobStatus: true'),
      })
      const ids = await enqueue(
        ...['a:1', 'a:2', 'a:3'].map(uniqkey => ({uniqkey, priority: 1})),
        ...['b:1', 'b:2', 'b:3', 'b:4'].map(uniqkey => ({uniqkey, arg: 'waits'})),
      )
      const work = site.start(['work', '--db', db])
      await until('the second key runs', () => runs(site).length === 2)
      work.kill('SIGKILL')
      await work.exited
      await until('its processes are gone', () => site.survivors().length === 0)
      assert.deepEqual(await left(queue), ids.slice(3))
      const running = await queue.list({state: 'running'})
      assert.deepEqual(
        running.map(({id}) => id),
        ids.slice(3, 6),
      )
      await queue.store.renew(running, 0)
      site.write('go', '')
      const {code, stdout} = await site.run(['work', '--drain', '--db', db])
      assert.deepEqual([code, /^4 completed in /.test(stdout)], [0, true], stdout)
      const done = (await queue.statuses()).map(({jobId}) => jobId!)
      assert.deepEqual(
        done.sort((a, b) => a - b),
        ids,
      )
    })

    test('leases of all are renewed, and what is lost is theirs who have it', async t => {
      const {site, queue, db, enqueue} = await place(t, {Work: worker('await go()', 'coalesce: 9')})
      const [first, lost, last] = await enqueue({uniqkey: 'k:1'}, {uniqkey: 'k:2'}, {uniqkey: 'k:3'})
      const work = site.start(['work', '--drain', '--db', db])
      await until('it runs', () => runs(site).length === 1)
      const {grabbedUntil} = (await queue.find(lost!))!
      await queue.store.renew([{id: lost!, grabbedUntil}], 3000)
      site.write('go', '')
      const {stdout, stderr} = await work.exited
      assert.match(stdout, /^2 completed, 1 lost in /)
      assert.match(stderr, new RegExp(` ${lost} Work lost `))
      assert.deepEqual(await left(queue), [lost])
      assert.deepEqual(runs(site), [[first, lost, last]])
    })

    test('in an application, with several at once, and ahead', async t => {
      const {queue, enqueue} = await place(t, {})
      const keys = ['a', 'b', 'c', 'd']
      const all = await enqueue(
        ...Array.from({length: 40}, (_, i) => ({uniqkey: `${keys[i % 4]}:${i}`, priority: i % 3})),
      )
      const begun: number[][] = []
      const grabbed: number[] = []
      queue.on('grab', ({id}) => grabbed.push(id))
      const summary = await queue.work({
        workers: {
          Work: {
            coalesce: 5,
            work({id, others, uniqkey}: Job) {
              begun.push([id, ...others.map(({id}) => id)])
              for (const other of others) assert.equal(other.uniqkey![0], uniqkey![0])
            },
          },
        },
        concurrency: 2,
        prefetch: 3,
        mode: 'drain',
      })
      assert.partialDeepStrictEqual(summary, {taken: 40, completed: 40, released: 0, lost: 0})
      const order = (a: number, b: number) => a - b
      assert.deepEqual(begun.flat().sort(order), all)
      assert.deepEqual(grabbed.sort(order), all)
      assert.ok(begun.every(run => run.length <= 6))
      assert.ok(begun.length < 20, `${begun.length} runs`)
    })
  })

describe('coalesce', {concurrency: 2}, () => {
  const keyed = (count: number, more: EnqueueOptions = {}): [string, EnqueueOptions][] =>
    Array.from({length: count}, (_, i) => ['Work', {uniqkey: `k:${i}`, ...more}])

  test('is what the configuration says; the worker, else', async t => {
    const site = new Workplace(t, {Work: worker('', 'coalesce: 9')})
    site.write('jobq.config.json', JSON.stringify({funcs: {Work: {coalesce: 1, coalesceBy: 'n'}}}))
    await site.enqueue(['Work', {arg: {n: 1}}], ['Work', {arg: {n: 1}}], ['Work', {arg: {n: 1}}])
    assert.equal((await site.drain()).code, 0)
    assert.deepEqual(runs(site), [[1, 2], [3]])
  })

  test('a run is one job of --once, and one of a child that is worn', async t => {
    const site = new Workplace(t, {Work: worker('')})
    await site.enqueue(...keyed(3))
    assert.equal((await site.run(['work', '--once'])).code, 0)
    assert.deepEqual(runs(site), [[1, 2, 3]])
    await site.enqueue(...keyed(30))
    const {code, stdout} = await site.drain('--max-request-per-child', '1', '--max-workers', '2')
    assert.deepEqual([code, /^30 completed in /.test(stdout)], [0, true])
    assert.deepEqual(
      runs(site)
        .slice(1)
        .flat()
        .sort((a, b) => a! - b!),
      Array.from({length: 30}, (_, i) => i + 4),
    )
  })

  test('with several in one child', async t => {
    const site = new Workplace(t, {
      Work: worker('await new Promise(resolve => setTimeout(resolve, 5))', 'coalesce: 3'),
    })
    await site.enqueue(...keyed(20))
    const {code, stdout} = await site.drain('--jobs-per-child', '3', '--max-workers', '2')
    assert.deepEqual([code, /^20 completed in /.test(stdout)], [0, true])
    assert.equal(new Set(runs(site).flat()).size, 20)
    assert.equal(runs(site).length, 5)
  })

  test('--job works that one alone', async t => {
    const site = new Workplace(t, {Work: worker('')})
    await site.enqueue(...keyed(3))
    assert.equal((await site.run(['work', '--job', '2'])).code, 0)
    assert.deepEqual(runs(site), [[2]])
  })

  test('what overruns its grab_for, or is released at the end, is so with all of them', async t => {
    const site = new Workplace(t, {
      Work: worker(
        `await new Promise(resolve => job.signal.addEventListener('abort', resolve)); throw new Error('x')`,
        'coalesce: 9, grabFor: 1',
      ),
      Ends: worker(
        `console.log('begun'); await new Promise(resolve => job.signal.addEventListener('abort', resolve)); throw new Error('x')`,
      ),
    })
    await site.enqueue(...keyed(2))
    assert.match((await site.drain()).stdout, /^2 failed in /)
    for (const message of site.messages())
      assert.match(
        message,
        /^ran longer than its grab_for of 1 s and was stopped\n\(together with job [12]\)$/,
      )
    await site.enqueue(['Ends', {uniqkey: 'k:1'}], ['Ends', {uniqkey: 'k:2'}])
    const work = site.work('--shutdown-timeout', '0')
    await work.prints(/begun/)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 143)
    assert.match(work.stderr, /3 Ends released[\s\S]* 4 Ends released/)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0, 0])
  })

  test('what was taken ahead goes back with those that were to go with it', async t => {
    const site = new Workplace(t, {
      Work: worker(''),
      Long: worker(`console.log('begun'); await go()`, 'coalesce: 0'),
    })
    await site.enqueue(
      ['Long', {priority: 9}],
      ...keyed(4),
      ['Work', {uniqkey: 'l:1'}],
      ['Work', {uniqkey: 'l:2'}],
    )
    const work = site.work('--prefetch', '5')
    await work.prints(/begun/)
    const leased = () => site.column<number>('SELECT id FROM job WHERE grabbed_until > 0 ORDER BY id')
    await until('all are taken', () => leased().length === 7)
    assert.equal((await site.run(['cancel', '2'])).code, 0) // the leader of the first key
    await until('it is gone', () => site.column('SELECT id FROM job WHERE id = 2').length === 0)
    work.kill('SIGTERM')
    await until('they are back', () => leased().length === 1)
    site.write('go', '')
    await work.exited
    assert.equal((await site.drain()).code, 0)
    assert.deepEqual(runs(site), [[1], [3, 4, 5], [6, 7]])
  })

  test('executables read the others from JOBQ_OTHERS', async t => {
    const site = new Workplace(t, {
      Work: `#!/bin/sh
# jobq: coalesce=20 coalesce-by=to
cat >>first; echo >>first
cat "$JOBQ_OTHERS" >>others
while read -r job; do echo "read $job" >>lines; done <"$JOBQ_OTHERS"
`,
    })
    await site.enqueue(
      ['Work', {arg: {to: 'x'}}],
      ['Work', {arg: {to: 'x'}, uniqkey: 'ü"', priority: 0, context: {a: 'b'}}],
    )
    await site.run(['enqueue', 'Work', '--arg', '{"to": "x",\n "big": 12345678901234567890}'])
    await site.enqueue(['Work', {arg: {to: 'y'}}])
    assert.equal((await site.drain()).code, 0)
    const others = readFileSync(site.path('others'), 'utf8')
    assert.equal(
      others,
      `{"id":2,"uniqkey":"ü\\"","priority":0,"retry_cnt":0,"context":{"a":"b"},"arg":{"to":"x"}}
{"id":3,"uniqkey":null,"priority":0,"retry_cnt":0,"context":{},"arg":{"to": "x",  "big": 12345678901234567890}}
`,
    )
    assert.equal(readFileSync(site.path('first'), 'utf8'), '{"to":"x"}\n{"to":"y"}\n')
    assert.equal(readFileSync(site.path('lines'), 'utf8').split('\n').length, 3)
    await site.enqueue(['Work'])
    const plain = ['work', '--once', '--exec', 'Work=test -z "$JOBQ_OTHERS"']
    assert.equal((await site.run(plain, {env: {JOBQ_OTHERS: '/dev/fd/3'}})).code, 0)
  })

  test('what is no such setting is told before anything is taken', async t => {
    for (const [settings, says] of [
      ['coalesce: -1', /coalesce: expected a whole number from 0 to 1000, got -1/],
      ['coalesce: 1001', /coalesce: expected a whole number from 0 to 1000, got 1001/],
      ['coalesce: 1.5', /coalesce: expected a whole number/],
      [`coalesce: '5'`, /coalesce: expected a number, got "5"/],
      ['coalesceBy: 5', /coalesceBy: expected a string, got 5/],
    ] as const) {
      const site = new Workplace(t, {Work: worker('', settings)})
      const {code, stderr} = await site.run(['work', '--once', '--abilities', 'Work'])
      assert.deepEqual([code, says.test(stderr)], [2, true], stderr)
    }
    const site = new Workplace(t, {Work: '#!/bin/sh\n# jobq: coalesce=many\n'})
    assert.match(
      (await site.run(['work', '--once', '--abilities', 'Work'])).stderr,
      /coalesce: expected a whole number from 0 to 1000, got "many"/,
    )
  })
})

test("in a test's queue: one run, others end with it", async () => {
  const seen: unknown[] = []
  await using tested = await openTestQueue({
    workers: {
      Work: {
        coalesce: 2,
        maxRetries: 1,
        retryDelay: job => 10 * Number(job.arg),
        work(job) {
          seen.push([job.arg, ...job.others.map(({arg}) => arg)])
          if (job.arg === 1 && job.retryCnt === 0) throw new Error('no')
          if (job.arg === 5) job.replace({func: 'New', uniqkey: 'n'})
        },
      },
    },
  })
  const {queue, clock} = tested
  for (const arg of [1, 2, 3, 4]) await queue.enqueue('Work', {uniqkey: `k:${arg}`, arg})
  const failed = await tested.runOne()
  assert.deepEqual([failed!.outcome, failed!.retryIn, failed!.others], ['failed', 10, [2, 3]])
  assert.deepEqual(
    (await tested.jobs()).map(({id, retryCnt}) => [id, retryCnt]),
    [
      [4, 0],
      [1, 1],
      [2, 1],
      [3, 1],
    ],
  )
  assert.deepEqual((await tested.runOne())!.others, [])
  clock.advance(20)
  const alone = await tested.runJob({id: 2})
  assert.deepEqual([alone.outcome, alone.others], ['completed', []])
  await queue.enqueue('Work', {uniqkey: 'l:1', arg: 5, priority: 9})
  await queue.enqueue('Work', {uniqkey: 'l:2', arg: 6, priority: 9})
  assert.deepEqual((await tested.runOne())!.others, [6])
  assert.deepEqual(
    (await tested.jobs()).map(({func}) => func),
    ['Work', 'New', 'Work'],
  )
  assert.deepEqual(seen, [[1, 2, 3], [4], [2], [5, 6]])
})
