/** A module's job, from its grab to its last row: Qudo's table, line by line. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {createInterface} from 'node:readline'
import {describe, test} from 'node:test'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

/** A worker of the given settings and body; `note` and `sleep` are at hand. */
function worker(body: string, settings = ''): string {
  return `import {defineWorker, type Job} from 'jobq'
import {setTimeout as sleep} from 'node:timers/promises'
import {note} from './_note.mjs'
void sleep, note
export default defineWorker({${settings ? `${settings},` : ''} async work(job: Job<any>) {${body}}})
`
}

interface Status {
  status: string
  uniqkey: string | null
  job_start_time: number
  job_end_time: number
}

const statuses = (site: Workplace) => site.rows<Status>('SELECT * FROM job_status ORDER BY id')

/** Resident, in MB; 0 where the system does not tell. */
function memoryOf(pid: number): number {
  try {
    return (Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * 4096) / 2 ** 20
  } catch {
    return 0
  }
}

test('what a job leaves running in a session of its own keeps no jobq from its end', async t => {
  const site = new Workplace(t, {
    Leaves: worker(`const {spawn} = await import('node:child_process')
      spawn('sleep', ['600'], {detached: true, stdio: 'inherit'}).unref()`),
  })
  const running = () => site.survivors().map(pid => process.kill(pid, 'SIGKILL'))
  t.after(running)
  for (const flags of [[], ['--jobs-per-child', '2']]) {
    await site.enqueue(['Leaves'])
    const {code} = await site.drain(...flags) // which gives up waiting for it long before the ten minutes
    assert.deepEqual([code, running().length], [0, 1])
  }
})

