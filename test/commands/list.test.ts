import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import {stripVTControlCharacters} from 'node:util'
import {jobqIn, RUN_JS} from '../support/jobq.ts'
import {now, openDatabase, seedException, seedJob, seedStatus} from '../support/seed.ts'

type T = Parameters<typeof jobqIn>[0]

/** jobq with a database that it has made. */
async function prepared(t: T) {
  const jobq = jobqIn(t)
  assert.equal((await jobq(['init'])).code, 0)
  return {jobq, db: openDatabase(t, jobq.db)}
}

function fields(stdout: string): string[][] {
  return stdout === ''
    ? []
    : stdout
        .replace(/\n$/, '')
        .split('\n')
        .map(line => line.split('\t'))
}

function ids(stdout: string): number[] {
  return fields(stdout).map(([id]) => Number(id))
}

function exceptionIds(stdout: string): number[] {
  return fields(stdout).map(([, id]) => Number(id))
}

describe('list: waiting jobs', () => {
  test('come as they would be worked: running, ready by priority, delayed by time', async t => {
    const {jobq, db} = await prepared(t)
    const later = seedJob(db, {run_after: now() + 7200, priority: 9})
    const soon = seedJob(db, {run_after: now() + 3600})
    const low = seedJob(db, {run_after: now() - 50})
    const high = seedJob(db, {func: 'Other', priority: 3, run_after: now() - 10})
    const highOlder = seedJob(db, {priority: 3, run_after: now() - 20})
    const running = seedJob(db, {grabbed_until: now() + 60})
    const leaseEnded = seedJob(db, {grabbed_until: now() - 1, priority: 4})

    const all = await jobq(['list'])
    assert.equal(all.stderr, '')
    assert.equal(all.code, 0)
    assert.deepEqual(ids(all.stdout), [running, leaseEnded, highOlder, high, low, soon, later])

    for (const [state, expected] of [
      ['ready', [leaseEnded, highOlder, high, low]],
      ['delayed', [soon, later]],
      ['running', [running]],
    ] as const)
      assert.deepEqual(ids((await jobq(['list', '--state', state])).stdout), expected)
    assert.deepEqual(ids((await jobq(['list', '--limit', '2', '--offset', '3'])).stdout), [high, low])
    assert.deepEqual(ids((await jobq(['list', '--func', 'Other'])).stdout), [high])
  })

  test('are lines of the promised fields, with nothing that breaks a line', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db, {
      func: 'A\tB',
      arg: 'a\tb\nc\\d\x1b[31m',
      uniqkey: 'k\n1',
      priority: 2,
      retry_cnt: 1,
      run_after: 1000,
    })
    seedJob(db, {arg: '{\n\t"a": "x\\ty\\\\"\r\n}', run_after: 1000})
    seedJob(db, {arg: Buffer.from([0x82, 0x00, 0x61, 0xff]), run_after: 1000})
    seedJob(db, {run_after: 1000})
    const {stdout} = await jobq(['list'])
    assert.deepEqual(fields(stdout), [
      ['1', 'A\\tB', 'ready', '2', '1000', '1', 'k\\n1', 'a\\tb\\nc\\\\d\\x1b[31m'],
      ['2', 'Notify', 'ready', '0', '1000', '0', '\\N', '{ "a": "x\\ty\\\\" }'],
      ['3', 'Notify', 'ready', '0', '1000', '0', '\\N', '\\x82\\x00a\\xff'],
      ['4', 'Notify', 'ready', '0', '1000', '0', '\\N', '\\N'],
    ])
    assert.deepEqual(JSON.parse(fields(stdout)[1]![7]!), {a: 'x\ty\\'}, 'JSON is still the same JSON')
  })

  test('--uniqkey finds the one that waits', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db, {uniqkey: 'a'})
    const b = seedJob(db, {uniqkey: 'b'})
    const other = seedJob(db, {func: 'Other', uniqkey: 'b', run_after: now() + 60})
    assert.deepEqual(ids((await jobq(['list', '--uniqkey', 'b'])).stdout), [b, other])
    assert.deepEqual(ids((await jobq(['list', '--uniqkey', 'b', '--state', 'ready'])).stdout), [b])
    assert.deepEqual(ids((await jobq(['list', '--uniqkey', 'none'])).stdout), [])
  })
})

