/** `jobq work` as its users call it: modes, exit statuses, what it prints and where, flags and environment. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {readFileSync, renameSync} from 'node:fs'
import {describe, test} from 'node:test'
import {jobqIn} from '../support/jobq.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const GOOD = `export default {work() {}}`
const BAD = `export default {work() { throw new Error('no') }}`
const SAYS = `export default {work(job) { console.log('hello from', job.id); console.error('and more') }}`
const WAITS = `import {existsSync} from 'node:fs'
export default {async work() {
  while (!existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 5))
}}`
const CANT_MOUNT =
  spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status !== 0 &&
  'no file system can be mounted here'
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f]/

const jobs = (func: string, count: number) => Array.from({length: count}, (): [string] => [func])
const parse = (lines: string): Record<string, unknown>[] =>
  lines
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line))

describe('--once', {concurrency: 2}, () => {
  test('6: nothing was ready; 0: one job is done, the most important one; 5: it failed', async t => {
    const site = new Workplace(t, {
      'Good.mjs': GOOD,
      'Bad.mjs': BAD,
      'Dies.mjs': `export default {work() { process.exit(1) }}`,
    })
    await site.enqueue(['Other'], ['Good', {delay: 1000}])
    const nothing = await site.run(['work', '--once'])
    assert.deepEqual([nothing.code, nothing.stdout], [6, ''])
    assert.match(nothing.stderr, /^jobq: nothing was ready but 1 job of Other, for which .* no worker\n$/)
    const chosen = await site.run(['work', '--once', '--abilities', 'Good'])
    assert.deepEqual([chosen.code, chosen.stderr], [6, 'jobq: nothing was ready\n'])
    await site.enqueue(['Good'], ['Good', {priority: 1}])
    const good = await site.run(['work', '--once'])
    assert.deepEqual([good.code, good.stdout], [0, ''])
    assert.match(good.stderr, /^\S+ 4 Good completed \S+ms\n$/)
    await site.enqueue(['Bad', {priority: 2}])
    const bad = await site.run(['work', '--once'])
    assert.deepEqual([bad.code, bad.stdout], [5, ''])
    await site.enqueue(['Dies', {priority: 3}])
    assert.equal((await site.run(['work', '--once'])).code, 5)
    assert.equal(site.count('job'), 4)
    const aborted = await site.run(['work', '--once', '--exec', 'Dies=exit 100', '--max-workers', '3'])
    assert.equal(aborted.code, 5)
    assert.equal(site.count('job'), 3)
  })

  test('not with --drain', async t => {
    const {code, stderr} = await new Workplace(t).run(['work', '--once', '--drain'])
    assert.equal(code, 2)
    assert.match(stderr, /^jobq: .*--drain.*--once|--once.*--drain/)
  })
})

describe('--drain', {concurrency: 2}, () => {
  test('works until nothing is ready, and sums it up', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD, 'Bad.mjs': BAD, Aborts: '#!/bin/sh\nexit 100'})
    const nothing = await site.drain()
    assert.deepEqual([nothing.code, nothing.stdout, nothing.stderr], [0, '', ''], 'cron would mail it')
    await site.enqueue(...jobs('Good', 40), ['Good', {delay: 1000}])
    const good = await site.drain()
    assert.equal(good.code, 0)
    assert.match(good.stdout, /^40 completed in \d+\.\d s\n$/)
    assert.equal(good.stderr.match(/^\S+ \d+ Good completed \S+$/gm)?.length, 40)
    assert.equal(site.count('job'), 1)
    await site.enqueue(['Good'], ['Bad'], ['Aborts'], ['Bad'])
    const mixed = await site.drain()
    assert.equal(mixed.code, 5)
    assert.match(mixed.stdout, /^1 completed, 2 failed, 1 aborted in \d+\.\d s\n$/)
  })

  test('says why nothing was ready where jobs are: paused, or without a worker here', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD})
    await site.enqueue(...jobs('Good', 2), ['Other'], ['Good', {delay: 1000}])
    await site.run(['pause', 'Good'])
    const nothing = 'nothing was ready but'
    const [held, foreign] = ['2 jobs of Good, paused', '1 job of Other, for which this process has no worker']
    assert.equal((await site.drain()).stdout, `${nothing} ${held}; and ${foreign}\n`)
    assert.equal((await site.drain('--abilities', 'Good')).stdout, `${nothing} ${held}\n`)
    await site.run(['resume', 'Good'])
    await site.run(['pause', '--all'])
    assert.equal((await site.drain('--abilities', 'Good')).stdout, `${nothing} ${held}\n`)
    await site.run(['resume', '--all'])
    assert.match((await site.drain()).stdout, /^2 completed in /)
    const {code, stdout} = await site.drain()
    assert.deepEqual([code, stdout], [0, `${nothing} ${foreign}\n`])
    assert.equal((await site.drain('--abilities', 'Good')).stdout, '', 'the others were left out on purpose')
  })

  test('says how long it tries again where the disk is full: not for ever', {skip: CANT_MOUNT}, async t => {
    for (const [flag, words] of [
      ['--drain', 'for 30 s at most'],
      ['--once', 'for 30 s at most'],
      ['--max-jobs=1', 'until it works'],
    ] as const) {
      const site = new Workplace(t, {Fills: '#!/bin/sh\nhead -c 2M /dev/zero > full/fill; exit 0'})
      const script = `mkdir full && mount -t tmpfs -o size=1m tmpfs full && jobq enqueue Fills || exit 99
(until [ -e go ]; do sleep 0.01; done; rm full/fill) & exec jobq work ${flag}`
      const env = {JOBQ_DB: 'full/jobs.db'}
      const work = site.spawn('unshare', ['-rm', 'sh', '-c', script], {env})
      await work.prints(new RegExp(`no room left .*; trying again ${words}$`, 'm'))
      site.write('go', '')
      assert.equal((await work.exited).code, 0)
    }
  })

  test('its bar counts what runs', async t => {
    const jobq = jobqIn(t)
    await jobq(['enqueue', 'Nap', '--args-from', '-'], {stdin: '1\n2\n3\n4\n5\n6\n'})
    const words = ['work', '--drain', '--max-workers', '2', '--exec', 'Nap=sleep 0.3']
    const {code, stdout} = await jobq(words, {tty: 'all'})
    assert.equal(code, 0)
    const shown = [...stdout.matchAll(/ (\d)\/6 jobs, \S+ (\d) running/g)].map(
      ([, ended, running]) => `${ended} ${running}`,
    )
    assert.ok(shown.includes('2 2') || shown.includes('1 2') || shown.includes('3 2'), shown.join(', '))
    assert.match(stdout, /6 completed in /)
  })

  test('the summary comes last where it goes where the log goes', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD})
    await site.enqueue(...jobs('Good', 2))
    const {stdout} = await site.spawn('/bin/sh', ['-c', 'jobq work --drain 2>&1']).exited
    const [first, second, summary] = stdout.split('\n')
    assert.match(first!, / Good completed /)
    assert.match(second!, / Good completed /)
    assert.match(summary!, /^2 completed in /)
  })

  test('what jobs enqueue meanwhile is worked as well', async t => {
    const site = new Workplace(t, {
      'Down.mjs': `export default {work(job) { if (job.arg > 0) job.replace({func: 'Down', arg: job.arg - 1}) }}`,
    })
    await site.enqueue(['Down', {arg: 5}])
    const {stdout} = await site.drain('--max-workers', '2')
    assert.match(stdout, /^6 completed/)
  })

  test('no control characters in a pipe', async t => {
    const site = new Workplace(t, {
      'Good.mjs': GOOD,
      'Bad.mjs': `export default {work() { throw 'a\\u001b[31mb' }}`,
    })
    await site.enqueue(['Good'], ['Bad'])
    const {stdout, stderr} = await site.run(['work', '--drain', '--debug'], {env: {TERM: 'xterm-256color'}})
    assert.doesNotMatch(stdout + stderr, CONTROL)
  })

  const hasScript = spawnSync('script', ['--version']).error === undefined
  test('a progress bar and colours on a terminal; no colours with NO_COLOR', {skip: !hasScript}, async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD, 'Bad.mjs': BAD, Slow: '#!/bin/sh\nsleep 0.3'})
    const onTerminal = async (env: NodeJS.ProcessEnv = {}, flags = '') => {
      await site.enqueue(['Good'], ['Bad'], ['Slow'])
      const command = `jobq work --drain ${flags}`
      const terminal = {TERM: 'xterm-256color', CI: undefined} // CI=true: no colours
      return site.spawn('script', ['-qefc', command, '/dev/null'], {env: {...terminal, ...env}}).exited
    }
    const coloured = await onTerminal()
    assert.equal(coloured.code, 5)
    assert.match(coloured.stdout, /█.* 3\/3 jobs/)
    assert.match(coloured.stdout, /\u001b\[32mcompleted\u001b\[39m/)
    assert.match(coloured.stdout, /\u001b\[31mfailed\u001b\[39m/)
    assert.match(coloured.stdout, /2 completed, 1 failed in/)
    assert.ok(
      coloured.stdout.lastIndexOf('\u001b[?25h') > coloured.stdout.lastIndexOf('\u001b[?25l'),
      'the cursor is back',
    )
    const plain = await onTerminal({NO_COLOR: '1'})
    assert.doesNotMatch(plain.stdout, /\u001b\[\d+m/)
    const json = await onTerminal({}, '--json')
    assert.doesNotMatch(json.stdout, /█|\u001b/)
    for (const line of json.stdout.trim().split('\r\n')) JSON.parse(line)
  })
})

describe('an end that was asked for', {concurrency: 2}, () => {
  test('--max-jobs: after so many, whatever waits', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD, 'Bad.mjs': BAD})
    await site.enqueue(...jobs('Good', 7), ['Bad', {priority: 1}])
    const work = await site.run(['work', '--max-jobs', '3', '--max-workers', '2'])
    assert.deepEqual([work.code, work.stdout], [0, ''])
    assert.equal(work.stderr.match(/ (completed|failed) /g)?.length, 3)
    assert.equal(site.count('job'), 5)
    const drain = await site.drain('--max-jobs', '2')
    assert.equal(drain.code, 0)
    assert.match(drain.stdout, /^2 completed/)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0, 0, 0])
  })

  test('--max-time: after so long, and what runs by then may finish', async t => {
    const site = new Workplace(t, {'Waits.mjs': WAITS})
    await site.enqueue(...jobs('Waits', 2))
    const work = site.work('--max-time', '1', '--debug')
    await work.prints(/ending: 1 running/)
    site.write('go', '')
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    assert.match(stderr, /1 Waits completed/)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
    const idle = await site.run(['work', '--max-time', '1s', '--exec', 'Other=true', '--abilities', 'Other'])
    assert.deepEqual([idle.code, idle.stdout], [0, ''])
    assert.equal(idle.stderr, `jobq: works Other (a command) from ${site.db}, one job at once\n`)
  })
})

test('it says what it works, from where, with what; and at a first signal what a second one does', async t => {
  const site = new Workplace(t, {'Waits.mjs': WAITS, Shell: '#!/bin/sh\n'})
  await site.enqueue(...jobs('Waits', 2))
  const words = ['work', '--max-workers', '2', '--exec', 'Mail=true', '--shutdown-timeout', '20']
  const work = site.start(words)
  await work.prints(
    new RegExp(
      `^jobq: works Mail \\(a command\\), Shell \\(workers/Shell\\), Waits \\(workers/Waits\\.mjs\\) from ${site.db}, 2 jobs`,
    ),
  )
  await until(
    'both run',
    () => site.column<number>('SELECT count(*) FROM job WHERE grabbed_until > 0')[0] === 2,
  )
  work.kill('SIGINT')
  await work.prints(/^jobq: finishing 2 jobs, for at most 20 s; a second Ctrl-C stops them$/m)
  site.write('go', '')
  assert.equal((await work.exited).code, 0)
  assert.equal(work.stderr.match(/finishing/g)!.length, 1)
  const json = site.start([...words, '--json'])
  await json.prints(/^jobq: works /m)
  json.kill('SIGTERM')
  const {code, stdout} = await json.exited
  assert.deepEqual([code, parse(stdout)], [0, []])
})

test('times beyond what a timer holds are long, not over at once; a work delay of 0 is no busy loop', async t => {
  const site = new Workplace(t, {'Good.mjs': GOOD})
  const long = site.work('--max-time', '30d', '--work-delay', '30d', '--shutdown-timeout', '30d', '--debug')
  await long.prints(/nothing ready, looking again in 2147483647 ms/)
  await site.enqueue(['Good'])
  await long.prints(/1 Good completed[\s\S]*nothing ready/)
  const looks = long.stderr.match(/nothing ready/g)!.length
  assert.ok(looks < 10, `${looks} looks`)
  assert.doesNotMatch(long.stderr, /Warning|ending/)
  long.kill('SIGTERM')
  assert.equal((await long.exited).code, 0)
  const short = site.work('--work-delay', '0', '--debug')
  await short.prints(/nothing ready, looking again in 10 ms/)
  short.kill('SIGTERM')
  assert.equal((await short.exited).code, 0)
})

describe('--json', {concurrency: 2}, () => {
  test('every line of stdout is a document, and stderr is silent', async t => {
    const site = new Workplace(t, {
      'Says.mjs': SAYS,
      'Bad.mjs': BAD,
      Raw: `#!/bin/sh\nprintf 'a\\033[1m\\377"b\\n'`,
    })
    await site.enqueue(['Says', {priority: 2}], ['Bad', {priority: 1}], ['Raw'])
    const {code, stdout, stderr} = await site.drain('--json')
    assert.equal(code, 5)
    assert.equal(stderr, '')
    const lines = parse(stdout)
    for (const line of lines) assert.ok(!Number.isNaN(Date.parse(String(line.time))))
    const shown = lines.map(({time, duration_ms, ...line}) => line)
    assert.deepEqual(
      shown.filter(({event, stream}) => event !== 'output' || stream === 'stdout'),
      [
        {event: 'output', id: 1, func: 'Says', stream: 'stdout', line: 'hello from 1'},
        {event: 'job', id: 1, func: 'Says', outcome: 'completed'},
        {event: 'job', id: 2, func: 'Bad', outcome: 'failed', message: 'Error: no'},
        {event: 'output', id: 3, func: 'Raw', stream: 'stdout', line: 'a\u001b[1m\ufffd"b'},
        {event: 'job', id: 3, func: 'Raw', outcome: 'completed'},
        {
          event: 'summary',
          taken: 3,
          completed: 2,
          failed: 1,
          aborted: 0,
          released: 0,
          declined: 0,
          died: 0,
          lost: 0,
        },
      ],
    )
    assert.ok(shown.some(({stream, line}) => stream === 'stderr' && line === 'and more'))
    assert.ok(lines.every(({event, duration_ms}) => event !== 'job' || Number.isInteger(duration_ms)))
  })

  test('with --debug, --once, and nothing to do', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD})
    const {code, stdout, stderr} = await site.run(['work', '--once', '--json', '--debug'])
    assert.equal(code, 6)
    assert.equal(stderr, '')
    assert.ok(
      parse(stdout)
        .slice(0, -1)
        .every(({event}) => event === 'debug'),
    )
    const quiet = await site.run(['work', '--once', '--json'])
    assert.deepEqual([quiet.code, quiet.stderr], [6, ''])
    const none = {completed: 0, failed: 0, aborted: 0, released: 0, declined: 0, died: 0, lost: 0}
    const [{time, ...summary} = {}, ...more] = parse(quiet.stdout)
    assert.deepEqual([summary, more], [{event: 'summary', taken: 0, ...none}, []])
  })
})

describe('what it tells', {concurrency: 2}, () => {
  test('--debug: which workers, what was grabbed, when it looks again', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD, Shell: '#!/bin/sh\n# jobq: grab-for=5m'})
    await site.enqueue(['Good', {priority: 7}], ['Good', {delay: 1000}])
    const {stderr} = await site.drain('--debug')
    assert.ok(stderr.includes(`debug: Good: ${site.path('workers/Good.mjs')} {}`), stderr)
    assert.ok(stderr.includes(`debug: Shell: ${site.path('workers/Shell')} {"grabFor":300}`))
    assert.match(stderr, /debug: grabbed 1 Good, priority 7, due for \d s/)
    assert.match(stderr, /debug: nothing ready, looking again in 5000 ms or when something changes/)
    assert.match(stderr, /debug: child \d+ starts/)
    await site.enqueue(['Good'])
    assert.doesNotMatch((await site.drain()).stderr, /debug/)
  })

  test('a log or an output that is full or closed costs no job', async t => {
    const site = new Workplace(t, {'Says.mjs': SAYS})
    const cases = [
      '2>/dev/full',
      '--log /dev/full',
      '--json >/dev/full',
      '2>&-',
      '--json >&-',
      '2>&1 | true',
      '--json | true',
    ]
    for (const words of cases) {
      await site.enqueue(...jobs('Says', 3))
      await site.spawn('/bin/sh', ['-c', `jobq work --max-jobs 3 ${words}`]).exited
      await until(`all is worked with ${words}`, () => site.count('job') === 0)
    }
    assert.equal(site.count('exception_log'), 0)
    await site.enqueue(['Says'])
    const {code} = await site.spawn('/bin/sh', ['-c', 'jobq work --once --log /dev/full']).exited
    assert.equal(code, 0)
  })

  test('what is lost of a log is told at the end; under --json standard output is the result', async t => {
    const site = new Workplace(t, {'Says.mjs': SAYS, Fails: '#!/bin/sh\nexit 1'})
    const log = /^jobq: can't write the log "\/dev\/full" \(ENOSPC[^\n]*\): its last \d+ lines are lost\n$/
    const output = /^jobq: can't write to standard output \(ENOSPC: no space left on device, write\)\n$/
    const cases: [func: string, flags: string, to: string, status: number, told: RegExp][] = [
      ['Says', '--drain --log /dev/full', '', 0, log],
      ['Says', '--drain --json --log /dev/full', '', 0, log],
      ['Fails', '--once --log /dev/full', '', 5, /: its last line is lost\n$/],
      ['Says', '--drain --json', '>/dev/full', 1, output],
      ['Fails', '--once --json', '>/dev/full', 1, output],
      ['Says', '--max-jobs 1 --json', '>/dev/full', 1, output],
      ['Says', '--drain --json', '| true', 0, /^$/],
      ['Says', '--drain --log /dev/stdout', '| true', 0, /^$/],
    ]
    for (const [func, flags, to, status, told] of cases) {
      await site.enqueue([func])
      const script = `{ jobq work ${flags}; echo $? >status; } ${to}`
      const {stderr} = await site.spawn('/bin/sh', ['-c', script]).exited
      assert.match(stderr.replace(/^jobq: works .*\n/m, ''), told, flags + to)
      assert.equal(Number(readFileSync(site.path('status'), 'utf8')), status, flags + to)
      assert.equal(site.count('job'), 0, flags + to)
    }
  })
})

test('a log that can not be opened anew is gone on with', async t => {
  const site = new Workplace(t, {'Good.mjs': GOOD})
  site.write('logs/there', '')
  const work = site.work('--log', 'logs/work.log')
  await site.enqueue(['Good'])
  await until('one is worked', () => site.count('job') === 0)
  renameSync(site.path('logs'), site.path('moved'))
  work.kill('SIGUSR1')
  await until('it is said', () =>
    readFileSync(site.path('moved/work.log'), 'utf8').includes('could not be opened anew'),
  )
  await site.enqueue(['Good'])
  await until('another is worked', () => site.count('job') === 0)
  work.kill('SIGTERM')
  assert.equal((await work.exited).code, 0)
})

describe('flags', {concurrency: 2}, () => {
  test('that are wrong: exit 2, one line, which one and what was expected', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD})
    await site.enqueue(['Good'])
    const cases: [string[], RegExp][] = [
      [['--max-workers', '0'], /^jobq: --max-workers: expected a whole number from 1 to 10000, got "0"/],
      [['--max-workers', '-1'], /^jobq: .*--max-workers/],
      [['--max-workers', '1.5'], /^jobq: --max-workers: expected a whole number/],
      [['--max-jobs', 'many'], /^jobq: --max-jobs: expected a whole number from 1/],
      [['--max-time', 'soon'], /^jobq: --max-time: expected a duration/],
      [['--shutdown-timeout', '1y'], /^jobq: --shutdown-timeout: expected a duration/],
      [['--work-delay', ''], /^jobq: --work-delay: expected a duration/],
      [['--max-worker', '1'], /^jobq: unknown flag --max-worker .*did you mean --max-workers\?/],
      [['Good'], /^jobq: .*Good/],
      [['--abilities', 'A,,B'], /^jobq: --abilities: expected a function name/],
      [['--config', 'nowhere.json'], /^jobq: expected a configuration file/],
    ]
    for (const [flags, said] of cases) {
      const {code, stdout, stderr} = await site.drain(...flags)
      assert.equal(code, 2, `${flags}: ${stderr}`)
      assert.equal(stdout, '')
      assert.match(stderr, said)
      assert.equal(stderr.trim().split('\n').length, 1, stderr)
    }
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
  })

  test('go before the environment, that before the configuration', async t => {
    const site = new Workplace(t)
    site.write('elsewhere/Good.mjs', GOOD)
    site.write('jobq.config.json', JSON.stringify({maxJobs: 1, workersDir: 'nowhere', abilities: ['Good']}))
    await site.enqueue(...jobs('Good', 6))
    const environment = {JOBQ_MAX_JOBS: '2', JOBQ_WORKERS: 'elsewhere'}
    await site.run(['work', '--workers', 'elsewhere'])
    assert.equal(site.count('job'), 5)
    assert.equal((await site.run(['work'], {env: environment})).code, 0)
    assert.equal(site.count('job'), 3)
    await site.run(['work', '--max-jobs', '3'], {env: environment})
    assert.equal(site.count('job'), 0)
    const wrong = await site.run(['work'], {env: {...environment, JOBQ_MAX_JOBS: 'x'}})
    assert.equal(wrong.code, 2)
  })

  test('--help names the environment of each that a service sets', async t => {
    const {code, stdout} = await new Workplace(t).run(['work', '--help'])
    assert.equal(code, 0)
    for (const name of 'ABILITIES WORKERS MAX_WORKERS MIN_SPARE_WORKERS MAX_SPARE_WORKERS MAX_REQUEST_PER_CHILD JOBS_PER_CHILD WORK_DELAY MAX_JOBS MAX_TIME SHUTDOWN_TIMEOUT ADMIN_HOST ADMIN_PORT'.split(
      ' ',
    ))
      assert.ok(stdout.includes(`JOBQ_${name}`), name)
  })

  test('a database out of reach: exit 1', async t => {
    const site = new Workplace(t, {'Good.mjs': GOOD})
    const {code, stderr} = await site.drain('--db', 'no/such/folder/jobs.db')
    assert.equal(code, 1)
    assert.match(stderr, /^jobq: expected a folder for the database/)
  })
})