describe('what work did', {concurrency: 2}, () => {
  test('resolved: completed, the row is deleted, a status only if the worker sets one', async t => {
    const site = new Workplace(t, {
      Told: worker(`note({arg: job.arg})`, 'setJobStatus: true'),
      Quiet: worker(`note({arg: job.arg})`),
    })
    await site.enqueue(['Told', {arg: {n: 1}, uniqkey: 'one'}], ['Quiet', {arg: [2]}])
    const {code} = await site.drain()
    assert.equal(code, 0)
    assert.deepEqual(
      site.notes().map(({arg}) => arg),
      [{n: 1}, [2]],
    )
    assert.equal(site.count('job'), 0)
    assert.equal(site.count('exception_log'), 0)
    const [status, ...more] = statuses(site)
    assert.equal(more.length, 0)
    assert.equal(status!.status, 'completed')
    assert.equal(status!.uniqkey, 'one')
    assert.ok(status!.job_start_time <= status!.job_end_time)
  })

  test('threw without a retry left: deleted, an exception with its message and place, status failed', async t => {
    const site = new Workplace(t, {Boom: worker(`throw new Error('no such photo')`, 'setJobStatus: true')})
    await site.enqueue(['Boom', {arg: {photo: 9}, uniqkey: 'photo:9'}])
    const {code, stderr} = await site.drain()
    assert.equal(code, 5)
    assert.match(stderr, /^\S+ 1 Boom failed \S+ Error: no such photo$/m)
    const [exception] = site.exceptions()
    assert.match(exception!.message, /^Error: no such photo\n\s+at .*workers\/Boom\.mjs/)
    assert.doesNotMatch(exception!.message, /node:|lib\/work/)
    assert.deepEqual([exception!.uniqkey, exception!.arg, exception!.retried], ['photo:9', '{"photo":9}', 0])
    assert.deepEqual(
      statuses(site).map(({status}) => status),
      ['failed'],
    )
    assert.equal(site.count('job'), 0)
  })

  test('threw with retries left: each attempt costs one and leaves an exception and a status', async t => {
    const site = new Workplace(t, {
      Never: worker(
        `note({retryCnt: job.retryCnt}); throw new Error('no')`,
        'maxRetries: 2, setJobStatus: true',
      ),
      Third: worker(`if (job.retryCnt < 2) throw new Error('not yet')`, 'maxRetries: 5, setJobStatus: true'),
    })
    await site.enqueue(['Never'])
    assert.equal((await site.drain()).code, 5)
    assert.deepEqual(
      site.notes().map(({retryCnt}) => retryCnt),
      [0, 1, 2],
    )
    assert.equal(site.count('exception_log'), 3)
    assert.deepEqual(
      statuses(site).map(({status}) => status),
      ['failed', 'failed', 'failed'],
    )
    await site.enqueue(['Third'])
    const {code, stdout} = await site.drain()
    assert.equal(code, 0, 'a job that completes in the end has not failed')
    assert.match(stdout, /1 completed, 2 failed/)
    assert.equal(site.count('job'), 0)
    assert.equal(site.count('exception_log'), 5)
  })

  test('a retry is due after retryDelay: seconds, or a function of the job', async t => {
    const site = new Workplace(t, {
      Fixed: worker(`throw new Error('later')`, 'maxRetries: 1, retryDelay: 100'),
      Asked: worker(
        `throw new Error('later')`,
        'maxRetries: 9, retryDelay: job => 1000 * (job.retryCnt + 1) + (job.arg as any).extra',
      ),
    })
    await site.enqueue(['Fixed'], ['Asked', {arg: {extra: 7}}])
    const {code, stdout, stderr} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /2 failed/)
    assert.match(stderr, /Fixed failed \S+ Error: later \(again in 100 s\)/)
    const wait = `SELECT run_after - (SELECT exception_time FROM exception_log e WHERE e.func_id = job.func_id
      ORDER BY id DESC LIMIT 1) AS wait, grabbed_until, retry_cnt FROM job ORDER BY id`
    assert.deepEqual(site.rows(wait), [
      {wait: 100, grabbed_until: 0, retry_cnt: 1},
      {wait: 1007, grabbed_until: 0, retry_cnt: 1},
    ])
    site.rows('UPDATE job SET run_after = 0')
    await site.drain()
    assert.deepEqual(site.rows(wait), [{wait: 2007, grabbed_until: 0, retry_cnt: 2}])
    assert.equal(site.count('exception_log'), 4)
  })

  test('a retryDelay that throws or is no number takes no retries away, and is told', async t => {
    const site = new Workplace(t, {
      Throws: worker(`throw new Error('first')`, `maxRetries: 3, retryDelay() { throw new Error('second') }`),
      Strange: worker(`throw new Error('first')`, `maxRetries: 3, retryDelay: () => NaN`),
      Later: worker('await 0', `maxRetries: 3, async retryDelay() { throw new Error('second') }`),
    })
    await site.enqueue(['Throws'], ['Strange'], ['Later'])
    assert.equal((await site.drain()).code, 5)
    const [throws, strange] = site.messages()
    assert.match(throws!, /Error: first[\s\S]*Error: second/)
    assert.match(strange!, /Error: first[\s\S]*retryDelay: expected seconds from 0/)
    const again = site.rows(`SELECT retry_cnt, run_after - exception_time BETWEEN 10 AND 12 AS isSoon
      FROM job JOIN exception_log USING (func_id)`)
    assert.deepEqual(again, [
      {retry_cnt: 1, isSoon: 1},
      {retry_cnt: 1, isSoon: 1},
    ])
  })

  test('a replacement that is refused is a failure; the log says when the job is due again', async t => {
    const site = new Workplace(t, {
      Split: worker(`job.replace({func: 'Taken', uniqkey: 'k'})`, 'maxRetries: 1, retryDelay: 7'),
    })
    await site.enqueue(['Taken', {uniqkey: 'k'}], ['Split'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 5)
    assert.match(stderr, /2 Split failed \S+ job\.replace: refused: .* \(again in 7 s\)$/m)
  })

  test('abort: gone whatever retries are left, also when work swallows it', async t => {
    const site = new Workplace(t, {
      Plain: worker(
        `job.abort('no such device'); note({reached: true})`,
        'maxRetries: 9, setJobStatus: true',
      ),
      Swallowed: worker(`try { job.abort('gone') } catch {}`, 'maxRetries: 9, setJobStatus: true'),
      Replaced: worker(`try { job.abort('gone too') } catch { throw new Error('another') }`, 'maxRetries: 9'),
    })
    await site.enqueue(['Plain', {uniqkey: 'k'}], ['Swallowed'], ['Replaced'])
    const {code, stdout, stderr} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^3 aborted/m)
    assert.match(stderr, /1 Plain aborted \S+ no such device$/m)
    assert.deepEqual(site.notes(), [])
    assert.deepEqual(site.messages(), ['no such device', 'gone', 'gone too'])
    assert.deepEqual(
      statuses(site).map(({status}) => status),
      ['abort', 'abort'],
    )
    assert.equal(site.count('job'), 0)
  })

  test('replace: the new jobs take its place, and may take its key', async t => {
    const site = new Workplace(t, {
      Split: worker(
        `job.replace({func: 'Part', arg: {n: 1}, uniqkey: 'whole', priority: 7})
         job.replace({func: 'Split', arg: {n: 2}, uniqkey: 'whole', delay: 500})`,
        'setJobStatus: true',
      ),
    })
    await site.enqueue(['Split', {uniqkey: 'whole'}])
    const {code, stderr} = await site.run(['work', '--once'])
    assert.equal(code, 0)
    assert.match(stderr, /1 Split replaced \S+ by 2$/m)
    assert.deepEqual(
      site.rows(`SELECT name, CAST(arg AS TEXT) AS arg, uniqkey, priority, run_after - enqueue_time AS delay
        FROM job JOIN func ON func.id = func_id ORDER BY job.id`),
      [
        {name: 'Part', arg: '{"n":1}', uniqkey: 'whole', priority: 7, delay: 0},
        {name: 'Split', arg: '{"n":2}', uniqkey: 'whole', priority: 0, delay: 500},
      ],
    )
    assert.deepEqual(
      statuses(site).map(({status}) => status),
      ['completed'],
    )
    assert.equal(site.count('exception_log'), 0)
  })

  test('replace, but refused: the job has failed, and none of the new ones is stored', async t => {
    const site = new Workplace(t, {
      Taken: worker(
        `job.replace({func: 'Other', arg: 1}, {func: 'New', arg: 2}, {func: 'Other', uniqkey: 'held'})`,
        'setJobStatus: true',
      ),
      Bad: worker(`job.replace({func: 'Other', priority: -1})`, 'maxRetries: 1, retryDelay: 60'),
      Thrown: worker(`job.replace({func: 'Other'}); throw new Error('on second thoughts')`),
    })
    await site.enqueue(['Other', {uniqkey: 'held'}], ['Taken'], ['Bad'], ['Thrown'])
    const {code, stdout} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^3 failed/m)
    assert.deepEqual(
      site.rows('SELECT name, uniqkey, retry_cnt FROM job JOIN func ON func.id = func_id ORDER BY job.id'),
      [
        {name: 'Other', uniqkey: 'held', retry_cnt: 0},
        {name: 'Bad', uniqkey: null, retry_cnt: 1},
      ],
    )
    const [taken, bad, thrown] = site.messages()
    assert.match(taken!, /^job\.replace: refused: a job of Other with uniqkey "held" is already waiting/)
    assert.match(bad!, /priority: expected a whole number/)
    assert.match(thrown!, /on second thoughts/)
    assert.deepEqual(
      statuses(site).map(({status}) => status),
      ['failed'],
    )
  })

  test('the configuration has the last word on retries, grabFor and status', async t => {
    const site = new Workplace(t, {
      Boom: worker(`throw new Error('no')`, 'maxRetries: 9, setJobStatus: false'),
    })
    site.write(
      'jobq.config.json',
      JSON.stringify({funcs: {Boom: {maxRetries: 1, retryDelay: '2m', setJobStatus: true}}}),
    )
    await site.enqueue(['Boom'])
    await site.drain()
    assert.deepEqual(site.rows('SELECT retry_cnt, run_after - enqueue_time >= 120 AS late FROM job'), [
      {retry_cnt: 1, late: 1},
    ])
    assert.equal(statuses(site).length, 1)
  })
})