describe('list --json', () => {
  test('has the columns by their own names, func and state', async t => {
    const {jobq, db} = await prepared(t)
    const at = now() - 100
    seedJob(db, {arg: '{"to":"ada"}', uniqkey: 'k', run_after: at, priority: 7, retry_cnt: 2})
    const {stdout, stderr} = await jobq(['list', '--json'])
    assert.equal(stderr, '')
    const [row, ...more] = JSON.parse(stdout)
    assert.deepEqual(more, [])
    assert.ok(row.enqueue_time <= now() && row.enqueue_time > at)
    assert.deepEqual(
      {...row, enqueue_time: 0},
      {
        id: 1,
        func_id: 1,
        func: 'Notify',
        arg: {to: 'ada'},
        uniqkey: 'k',
        enqueue_time: 0,
        grabbed_until: 0,
        run_after: at,
        retry_cnt: 2,
        priority: 7,
        state: 'ready',
        tags: {},
        expires_at: null,
      },
    )
  })

  test('an argument is JSON in its own text, else a string, else base64', async t => {
    const {jobq, db} = await prepared(t)
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    const args = [
      '12345678901234567890',
      '{"b":1.0,"a":1e400, "a":-0}',
      deep,
      'null',
      '"text"',
      'hello',
      '',
      '\ufeff{}',
    ]
    for (const arg of args) seedJob(db, {arg, run_after: 1000})
    seedJob(db, {arg: Buffer.from('{"as":"a blob"}'), run_after: 1000})
    seedJob(db, {arg: Buffer.from([0x82, 0xa1]), run_after: 1000})
    seedJob(db, {arg: Buffer.from('a\0b'), run_after: 1000})
    seedJob(db, {run_after: 1000})
    const {stdout} = await jobq(['list', '--json'])
    for (const text of args.slice(0, 5)) assert.ok(stdout.includes(`"arg":${text},"uniqkey"`))
    const shown = (JSON.parse(stdout) as {arg: unknown}[]).map(({arg}) => arg)
    assert.deepEqual(shown.slice(5), [
      'hello',
      '',
      '\ufeff{}',
      {as: 'a blob'},
      {base64: 'gqE='},
      {base64: 'YQBi'},
      null,
    ])
  })

  test('nothing is an empty array, an error a document', async t => {
    const {jobq} = await prepared(t)
    assert.equal((await jobq(['list', '--json'])).stdout, '[]\n')
    const {stdout, stderr, code} = await jobq(['list', '--json', '--func', 'Nope'])
    assert.equal(code, 4)
    assert.equal(stderr, '')
    assert.equal(JSON.parse(stdout).error.code, 'NOT_FOUND')
  })
})

describe('list --failed, --finished', () => {
  test('exceptions, newest first, with retried as it is in the column', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db, {
      exception_time: 1000,
      message: 'first\nline',
      uniqkey: 'k',
      arg: '{"a":1}',
      retried: 1,
    })
    seedException(db, {func: 'Img', exception_time: 2000, message: '', arg: null})
    const {stdout} = await jobq(['list', '--failed'])
    assert.deepEqual(fields(stdout), [
      ['\\N', '2', 'Img', '2000', '0', '\\N', '', '\\N', 'failed'],
      ['\\N', '1', 'Notify', '1000', '1', 'k', 'first\\nline', '{"a":1}', 'retried'],
    ])
    assert.deepEqual(JSON.parse((await jobq(['list', '--failed', '--json', '--func', 'Notify'])).stdout), [
      {
        job_id: null,
        id: 1,
        func_id: 1,
        func: 'Notify',
        exception_time: 1000,
        message: 'first\nline',
        uniqkey: 'k',
        arg: {a: 1},
        retried: 1,
        state: 'retried',
        tags: {},
      },
    ])
    assert.deepEqual(exceptionIds((await jobq(['list', '--failed', '--uniqkey', 'k'])).stdout), [1])
    assert.deepEqual(
      exceptionIds((await jobq(['list', '--failed', '--limit', '1', '--offset', '1'])).stdout),
      [1],
    )
  })

  test('statuses, newest first', async t => {
    const {jobq, db} = await prepared(t)
    seedStatus(db, {job_start_time: 1000, job_end_time: 1010, uniqkey: 'k'})
    seedStatus(db, {func: 'Img', status: 'abort', job_start_time: 2000, job_end_time: 2001})
    const {stdout} = await jobq(['list', '--finished'])
    assert.deepEqual(fields(stdout), [
      ['\\N', '2', 'Img', 'abort', '2000', '2001', '\\N', '{}'],
      ['\\N', '1', 'Notify', 'completed', '1000', '1010', 'k', '{}'],
    ])
    const [row] = JSON.parse((await jobq(['list', '--finished', '--json', '--uniqkey', 'k'])).stdout)
    assert.deepEqual(row, {
      job_id: null,
      id: 1,
      func_id: 1,
      func: 'Notify',
      arg: {},
      uniqkey: 'k',
      status: 'completed',
      job_start_time: 1000,
      job_end_time: 1010,
      tags: {},
    })
  })
})

