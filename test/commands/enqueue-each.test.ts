/** `jobq enqueue --each`: every line is a commit, and is answered when it is on disk: a script's coprocess. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {RUN_JS} from '../support/jobq.ts'
import {Random} from '../support/random.ts'
import {assertRefused, usage} from '../support/refusal.ts'
import type {Started} from '../support/started.ts'
import {until} from '../support/until.ts'

const ARGS = ['enqueue', 'F', '--db', 'jobs.db', '--each', '--args-from']
const BATCH = ['enqueue', '--db', 'jobs.db', '--each', '--batch']

const told = (stdout: string) => stdout.split('\n').slice(0, -1)
const documents = (stdout: string) => told(stdout).map(line => JSON.parse(line) as Record<string, unknown>)
const idsOf = (home: Home) => home.jobs().map(({id}) => String(id))
const bytesOf = (home: Home) => home.jobs().map(({bytes}) => bytes!.toString())
const count = (from: number, to: number) => Array.from({length: to - from + 1}, (_, i) => String(from + i))

function ask(process: Started, text: string): void {
  process.child.stdin!.write(text)
}

describe('--each', {concurrency: 4}, () => {
  test("a script's coprocess: an id for each line, as soon as it is there", async t => {
    const home = new Home(t)
    const script = `
      coproc Q { "$@" 2>errors; }
      for i in 1 2 3; do echo "[$i]" >&"\${Q[1]}"; read -r id <&"\${Q[0]}"; echo "$i is $id"; done
      echo '[4' >&"\${Q[1]}"; echo '[5]' >&"\${Q[1]}"; read -r id <&"\${Q[0]}"; echo "5 is $id"
      pid=$Q_PID; exec {Q[1]}>&-; wait $pid; echo "exit $?"`
    const command = ['bash', '-c', script, 'bash', process.execPath, RUN_JS]
    const {stdout, code} = await home.jobq([...ARGS, '-'], {command})
    assert.deepEqual([stdout, code], ['1 is 1\n2 is 2\n3 is 3\n5 is 4\nexit 2\n', 0])
    assert.match(home.read('errors').toString(), /^jobq: line 4: expected JSON, got text that ends.*\n$/)
    assert.deepEqual(bytesOf(home), ['[1]', '[2]', '[3]', '[5]'])
  })

  test('from a file, from a pipe, without a last line break, of an empty one', async t => {
    const home = new Home(t)
    const file = home.write('lines', '1\n{"a": 1.0}\r\n3')
    assert.deepEqual(await home.jobq([...ARGS, file, '--priority', '7']), printed('1\n2\n3'))
    assert.deepEqual(await home.jobq([...ARGS, '-'], {stdin: '4\n'}), printed(4))
    assert.deepEqual(await home.jobq([...ARGS, '-']), {code: 0, signal: null, stdout: '', stderr: ''})
    assert.deepEqual(bytesOf(home), ['1', '{"a": 1.0}', '3', '4'])
    assert.deepEqual(
      home.jobs().map(({priority}) => priority),
      [7, 7, 7, 0],
    )
  })

  test('with --json every line is answered, in order, by a document of a line', async t => {
    const home = new Home(t)
    const stdin = '{"func":"A","uniqkey":"k"}\nno\n{"func":"A","uniqkey":"k"}\n{"func":"B","priority":3}\n'
    const {stdout, stderr, code} = await home.jobq([...BATCH, '-', '--json'], {stdin})
    const answers = documents(stdout)
    assert.deepEqual([stderr, code], ['', 2])
    const {run_after} = home.jobs()[0]!
    assert.deepEqual(answers[0], {
      ...{line: 1, id: 1, func: 'A', uniqkey: 'k', priority: 0, run_after, enqueued: true},
    })
    assert.deepEqual(
      answers.map(({line, id, error}) => [line, id ?? (error as {code: string}).code]),
      [
        [1, 1],
        [2, 'BAD_ARGUMENT'],
        [3, 'DUPLICATE'],
        [4, 2],
      ],
    )
  })

  test('a key that waits is refused, by line; the others are stored: exit 3; with --if-absent its id is told', async t => {
    const home = new Home(t)
    const lines = '{"func":"A","uniqkey":"k"}\n{"func":"A","uniqkey":"k"}\n{"func":"B"}\n'
    assert.deepEqual(await home.jobq([...BATCH, '-'], {stdin: lines}), {
      ...{code: 3, signal: null, stdout: '1\n2\n'},
      stderr:
        'jobq: line 2: refused: a job of A with uniqkey "k" is already waiting (job 1) (it can be enqueued again once that job has left the queue; --if-absent takes this for success)\n',
    })
    assert.deepEqual(await home.jobq([...BATCH, '-', '--if-absent'], {stdin: lines}), printed('1\n1\n3'))
    const {code} = await home.jobq([...BATCH, '-'], {stdin: `${lines}{"func":5}\n`})
    assert.equal(code, 2)
  })

  test('lines that meet the same error tell it each as its own', async t => {
    const home = new Home(t)
    const words = ['enqueue', 'F', '--db', 'postgres://127.0.0.1:1/none', '--each', '--args-from', '-']
    const {code, stderr} = await home.jobq(words, {stdin: '1\n2\n3\n'})
    assert.equal(code, 1)
    assert.deepEqual(
      stderr.match(/^.*(?=can't reach)/gm),
      count(1, 3).map(nth => `jobq: line ${nth}: `),
    )
  })

  test('one line waits for others before it, whether they are stored already or not', async t => {
    const home = new Home(t)
    const lines = [
      '{"func":"A"}',
      '{"func":"B","after":["#1"]}',
      '{"func":"C","after":["#2"],"after_end":["#1"]}',
      '{"func":5}',
      '{"func":"D","after":["#4"]}',
      '{"func":"E","after":["#6"]}',
      '{"func":"G","after":[1]}',
    ]
    const started = home.start([...BATCH, '-', '--json'], {stdin: 'open'})
    ask(started, `${lines.join('\n')}\n`)
    await started.prints(/"line":7,/)
    started.child.stdin!.end('{"func":"H","after":["#3"]}\n')
    const {stdout, code} = await started.exited
    const answers = documents(stdout)
    const [, , , , D, E] = answers.map(({error}) => (error as {message?: string} | undefined)?.message)
    assert.equal(D, 'line 5: after: line 4 was refused, so there is no job to wait for')
    assert.equal(E, 'line 6: after: expected an earlier line, got #6')
    assert.equal(code, 2)
    const id = (line: number) => Number(answers[line - 1]!.id)
    const shown = await home.jobq([
      'show',
      ...[2, 3, 7, 8].map(line => `${id(line)}`),
      '--db',
      'jobs.db',
      '--json',
    ])
    assert.deepEqual(
      (JSON.parse(shown.stdout) as {after: {job_id: number}[]}[]).map(({after}) =>
        after.map(({job_id}) => job_id).sort(),
      ),
      [[id(1)], [id(1), id(2)].sort(), [1], [id(3)]],
    )
  })

  test('a line too far back to be known is named by its id', async t => {
    const home = new Home(t)
    const file = home.write('lines', `${'{"func":"A"}\n'.repeat(10_001)}{"func":"B","after":["#1"]}\n`)
    const {code, stderr} = await home.jobq([...BATCH, file])
    assert.equal(code, 2)
    const says =
      'line 10002: after: expected one of the 10000 lines before it, got #1 (name that job by its id)'
    assert.equal(stderr, `jobq: ${says}\n`)
    assert.equal(home.jobs().length, 10_001)
  })

  test('a line that is too long is passed over, however it comes', async t => {
    const home = new Home(t)
    const lines = ['1', `"${'x'.repeat(17_000_000)}"`, '3', '4'].join('\n')
    for (const more of [{}, {stdin: lines}]) {
      const words = [...ARGS, 'stdin' in more ? '-' : home.write('lines', lines)]
      const {code, stderr, stdout} = await home.jobq(words, more)
      assert.equal(code, 2)
      assert.match(stderr, /^jobq: line 2: expected at most 16777215 bytes, got more \([^\n]+\)\n$/)
      assert.equal(told(stdout).length, 3)
    }
    assert.deepEqual(bytesOf(home), ['1', '3', '4', '1', '3', '4'])
  })

  test('lines that are there together share a commit; one by one each has its own', async t => {
    const home = new Home(t)
    const started = home.start([...ARGS, '-'], {stdin: 'open'})
    ask(started, '0\n')
    await started.prints(/^1\n/m)
    const before = commitsIn(home)
    ask(started, '1\n'.repeat(500))
    await started.prints(/^501\n/m)
    const together = commitsIn(home) - before
    for (let id = 502; id <= 511; id++) {
      ask(started, '1\n')
      await started.prints(new RegExp(`^${id}\n`, 'm'))
    }
    const alone = commitsIn(home) - before - together
    assert.ok(together >= 2 && together <= 10, `${together} commits for 500 lines`)
    assert.equal(alone, 10)
    started.child.stdin!.end()
    assert.deepEqual(await started.exited, printed(count(1, 511).join('\n')))
  })

  test('hooks and plugins see every line, as an enqueue by itself', async t => {
    const home = new Home(t)
    home.write(
      'jobq.config.mjs',
      `import {appendFileSync} from 'node:fs'
      const note = text => appendFileSync('notes', text + '\\n')
      export default {
        hooks: [{
          name: 'x',
          preEnqueue(call) { if (call.arg.bad) throw new Error('not this one'); call.priority = 9 },
          postEnqueue(job, call) { note('stored ' + job.id + ' ' + call.arg.n) },
        }],
        plugins: {p: {aroundEnqueue: async (call, enqueue) => { note('around ' + call.arg.n); return enqueue() }}},
      }`,
    )
    const stdin = '{"n": 1.0}\n{"n":2,"bad":true}\n{"n":3}\n'
    const {code, stdout, stderr} = await home.jobq([...ARGS, '-'], {stdin})
    assert.deepEqual([stdout, code], ['1\n2\n', 1])
    assert.match(stderr, /^jobq: line 2: [^\n]*not this one[^\n]*\n$/)
    assert.deepEqual(
      home.jobs().map(({bytes, priority}) => [bytes!.toString(), priority]),
      [
        ['{"n": 1.0}', 9],
        ['{"n":3}', 9],
      ],
    )
    assert.deepEqual(home.read('notes').toString().trim().split('\n').sort(), [
      ...['around 1', 'around 2', 'around 3', 'stored 1 1', 'stored 2 3'],
    ])
  })

  const refused: [what: string, words: string[], says: string][] = [
    [
      'without lines',
      ['enqueue', 'F', '--each'],
      '--each: expected --args-from or --batch with it, got none',
    ],
    ['with --replace', [...BATCH, 'lines', '--replace'], '--replace: expected none with --batch'],
    ['with a key for all', [...ARGS, 'lines', '--uniqkey', 'k'], '--uniqkey: expected none with --args-from'],
    ['of a file that is not there', [...ARGS, 'none'], `can't read "none"`],
  ]
  for (const [what, words, says] of refused)
    test(`${what}: refused`, async t => {
      const home = new Home(t)
      home.write('lines', '1\n')
      await assertRefused(home, words, usage(says))
    })
})

describe('an end before the last line', {concurrency: 4}, () => {
  for (const [signal, exit] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)
    test(`${signal}: what is stored is told, and it says where it stopped`, async t => {
      const home = new Home(t)
      const started = home.start([...ARGS, '-'], {stdin: 'open'})
      ask(started, '1\n2\n')
      await started.prints(/^2\n/m)
      started.kill(signal)
      assert.deepEqual(await started.exited, {
        ...{code: exit, signal: null, stdout: '1\n2\n'},
        stderr: 'jobq: stopped: nothing behind line 2 is stored\n',
      })
      assert.deepEqual(idsOf(home), ['1', '2'])
    })

  test('who does not read the answers is not read from; TERM, and then they are all told', async t => {
    const home = new Home(t)
    const script = 'exec "$@" > >(until [ -e go ]; do sleep 0.01; done; exec cat >ids)'
    const command = ['bash', '-c', script, 'bash', process.execPath, RUN_JS]
    const lines = 400_000
    const started = home.start([...ARGS, home.write('lines', '1\n'.repeat(lines))], {command})
    await until('the pipe is full', () => numberOfJobs(home) > 12_000)
    started.kill('SIGTERM')
    home.write('go', '')
    const {code} = await started.exited
    assert.equal(code, 143)
    const ids = told(home.read('ids').toString())
    assert.deepEqual(ids, idsOf(home))
    assert.ok(ids.length < lines / 4, `${ids.length} were stored that nobody had asked for yet`)
  })

  test('a reader that has gone ends it quietly', async t => {
    const home = new Home(t)
    const script = `yes 1 | "$@" | head -n 3; echo "\${PIPESTATUS[1]}"`
    const command = ['bash', '-c', script, 'bash', process.execPath, RUN_JS]
    assert.deepEqual(await home.jobq([...ARGS, '-'], {command}), printed('1\n2\n3\n0'))
  })

  test('killed at any time: every id that was told is a job on disk', async t => {
    const home = new Home(t)
    const random = new Random()
    let stored = 0
    for (let i = 0; i < 4; i++) {
      const started = home.start([...ARGS, '-'], {stdin: 'open'})
      const feed = () => {
        for (let more = true; more && !started.hasExited; )
          more = started.child.stdin!.write('1\n'.repeat(50))
      }
      started.child.stdin!.on('drain', feed)
      feed()
      const enough = random.below(4000)
      await until('some are told', () => told(started.stdout).length > enough)
      started.kill('SIGKILL')
      const {stdout} = await started.exited
      const there = new Set(idsOf(home))
      for (const id of told(stdout)) assert.ok(there.has(id), `${id} was told`)
      assert.ok(there.size > stored)
      stored = there.size
    }
  })
})

test('endless lines: in flat memory', {timeout: 120_000}, async t => {
  const home = new Home(t)
  const started = home.start([...ARGS, '-', '--serializer', 'none'], {stdin: 'open'})
  const line = `${'x'.repeat(10_000)}\n`
  const feed = () => {
    for (let more = true; more && !started.hasExited; ) more = started.child.stdin!.write(line.repeat(10))
  }
  started.child.stdin!.on('drain', feed)
  feed()
  await until('120 MB are stored', () => told(started.stdout).length > 12_000, 60_000)
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${started.pid}/status`, 'utf8'))?.[1])
  started.kill('SIGKILL')
  assert.ok(peak > 30_000 && peak < 200_000, `${peak} kB at the most`)
})

/** As -wal tells them: a frame that ends a commit has the database's size in it. */
function commitsIn(home: Home): number {
  const wal = home.read('jobs.db-wal')
  const frame = wal.readUInt32BE(8) + 24
  let commits = 0
  for (let at = 32; at + frame <= wal.length; at += frame) if (wal.readUInt32BE(at + 4) !== 0) commits++
  return commits
}

function numberOfJobs(home: Home): number {
  try {
    return home.jobs().length
  } catch {
    return 0 // there is no database yet
  }
}