describe('what a worker throws', {concurrency: 2}, () => {
  test('anything at all is a failed job with a message, and harms no one else', async t => {
    const thrown = {
      text: `throw 'just text'`,
      nothing: `throw undefined`,
      nul: `throw null`,
      object: `throw {code: 17}`,
      bigint: `throw 10n`,
      symbol: `throw Symbol('s')`,
      circular: `const a: any = {}; a.a = a; throw a`,
      hostile: `throw {toJSON() { throw new Error('no JSON') }}`,
      caused: `throw new Error('outer', {cause: new TypeError('inner')})`,
      selfCaused: `const e: any = new Error('mine'); e.cause = e; throw e`,
      stackless: `const e: any = new Error('kept'); e.stack = undefined; throw e`,
      oddStack: `const e: any = new Error('odd'); e.stack = 7; throw e`,
      getter: `throw Object.defineProperty(new Error('x'), 'stack', {get() { throw new Error('trap') }})`,
      ourFolder: `throw new Error("can't read /var/lib/work/photo.jpg (node:internal)")`,
      empty: `throw new Error()`,
      newline: `throw new Error('two\\nlines')`,
      nulByte: `throw new Error('a\\0b')`,
      rejected: `await Promise.reject(new RangeError('awaited'))`,
    }
    const cases = Object.entries(thrown).map(([name, body]) => `case '${name}': { ${body} }`)
    const site = new Workplace(t, {Throw: worker(`switch (job.arg) { ${cases.join('\n')} }`)})
    await site.enqueue(...Object.keys(thrown).map(arg => ['Throw', {arg}] as [string, object]), ['Throw'])
    const {code, stdout, stderr} = await site.drain('--debug')
    assert.equal(code, 5)
    assert.match(stdout, new RegExp(`^1 completed, ${cases.length} failed`, 'm'))
    const messages = Object.fromEntries(
      site.exceptions().map(({arg, message}) => [JSON.parse(arg!), message]),
    )
    const expected = {
      text: /just text/,
      nothing: /threw/,
      nul: /null/,
      object: /17/,
      bigint: /10/,
      symbol: /Symbol\(s\)/,
      circular: /./,
      hostile: /./,
      caused: /Error: outer[\s\S]*caused by: TypeError: inner/,
      selfCaused: /Error: mine/,
      stackless: /kept/,
      oddStack: /odd/,
      getter: /./,
      ourFolder: /^Error: can't read \/var\/lib\/work\/photo\.jpg \(node:internal\)/,
      empty: /^Error/,
      newline: /^Error: two\nlines/,
      nulByte: /a\0b/,
      rejected: /^RangeError: awaited/,
    } satisfies Record<keyof typeof thrown, RegExp>
    for (const [name, pattern] of Object.entries(expected)) assert.match(messages[name] ?? '', pattern, name)
    assert.equal(stderr.match(/child \d+ starts/g)?.length, 1, 'none of this costs a child')
  })

  test('a rejected promise that nobody awaits is a failure of its job', async t => {
    const site = new Workplace(t, {
      During: worker(
        `Promise.reject(new Error('lost one')); await sleep(60_000)`,
        'maxRetries: 1, retryDelay: 50',
      ),
      AtTheEnd: worker(`Promise.reject(new Error('lost two'))`),
      NoError: worker(`Promise.reject('just text'); await sleep(60_000)`),
      Next: worker(`note({func: job.func})`),
    })
    await site.enqueue(['During'], ['AtTheEnd'], ['NoError'], ['Next'])
    const {code, stdout} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^1 completed, 3 failed/m)
    const [during, atTheEnd, noError] = site.messages()
    assert.match(during!, /^Error: lost one\n\s+at /)
    assert.match(atTheEnd!, /^Error: lost two\n\s+at /)
    assert.match(noError!, /just text/)
    assert.deepEqual(
      site.notes().map(({func}) => func),
      ['Next'],
    )
    assert.deepEqual(site.rows('SELECT retry_cnt FROM job'), [{retry_cnt: 1}])
  })

  test('an exception in a timer: the job has failed, its child is replaced, the next job is served', async t => {
    const site = new Workplace(t, {
      Timer: worker(
        `setTimeout(() => { throw new TypeError('in a timer') }, 1); await sleep(60_000)`,
        'setJobStatus: true, maxRetries: 2, retryDelay: () => 70',
      ),
      Next: worker(`note({pid: process.pid})`),
    })
    await site.enqueue(['Timer'], ['Next'])
    const {code, stderr} = await site.drain('--debug')
    assert.equal(code, 5)
    assert.match(stderr, /1 Timer failed \S+ TypeError: in a timer \(again in 70 s\)/)
    assert.equal(stderr.match(/child \d+ starts/g)?.length, 2)
    assert.match(site.messages()[0]!, /^TypeError: in a timer\n\s+at .*Timer\.mjs/)
    assert.equal(site.notes().length, 1)
    assert.deepEqual(site.rows('SELECT retry_cnt FROM job'), [{retry_cnt: 1}])
    assert.deepEqual(
      statuses(site).map(({status}) => status),
      ['failed'],
    )
  })

  test('an abort in a timer, or in a promise that nobody awaits, is an abort', async t => {
    const site = new Workplace(t, {
      Timer: worker(`setTimeout(() => job.abort('in a timer'), 1); await sleep(60_000)`, 'maxRetries: 1'),
      Promised: worker(
        `void (async () => job.abort('in a promise'))(); await sleep(60_000)`,
        'maxRetries: 1',
      ),
    })
    await site.enqueue(['Timer'], ['Promised'])
    const {code, stdout} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^2 aborted/)
    assert.deepEqual(site.messages(), ['in a timer', 'in a promise'])
    assert.equal(site.count('job'), 0)
  })

  test('a timer that goes off when its job is long done ends its child, and no job is lost', async t => {
    const site = new Workplace(t, {
      Late: worker(`setTimeout(() => { throw new Error('too late') }, 20)`),
      Next: worker(`note({func: job.func})`),
    })
    await site.enqueue(['Late'])
    const work = site.work('--debug')
    await work.prints(/1 Late completed/)
    await work.prints(/child \d+ is gone/)
    await site.enqueue(['Next'])
    await work.prints(/2 Next completed/)
    assert.match(work.stderr, /too late/)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('what a worker says to its parent process is nobody’s business', async t => {
    const site = new Workplace(t, {
      Talks: worker(`
        process.send?.(null)
        process.send?.('hello')
        process.send?.({kind: 'ended'})
        process.send?.({kind: 'ended', outcome: {kind: 'nonsense'}, rss: 0})
        await sleep(5)
        note({done: true})
      `),
    })
    await site.enqueue(['Talks'], ['Talks'])
    const {code, stdout} = await site.drain()
    assert.match(stdout, /^2 completed/m)
    assert.equal(code, 0)
    assert.equal(site.notes().length, 2)
  })
})