describe('list: what can not be meant', () => {
  const refused: [args: string[], says: RegExp][] = [
    [['--limit', '-1'], /--limit: expected a whole number/],
    [['--limit', '1e9'], /--limit: .*got "1e9"/],
    [['--limit', 'x'], /--limit: .*got "x"/],
    [['--limit', ''], /--limit: .*got ""/],
    [['--limit', '99999999999'], /--limit: .* to 4294967295/],
    [['--offset', '1.5'], /--offset: expected a whole number/],
    [['--state', 'asleep'], /--state/],
    [['--failed', '--finished'], /expected one of --finished, --failed, got both/],
    [['--failed', '--state', 'ready'], /expected one of --failed, --state, got both/],
    [['--finished', '--state', 'ready'], /expected one of --finished, --state, got both/],
    [['--faild'], /unknown flag --faild \(did you mean --failed\?/],
    [['extra'], /extra/],
  ]
  for (const [args, says] of refused)
    test(args.join(' '), async t => {
      const {code, stdout, stderr} = await jobqIn(t)(['list', ...args])
      assert.match(stderr, says)
      assert.match(stderr, /^jobq: [^\n]*\n$/, 'one line')
      assert.equal(stdout, '')
      assert.equal(code, 2)
    })

  test('a function that was never enqueued, with and without its jobs in the other tables', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db)
    for (const args of [[], ['--failed'], ['--finished'], ['--limit', '0']]) {
      const {code, stdout, stderr} = await jobq(['list', '--func', 'Notfy', ...args])
      assert.equal(code, 4)
      assert.equal(stdout, '')
      assert.match(stderr, /^jobq: no job of "Notfy" was ever enqueued here \(.*jobq stats.*\)\n$/)
    }
    assert.equal((await jobq(['list', '--func', 'Notify', '--failed'])).code, 0)
  })
})

describe('list: few and many', () => {
  test('--limit 0 shows none', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db)
    assert.equal((await jobq(['list', '--limit', '0'])).stdout, '')
    assert.equal((await jobq(['list', '--limit', '0', '--json'])).stdout, '[]\n')
    assert.equal((await jobq(['list'])).stdout.split('\n').length, 2)
  })

  test('a listing of many pages misses none, repeats none and keeps their order', async t => {
    const {jobq, db} = await prepared(t)
    const at = now()
    db.transaction(() => {
      for (let i = 0; i < 6000; i++)
        seedJob(db, {
          func: `F${i % 7}`,
          priority: i % 5,
          run_after: i % 2 ? at - 1000 - (i % 100) : at + 1000 + (i % 10),
          grabbed_until: i % 11 ? 0 : i % 2 ? at + 5000 : at - 5000,
        })
      for (let i = 0; i < 2500; i++) seedException(db)
    })()
    const {stdout, stderr} = await jobq(['list', '--json'])
    assert.equal(stderr, '')
    const rows = JSON.parse(stdout) as Record<string, number | string>[]
    assert.equal(new Set(rows.map(({id}) => id)).size, 6000)
    assert.equal(rows.length, 6000)
    const states = ['running', 'ready', 'delayed']
    const rank = (row: (typeof rows)[number]) => {
      const {state, priority, run_after, id} = row as {state: string; [column: string]: number | string}
      const order = {running: [id], ready: [-priority!, run_after, id], delayed: [run_after, -priority!, id]}
      return [states.indexOf(state), ...order[state as keyof typeof order]] as number[]
    }
    const sorted = rows.toSorted((a, b) => {
      const [left, right] = [rank(a), rank(b)]
      const differs = left.findIndex((value, i) => value !== right[i])
      return left[differs]! - right[differs]!
    })
    assert.deepEqual(
      rows.map(({id}) => id),
      sorted.map(({id}) => id),
    )
    assert.deepEqual(
      ids((await jobq(['list', '--limit', '7', '--offset', '4321'])).stdout),
      rows.slice(4321, 4328).map(({id}) => id),
    )
    const failed = exceptionIds((await jobq(['list', '--failed'])).stdout)
    assert.deepEqual(
      failed,
      Array.from({length: 2500}, (_, i) => 2500 - i),
    )
  })

  test('memory stays flat under large arguments', async t => {
    const {jobq, db} = await prepared(t)
    const arg = `"${'x'.repeat(2_000_000)}"`
    for (let i = 0; i < 40; i++) seedJob(db, {arg})
    const env = {NODE_OPTIONS: '--max-old-space-size=40'}
    for (const args of [[], ['--json']]) {
      const {stdout, stderr, code} = await jobq(['list', ...args], {env})
      assert.equal(stderr, '')
      assert.equal(code, 0)
      assert.ok(stdout.length > 40 * 2_000_000)
    }
  })

  test('who reads no more ends it quietly', async t => {
    const {jobq, db} = await prepared(t)
    db.transaction(() => {
      for (let i = 0; i < 20_000; i++) seedJob(db, {arg: `{"n":${i}}`})
    })()
    for (const flag of ['', '--json', '--failed']) {
      const child = spawn(
        'bash',
        [
          '-c',
          `set -o pipefail; "$0" "$1" list --db "$2" ${flag} | head -1`,
          process.execPath,
          RUN_JS,
          jobq.db,
        ],
        {stdio: ['ignore', 'pipe', 'pipe']},
      )
      let [stdout, stderr] = ['', '']
      child.stdout.on('data', text => (stdout += text))
      child.stderr.on('data', text => (stderr += text))
      const [code] = await once(child, 'close')
      assert.equal(stderr, '')
      assert.equal(code, 0)
      assert.equal(stdout.split('\n').length, flag === '--failed' ? 1 : 2)
    }
  })
})