describe('what a job prints', {concurrency: 2}, () => {
  test('stands in the log in whole lines, under its own name, before its end', async t => {
    const site = new Workplace(t, {
      Says: worker(`
        console.log('line one of ' + job.id)
        console.error('on stderr of ' + job.id)
        process.stdout.write('no newline of ' + job.id)
      `),
    })
    await site.enqueue(...Array.from({length: 20}, () => ['Says'] as [string]))
    const {stderr} = await site.drain()
    for (let id = 1; id <= 20; id++) {
      for (const what of ['line one of', 'on stderr of', 'no newline of'])
        assert.match(stderr, new RegExp(`^\\S+ ${id} Says \\| ${what} ${id}$`, 'm'))
    }
  })

  test('says nothing to the terminal, and forges no line', async t => {
    const site = new Workplace(t, {
      Forges: worker(`console.log('a\\tb\\r2026 7 Forges completed\\u001b[2J\\u009b1m\\u007f\\0')`),
    })
    await site.enqueue(['Forges'])
    const {stderr} = await site.drain()
    assert.match(
      stderr,
      /^\S+ 1 Forges \| a\tb\\r2026 7 Forges completed\\u001b\[2J\\u009b1m\\u007f\\u0000$/m,
    )
  })

  test('100 MB of it: whole lines, nothing blocked, flat memory', async t => {
    const site = new Workplace(t, {
      Floods: worker(`
        const line = 'x'.repeat(1023) + '\\n'
        const write = (text: string) => new Promise(done => process.stdout.write(text, done))
        for (let i = 0; i < 100; i++) await write(line.repeat(1024))
      `),
      Next: worker(''),
    })
    await site.enqueue(['Floods', {priority: 1}], ['Next'])
    const work = site.work('--drain', '--max-workers', '2')
    const lines = {whole: 0, other: 0, ends: [] as string[]}
    let peak = 0
    const reader = createInterface(work.child.stderr!)
    reader.on('line', line => {
      if (/ Floods \| x{1023}$/.test(line)) lines.whole++
      else if (/ completed /.test(line)) lines.ends.push(line.split(' ')[2]!)
      else lines.other++
      if (lines.whole % 10_240 === 0) peak = Math.max(peak, memoryOf(work.pid))
    })
    assert.equal((await work.exited).code, 0)
    assert.deepEqual(lines, {whole: 102_400, other: 0, ends: ['Next', 'Floods']})
    assert.ok(peak < 250, `the dispatcher grew to ${peak} MB`)
  })

  test('a log that no one reads: lines are dropped and counted, jobs go on, memory is flat', async t => {
    const site = new Workplace(t, {
      Floods: worker(`
        const line = 'x'.repeat(1023) + '\\n'
        const write = (text: string) => new Promise(done => process.stdout.write(text, done))
        for (let i = 0; i < 60; i++) await write(line.repeat(1024))
      `),
    })
    await site.enqueue(['Floods'], ['Floods'])
    for (const json of [[], ['--json']]) {
      const work = site.work('--max-jobs', '1', ...json)
      work.child[json.length > 0 ? 'stdout' : 'stderr']!.pause()
      await until('the job has left the queue', () => site.count('job') === (json.length > 0 ? 0 : 1))
      assert.ok(memoryOf(work.pid) < 250)
      work.child.stdout!.resume()
      work.child.stderr!.resume()
      const {code, stdout, stderr} = await work.exited
      assert.equal(code, 0)
      const lines = (json.length > 0 ? stdout : stderr).trim().split('\n')
      const [dropped] = lines.flatMap(line => /(\d+) lines of log were dropped/.exec(line)?.[1] ?? [])
      assert.ok(Number(dropped) > 0)
      assert.ok(lines.length + Number(dropped) >= 60 * 1024, `${lines.length} and ${dropped}`)
      if (json.length > 0) for (const line of lines) JSON.parse(line)
    }
  })

  for (const [what, lost, does] of [
    ['closes standard output', 'stdout is', 'closeSync(1)'],
    ['closes both', 'stdout and stderr are', 'closeSync(1); closeSync(2)'],
    ['puts a file in the place of standard error', 'stderr is', `closeSync(2); openSync('own', 'w')`],
  ] as const)
    test(`of one that ${what}: its process is replaced, and the next job's is in the log`, async t => {
      const site = new Workplace(t, {
        Loses: worker(`const {closeSync, openSync} = await import('node:fs'); void openSync; ${does}`),
        Says: worker(`console.log('out'); console.error('err')`),
      })
      await site.enqueue(['Says'], ['Loses'], ['Says'])
      const {code, stderr} = await site.drain()
      assert.equal(code, 0, stderr)
      for (const id of [1, 3])
        for (const line of ['out', 'err']) assert.ok(stderr.includes(`${id} Says | ${line}\n`), stderr)
      const told = `jobq: after job 2 of Loses ${lost} closed, or another file; what became of the job stands, its process is replaced\n`
      assert.equal(stderr.split(told).length, 2, stderr)
    })
})