describe('list on a terminal, where there are more than are shown', () => {
  /** What is shown, and how many rows of it there are below the head. */
  async function shown(jobq: ReturnType<typeof jobqIn>, ...flags: string[]) {
    const {stdout, stderr, code} = await jobq(['list', ...flags], {tty: 'stdout', env: {NO_COLOR: '1'}})
    assert.equal(code, 0)
    return [stdout.split('\n').length - 2, stderr] as const
  }

  test('the first 50, and how many more there are: of each state and function', async t => {
    const {jobq, db} = await prepared(t)
    const at = now()
    db.transaction(() => {
      for (let i = 0; i < 1100; i++) seedJob(db, {run_after: at - 100})
      for (let i = 0; i < 60; i++) seedJob(db, {run_after: at + 7200})
      for (let i = 0; i < 51; i++) seedJob(db, {grabbed_until: at + 7200})
      for (let i = 0; i < 50; i++) seedJob(db, {func: 'Other', run_after: at - 100})
    })()
    const says = (more: string, limit: number) =>
      [50, `… ${more} more; --limit ${limit} or a pipe shows all\n`] as const
    assert.deepEqual(await shown(jobq), says('1,211', 1261))
    assert.deepEqual(await shown(jobq, '--offset', '1011'), says('200', 250))
    assert.deepEqual(await shown(jobq, '--func', 'Notify'), says('1,161', 1211))
    assert.deepEqual(await shown(jobq, '--state', 'ready'), says('1,100', 1150))
    assert.deepEqual(await shown(jobq, '--state', 'delayed'), says('10', 60))
    assert.deepEqual(await shown(jobq, '--state', 'running'), says('1', 51))
    assert.deepEqual(await shown(jobq, '--func', 'Other'), [50, ''])
    assert.deepEqual(await shown(jobq, '--offset', '1211'), [50, ''])
    assert.deepEqual(await shown(jobq, '--limit', '60'), [60, ''])
    assert.deepEqual(await shown(jobq, '--limit', '1261'), [1261, ''])
    assert.equal((await jobq(['list'])).stdout.split('\n').length - 1, 1261, 'a pipe has all')
    const {stdout} = await jobq(['list', '--json'], {tty: 'stdout'})
    assert.equal(JSON.parse(stdout).length, 1261, 'so has a document')
  })

  test('of a key, of the failed, of the finished', async t => {
    const {jobq, db} = await prepared(t)
    db.transaction(() => {
      for (let i = 0; i < 55; i++) seedJob(db, {func: `F${i}`, uniqkey: 'k'})
      for (let i = 0; i < 57; i++) seedException(db, {uniqkey: i % 2 ? 'k' : null})
      for (let i = 0; i < 53; i++) seedStatus(db, {func: i ? 'F1' : 'F2'})
    })()
    const more = (n: number) => [50, `… ${n} more; --limit ${50 + n} or a pipe shows all\n`] as const
    assert.deepEqual(await shown(jobq, '--uniqkey', 'k'), more(5))
    assert.deepEqual(await shown(jobq, '--failed'), more(7))
    assert.deepEqual(await shown(jobq, '--failed', '--offset', '3'), more(4))
    assert.deepEqual(await shown(jobq, '--failed', '--uniqkey', 'k'), [28, ''])
    assert.deepEqual(await shown(jobq, '--finished'), more(3))
    assert.deepEqual(await shown(jobq, '--finished', '--func', 'F1'), more(2))
  })

  test('of a function that only a database may know which is out of reach: exit 1, not 4', async t => {
    const {jobq} = await prepared(t)
    const dead = 'postgres://nobody@127.0.0.1:1/nowhere'
    for (const words of [['list'], ['stats'], ['retry', '--all']]) {
      const {code, stderr} = await jobq([...words, '--func', 'Elsewhere', '--db', jobq.db, '--db', dead])
      assert.equal(code, 1, stderr)
      assert.doesNotMatch(stderr, /ever enqueued/)
    }
  })

  test('of several databases', async t => {
    const {jobq, db} = await prepared(t)
    assert.equal((await jobq(['init', '--db', 'other.db'])).code, 0)
    const other = openDatabase(t, join(jobq.folder, 'other.db'))
    for (const [n, each] of [
      [30, db],
      [31, other],
    ] as const)
      each.transaction(() => {
        for (let i = 0; i < n; i++) {
          seedJob(each)
          seedException(each)
          seedStatus(each)
        }
      })()
    for (const flags of [[], ['--failed'], ['--finished']]) {
      const both = [...flags, '--db', jobq.db, '--db', 'other.db']
      assert.deepEqual(await shown(jobq, ...both), [50, '… 11 more; --limit 61 or a pipe shows all\n'])
      assert.equal((await jobq(['list', ...both])).stdout.split('\n').length - 1, 61)
    }
  })
})

describe('list on a terminal', () => {
  const ESC = '\u001b'

  test('is a table as wide as the terminal, in colours', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db, {
      func: 'MyApp::Worker::Image::Thumbnail',
      arg: `{"to":"${'x'.repeat(500)}"}`,
      uniqkey: 'photo:9',
    })
    seedJob(db, {arg: '"日本語のテキスト日本語のテキスト日本語のテキスト"', run_after: now() + 7205})
    const {stdout, code} = await jobq(['list'], {tty: 'all', columns: 100})
    assert.equal(code, 0)
    assert.ok(stdout.includes(`${ESC}[32mready`), JSON.stringify(stdout))
    const lines = stripVTControlCharacters(stdout).trimEnd().split('\n')
    assert.match(lines[0]!, /^JOB {2}FUNC +STATE +PRIORITY {2}DUE +RETRIES {2}UNIQKEY +ARG$/)
    assert.match(
      lines[1]!,
      /^ {2}1 {2}MyApp::Worker::Image::Thumbnail {2}ready +0 {2}\ds ago +0 {2}photo:9 +\{"to":"x+…$/,
    )
    assert.match(lines[2]!, /^ {2}2 {2}Notify +delayed +0 {2}in 2h +0 {2}- +"日本語/)
    assert.equal(lines.length, 3)
    assert.ok(lines.slice(0, 2).every(line => line.length <= 100))
  })

  test('NO_COLOR is obeyed', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db)
    const {stdout} = await jobq(['list'], {tty: 'all', env: {NO_COLOR: '1'}})
    assert.ok(stdout.includes('Notify') && !stdout.includes(ESC), JSON.stringify(stdout))
  })

  test('what an argument says does not reach the terminal as it is', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db, {arg: `${ESC}]0;title\x07 \u009b2J \u202eabc`, uniqkey: `${ESC}c`})
    seedException(db, {message: `${ESC}[2J`})
    const env = {NO_COLOR: '1'}
    for (const flags of [[], ['--failed']]) {
      const {stdout} = await jobq(['list', ...flags], {tty: 'all', env, columns: 150})
      assert.match(stdout, /\\x1b/)
      assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    }
  })

  test('nothing is a friendly word on stderr', async t => {
    const {jobq} = await prepared(t)
    for (const [flags, says] of [
      [[], /no such jobs are waiting/],
      [['--failed'], /no such job has failed/],
      [['--finished'], /no such job has left a status/],
    ] as const) {
      const {stdout, stderr, code} = await jobq(['list', ...flags], {tty: 'stdout'})
      assert.equal(stdout, '')
      assert.match(stderr, says)
      assert.equal(code, 0)
    }
  })

  test('--failed and --finished are tables, too', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db, {message: 'no route\n', exception_time: now() - 120, retried: 1})
    seedStatus(db, {job_start_time: now() - 3700, job_end_time: now() - 10})
    const env = {NO_COLOR: '1'}
    const failed = await jobq(['list', '--failed'], {tty: 'all', env})
    assert.match(
      failed.stdout,
      /^JOB {2}EXCEPTION {2}FUNC +FAILED +STATE +UNIQKEY {2}MESSAGE +ARG\n +- +1 {2}Notify {2}2m.* ago +retried +- +no route {2}\{\}\n$/,
    )
    const finished = await jobq(['list', '--finished'], {tty: 'all', env})
    assert.match(finished.stdout, /\n {2}- {2}Notify {2}completed {2}1\ds ago {2}1h 1m {2}- +\{\}\n$/)
  })
})

describe('list without a terminal', () => {
  test('loads neither tables nor colours', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db)
    const told = join(jobq.folder, 'loaded')
    const hook = `import {appendFileSync} from 'node:fs'; import {registerHooks} from 'node:module'
      registerHooks({load: (url, context, next) => { appendFileSync('${told}', url + '\\n'); return next(url, context) }})`
    const env = {NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}`}
    for (const args of [['list'], ['list', '--json'], ['stats'], ['stats', '--json'], ['retry', '--all']]) {
      const {code, stderr} = await jobq(args, {env})
      assert.deepEqual([code, stderr], [0, args[0] === 'retry' ? 'there is nothing to retry\n' : ''])
      const loaded = readFileSync(told, 'utf8')
      assert.match(loaded, /lib\/sqlite\.cjs/)
      assert.doesNotMatch(loaded, /cli-table3|chalk|cli-progress/)
    }
    await jobq(['list'], {env, tty: 'all'})
    assert.match(
      readFileSync(told, 'utf8'),
      /cli-table3[\s\S]*chalk|chalk[\s\S]*cli-table3/,
      'the hook sees it',
    )
  })
})

describe('list on a database that is none', () => {
  test('a table of its own name, a file that is no database, a folder: exit 1 and one line', async t => {
    const jobq = jobqIn(t)
    openDatabase(t, `${jobq.folder}/foreign.db`).exec('CREATE TABLE users (id)')
    for (const [db, code] of [
      ['foreign.db', 1],
      ['data', 1],
      ['nowhere/x.db', 1],
      [RUN_JS, 1],
    ] as const) {
      const result = await jobq(['list', '--db', db])
      assert.equal(result.code, code, db)
      assert.match(result.stderr, /^jobq: [^\n]*\n$/)
      assert.equal(result.stdout, '')
    }
  })
})
