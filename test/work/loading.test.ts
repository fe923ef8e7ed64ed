/** Workers that can not be loaded: where they are wanted by name, one clear line, exit 2, and nothing is grabbed. */
import assert from 'node:assert/strict'
import {chmodSync, existsSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, mock, type TestContext, test} from 'node:test'
import {PoolChild} from '../../src/lib/work/executors/pool/pool-child.ts'
import type {JobLog} from '../../src/lib/work/log/log.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const TAB = '\t'

describe('a worker that can not be loaded', {concurrency: 2}, () => {
  const cases: [what: string, file: string, source: string, said: RegExp][] = [
    [
      'does not parse',
      'Bad.ts',
      'export default {\n  work( {\n}',
      /Bad\.ts:\d+ can't be loaded: .*(Expected|Unexpected)/,
    ],
    [
      'does not parse as JavaScript',
      'Bad.mjs',
      'export default {\n\n  work( {\n}',
      /Bad\.mjs:\d+ can't be loaded: Unexpected/,
    ],
    [
      'is TypeScript that Node does not run',
      'Bad.ts',
      'enum A {B}\nexport default {work() { return A.B }}',
      /Bad\.ts(:\d+)? can't be loaded: .*enum/,
    ],
    [
      'throws',
      'Bad.ts',
      `throw new Error('no key in\\nVAULT')`,
      /Bad\.ts(:\d+)? can't be loaded: no key in\\nVAULT/,
    ],
    ['throws what is no error', 'Bad.ts', 'throw null', /Bad\.ts can't be loaded: .*null/],
    [
      'imports what is not there',
      'Bad.ts',
      `import './missing.ts'`,
      /Bad\.ts can't be loaded: .*missing\.ts/,
    ],
    [
      'exports nothing',
      'Bad.ts',
      'export const a = 1',
      /Bad\.ts: expected a default export with work\(job\), got none/,
    ],
    [
      'exports a function',
      'Bad.ts',
      'export default () => {}',
      /Bad\.ts: expected a default export with work\(job\), got a function/,
    ],
    [
      'has a misspelt key',
      'Bad.ts',
      'export default {work() {}, maxRetrys: 3}',
      /Bad\.ts: unknown key maxRetrys \(did you mean maxRetries\?\)/,
    ],
    [
      'has a setting of the wrong kind',
      'Bad.ts',
      `export default {work() {}, grabFor: '5m'}`,
      /Bad\.ts: grabFor: expected a number, got "5m"/,
    ],
    [
      'has a setting out of range',
      'Bad.ts',
      'export default {work() {}, maxRetries: -1}',
      /Bad\.ts: maxRetries: expected a number from 0, got -1/,
    ],
    [
      'leaves its jobs no time',
      'Bad.ts',
      'export default {work() {}, grabFor: 0}',
      /Bad\.ts: grabFor: expected seconds above 0, got 0/,
    ],
    [
      'has a limit that is no whole number',
      'Bad.ts',
      'export default {work() {}, maxRunning: 1.5}',
      /Bad\.ts: maxRunning: expected a whole number from 0 to 4294967295, got 1\.5/,
    ],
    [
      'has a delay that goes down',
      'Bad.ts',
      `export default {work() {}, retryDelay: '1h..10s'}`,
      /Bad\.ts: retryDelay: expected a range to no less than it begins with, got "1h\.\.10s" \(a delay that doubles with each retry is written 10s\.\.1h\)/,
    ],
    [
      'has no such serializer',
      'Bad.ts',
      `export default {work() {}, serializer: 'MessagePack'}`,
      /Bad\.ts: serializer: expected json, msgpack or none, got "MessagePack"/,
    ],
    ['has no work', 'Bad.ts', 'export default {work: 7}', /Bad\.ts: work: expected a function, got 7/],
    [
      'exits',
      'Bad.ts',
      'process.exit(0)',
      /Bad\.ts can't be loaded: its process exited with status 0 meanwhile/,
    ],
    [
      'is killed',
      'Bad.ts',
      `console.error('last words'); process.kill(process.pid, 'SIGKILL')`,
      /Bad\.ts can't be loaded: its process was killed by SIGKILL meanwhile \(last words\)/,
    ],
  ]
  for (const [what, file, source, said] of cases)
    test(what, async t => {
      const site = new Workplace(t, {'Also.ts': 'export default {work() {}}', [file]: source})
      await site.enqueue(['Bad'], ['Also'])
      const {code, stdout, stderr} = await site.drain('--abilities', 'Bad,Also')
      assert.equal(code, 2, stderr)
      assert.equal(stdout, '')
      const lines = stderr
        .trim()
        .split('\n')
        .filter(line => !/ worker \| /.test(line))
      assert.equal(lines.length, 1, stderr)
      assert.match(lines[0]!, new RegExp(`^jobq: .*${said.source}`))
      assert.doesNotMatch(stderr, /node:internal|at file:/)
      assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0, 0])
    })

  test('is a module in a package that says it has none', async t => {
    const site = new Workplace(t, {'Bad.ts': `import 'node:fs'\nexport default {work() {}}`})
    const manifest = join(site.folder, 'package.json')
    writeFileSync(manifest, '{"type": "commonjs"}')
    await site.enqueue(['Bad'])
    const {code, stdout} = await site.drain('--json')
    assert.equal(code, 2)
    const {error} = JSON.parse(stdout.trim().split('\n').at(-1)!) // before it Node's own warning
    assert.match(error.message, /Bad\.ts:1 can't be loaded: Cannot use import statement outside a module/)
    assert.equal(
      error.hint,
      `${manifest} says "type": "commonjs": make it "module", or name the file Bad.mts`,
    )
    rmSync(manifest)
    assert.equal((await site.drain()).code, 0)
  })

  test('the same, as JSON', async t => {
    const site = new Workplace(t, {Bad: 'export default {work() {}, maxRetrys: 3}'})
    const {code, stdout, stderr} = await site.drain('--json')
    assert.equal(code, 2)
    assert.equal(stderr, '')
    const {error} = JSON.parse(stdout)
    assert.equal(error.code, 'BAD_WORKER')
    assert.equal(error.hint, 'did you mean maxRetries?')
  })

  test('an executable without its run bit, or without its interpreter', async t => {
    const site = new Workplace(t, {
      Script: '#!/bin/sh\n',
      'Other.sh': '#!/no/such/shell -e\n',
      'Env.py': '#!/usr/bin/env no-such-python\n',
      'Split.py': '#!/usr/bin/env -S no-such-python -u\n',
      'Windows.sh': '#!/bin/sh\r\n',
    })
    chmodSync(site.path('workers/Script'), 0o644)
    const funcs = ['Script', 'Other', 'Env', 'Split', 'Windows']
    await site.enqueue(...funcs.map((func): [string] => [func]))
    const cases: [string[], RegExp][] = [
      [
        ['--abilities', 'Script'],
        /expected an executable, but \S+workers\/Script has no run bit \(chmod \+x /,
      ],
      [
        ['--abilities', 'Other'],
        /expected \S+Other\.sh to be runnable, but its interpreter \/no\/such\/shell is missing/,
      ],
      [['--abilities', 'Env'], /Env\.py to be runnable, but its interpreter no-such-python is missing/],
      [['--abilities', 'Split'], /Split\.py to be runnable, but its interpreter no-such-python is missing/],
      [
        ['--abilities', 'Windows'],
        /Windows\.sh to be runnable, but its first line ends in a carriage return/,
      ],
      [[], /(no run bit|interpreter)/],
    ]
    for (const [flags, said] of cases) {
      const {code, stderr} = await site.drain(...flags)
      assert.equal(code, 2)
      assert.match(stderr, said)
      assert.equal(stderr.trim().split('\n').length, 1)
    }
    assert.deepEqual(site.column('SELECT DISTINCT grabbed_until FROM job'), [0])
  })

  test('an interpreter that env finds is fine, whatever env is told before', async t => {
    const site = new Workplace(t, {
      A: '#!/usr/bin/env sh\n',
      B: '#!/usr/bin/env -S sh -e\n',
      C: '#! /usr/bin/env -S X=1 sh\n',
      D: '#!/bin/sh -eu\n',
    })
    await site.enqueue(['A'], ['B'], ['C'], ['D'])
    const {code, stdout, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^4 completed/)
  })

  test('a setting in an executable’s head that is none', async t => {
    const cases: [string, RegExp][] = [
      ['max-retrys=3', /Bad: unknown setting "max-retrys=3"/],
      ['max-retries=x', /Bad: max-retries: expected a whole number/],
      ['grab-for=soon', /Bad: grab-for: expected a duration/],
      ['retry-delay=0..1h', /Bad: retry-delay: expected a range from 1s or more, got "0\.\.1h"/],
      ['retry-delay=1m..soon', /Bad: retry-delay: expected a duration such as 90, .*, got "soon"/],
    ]
    const site = new Workplace(t)
    for (const [word, said] of cases) {
      site.worker('Bad', `#!/bin/sh${'\n'.repeat(9)}#${TAB}jobq: ${word}\n`)
      const {code, stderr} = await site.drain()
      assert.equal(code, 2)
      assert.match(stderr, said)
    }
    for (const line of ['# jobq max-retries=2', '# Jobq: max-retries=2', 'set -e # jobq: set-job-status']) {
      site.worker('Bad', `#!/bin/sh\n${line}\n`)
      const {code, stderr} = await site.drain()
      assert.equal(code, 2)
      assert.ok(stderr.includes(`expected a line of settings, # jobq: max-retries=3, got "${line}"`), stderr)
    }
    site.worker('Bad', '#!/bin/sh\n# jobq: set-job-status\n# runs by jobq\n# jobq: max-retrys=3\n')
    assert.match(
      (await site.drain()).stderr,
      /unknown setting "max-retrys=3"/,
      'a second line is read as well',
    )
    site.worker('Bad', `#!/bin/sh${'\n'.repeat(10)}# jobq: max-retrys=3\n`)
    assert.equal((await site.drain()).code, 0, 'the eleventh line is just a comment')
  })

  test('what its import prints is in the log', async t => {
    const site = new Workplace(t, {
      Chatty: `console.log('hello'); console.error('there'); export default {work() {}}`,
    })
    await site.enqueue(['Chatty'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 0)
    assert.match(stderr, / worker \| hello$/m)
    assert.match(stderr, / worker \| there$/m)
  })
})

describe('one worker of several that is of no use', {concurrency: 2}, () => {
  const BAD: [name: string, source: string, said: RegExp][] = [
    [
      'Misspelt',
      `export default {work() {}, maxRetrys: 3}`,
      /Misspelt is left out: \S+Misspelt\.ts: unknown key maxRetrys \(did you mean maxRetries\?\)/,
    ],
    ['Unparsed', `export default {`, /Unparsed is left out: \S+Unparsed\.ts:\d+ can't be loaded/],
    [
      'Exits',
      `process.exit(3)`,
      /Exits is left out: \S+Exits\.ts can't be loaded: its process exited with status 3/,
    ],
    [
      'Script',
      `#!/bin/sh\n# jobq: max-retrys=3\n`,
      /Script is left out: \S+Script: unknown setting "max-retrys=3"/,
    ],
    [
      'Number',
      `#!/bin/sh\n# jobq: max-retries=x\n`,
      /Number is left out: \S+Number: max-retries: expected a whole number/,
    ],
  ]
  const setUp = (t: TestContext) => {
    const site = new Workplace(t, {
      ...Object.fromEntries(
        BAD.map(([func, source]) => [source.startsWith('#!') ? func : `${func}.ts`, source]),
      ),
      'Good.ts': `export default {work() {}}`,
      Shell: '#!/bin/sh\n',
    })
    site.write('workers/NoBit', '#!/bin/sh\n')
    site.write('workers/Empty', '', 0o755)
    return site
  }

  test('is left out and told, the others work; exit 2, unless a job failed', async t => {
    const site = setUp(t)
    await site.enqueue(['Good'], ['Shell'], ...BAD.map(([func]): [string] => [func]))
    const {code, stdout, stderr} = await site.drain()
    assert.equal(code, 2, stderr)
    assert.match(stdout, /^2 completed in /)
    for (const [, , said] of BAD) assert.equal(stderr.match(new RegExp(said, 'g'))?.length, 1, stderr)
    assert.match(
      stderr,
      /NoBit is left out: expected an executable, but \S+NoBit has no run bit \(chmod \+x /,
    )
    assert.match(stderr, /Empty is left out: expected an executable, but \S+Empty is empty \(write it /)
    assert.deepEqual(site.column('SELECT DISTINCT retry_cnt + grabbed_until FROM job'), [0])
    assert.equal(site.count('job'), BAD.length)
    assert.equal((await site.drain('--exec', 'Unparsed=exit 1')).code, 5)
    for (const [func] of BAD) {
      const named = await site.drain('--abilities', `Good,${func}`)
      assert.equal(named.code, 2)
      assert.doesNotMatch(named.stderr, /left out|completed/)
    }
  })

  test('comes back with a reload when it is mended, and one that breaks goes on as it was', async t => {
    const site = setUp(t)
    const work = site.work()
    await work.prints(/^jobq: works Good \(workers\/Good\.ts\), Shell \(workers\/Shell\) from /m)
    site.worker('Misspelt.ts', `export default {work() {}, maxRetries: 3}`)
    site.worker('Shell', '#!/bin/sh\n# jobq: max-retrys=3\n')
    await site.enqueue(['Misspelt'], ['Script'])
    work.kill('SIGHUP')
    await work.prints(/Misspelt completed/)
    await work.prints(/Shell goes on as it was: /)
    await site.enqueue(['Shell'])
    await work.prints(/Shell completed/)
    site.worker('Script', '#!/bin/sh\n')
    work.kill('SIGHUP')
    await work.prints(/Script completed/)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })
})

test('a worker that breaks in the midst of a drain ends it; one that waits for more goes on waiting', async t => {
  const site = new Workplace(t, {
    'Breaks.mjs': `import {rmSync} from 'node:fs'
      export default {work() { rmSync(import.meta.filename); process.exit(1) }}`,
    Shell: '#!/bin/sh\n',
  })
  await site.enqueue(['Breaks', {priority: 1}], ['Shell'])
  const drain = await site.drain()
  assert.equal(drain.code, 2)
  assert.match(drain.stderr, /^jobq: \S+Breaks\.mjs can't be loaded: Cannot find module/m)
  assert.match(drain.stderr, /1 Breaks died/)
  assert.deepEqual(site.column('SELECT grabbed_until FROM job WHERE priority = 1'), [0])
  site.worker(
    'Breaks.mjs',
    `import {rmSync} from 'node:fs'
    export default {work() { rmSync(import.meta.filename); process.exit(1) }}`,
  )
  const work = site.work()
  await work.prints(/Breaks\.mjs can't be loaded: .*; trying again later/)
  site.worker('Breaks.mjs', 'export default {work() {}}')
  await work.prints(/1 Breaks completed/)
  work.kill('SIGTERM')
  assert.equal((await work.exited).code, 0)
})

describe('an import that takes long', {concurrency: 3}, () => {
  const SLOW = `import {existsSync} from 'node:fs'
    while (!existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 5))
    if (existsSync(process.env.HOME + '/die')) process.exit(3)
    export default {work() {}}`
  const setUp = async (t: TestContext) => {
    const site = new Workplace(t, {
      'A.mjs': SLOW,
      'B.mjs': 'export default {work() {}}',
      'C.mjs': SLOW,
      Shell: '#!/bin/sh\n',
    })
    await site.enqueue(['A'], ['B'], ['C'], ['Shell'], ['B'])
    return site
  }

  for (const flags of [[], ['--prefetch', '10'], ['--max-workers', '3']])
    test(`does not keep the others from working, and is worked when it is there${flags.map(flag => ` ${flag}`).join('')}`, async t => {
      const site = await setUp(t)
      const work = site.work('--drain', ...flags)
      await work.prints(/5 B completed/)
      assert.deepEqual(site.column('SELECT id FROM job WHERE grabbed_until = 0 ORDER BY id'), [1, 3])
      site.write('go', '')
      const {code, stdout, stderr} = await work.exited
      assert.equal(code, 0, stderr)
      assert.match(stdout, /^5 completed in /)
      for (const func of ['A', 'C']) assert.match(stderr, new RegExp(`${func}.mjs is still loading`))
    })

  test('and is left out if it never is', async t => {
    const site = await setUp(t)
    const work = site.work('--drain')
    await work.prints(/5 B completed/)
    site.write('die', '')
    site.write('go', '')
    const {code, stdout, stderr} = await work.exited
    assert.equal(code, 2, stderr)
    assert.match(stdout, /^3 completed in /)
    assert.match(stderr, /A is left out: \S+A\.mjs can't be loaded: its process exited with status 3/)
    assert.match(stderr, /C is left out: /)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0, 0])
  })

  test('is told as left out if jobq ends before', async t => {
    const site = await setUp(t)
    const {code, stderr} = await site.drain('--max-jobs', '2')
    assert.equal(code, 2, stderr)
    for (const func of ['A', 'C']) assert.match(stderr, new RegExp(`${func} is left out: .* still loading`))
  })

  test('is begun anew by a HUP, though no child has loaded yet', async t => {
    const site = await setUp(t)
    const work = site.work('--abilities', 'A', '--debug')
    await work.prints(/child \d+ starts/)
    work.kill('SIGHUP')
    await until('another starts', () => (work.stderr.match(/child \d+ starts/g)?.length ?? 0) > 1)
    site.write('go', '')
    await work.prints(/1 A completed/)
    work.kill('SIGTERM')
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    assert.doesNotMatch(stderr, /can't be loaded/)
  })

  test('is waited for where it is named', async t => {
    const site = await setUp(t)
    const work = site.work('--drain', '--abilities', 'A,B')
    await work.prints(/A\.mjs is still loading/)
    site.write('go', '')
    const {stdout, stderr} = await work.exited
    assert.match(stdout, /^3 completed in /)
    assert.match(stderr, /A completed.*\n.*B completed/)
  })
})

test('a configuration that never ends loading at a HUP is told, and all goes on as it was', async t => {
  const site = new Workplace(t, {A: 'export default {work() {}}'})
  site.write('jobq.config.mjs', 'export default {maxWorkers: 1}')
  const work = site.work('--debug')
  await work.prints(/child \d+ starts/)
  site.write('jobq.config.mjs', 'await new Promise(() => {})\nexport default {}')
  work.kill('SIGHUP')
  await work.prints(/not reloaded yet: the configuration is still loading/)
  await site.enqueue(['A'])
  await work.prints(/1 A completed/)
  work.kill('SIGTERM')
  assert.equal((await work.exited).code, 0)
})

test('signals while all is being loaded do no harm; one that ends it does', async t => {
  const site = new Workplace(t, {A: 'export default {work() {}}'})
  site.write(
    'jobq.config.mjs',
    `import {writeFileSync, existsSync} from 'node:fs'
writeFileSync(process.env.HOME + '/loading', '')
while (!existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 5))
export default {}`,
  )
  const work = site.work('--debug')
  await until('it loads', () => existsSync(site.path('loading')))
  for (const signal of ['SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR1'] as const) work.kill(signal)
  site.write('go', '')
  await site.enqueue(['A'])
  await work.prints(/1 A completed/)
  assert.doesNotMatch(work.stderr, /Debugger/)
  work.kill('SIGTERM')
  assert.equal((await work.exited).code, 0)
})

describe('an import without an end', () => {
  test('is ended after half a minute, and named', async t => {
    const site = new Workplace(t)
    const file = site.write('workers/Loop.mjs', `console.log('looping'); for (;;) {}`)
    const said: string[] = []
    const told: string[] = []
    const log: JobLog = {
      isVerbose: false,
      ended() {},
      output: (_job, _stream, line) => {
        said.push(line)
        return null
      },
      trouble: message => told.push(message),
      pruned() {},
      debug() {},
    }
    mock.timers.enable({apis: ['setTimeout']})
    t.after(() => mock.timers.reset())
    const workers = [{func: 'Loop', file, settings: {}}]
    const toLoad = {workers, defaults: {}, extensions: null, measure: false, jobsPerChild: 1}
    const child = new PoolChild(toLoad, log, () => {})
    t.after(() => child.end())
    const refused = assert.rejects(child.loaded, {
      code: 'BAD_WORKER',
      message: `${file} was not loaded within 30 s`,
    })
    while (!said.includes('looping')) await new Promise(setImmediate)
    mock.timers.tick(2999)
    assert.deepEqual(told, [])
    mock.timers.tick(1)
    assert.deepEqual(told, [`${file} is still loading; it is waited for, 27 s more at most`])
    mock.timers.tick(26_999)
    assert.equal(child.state, 'starting')
    mock.timers.tick(1)
    await refused
    await child.gone
  })

  test('does not keep --max-time from ending jobq; it is told as left out, exit 2', async t => {
    const site = new Workplace(t, {Loop: `for (;;) {}`})
    await site.enqueue(['Loop'])
    const {code, stderr} = await site.drain('--max-time', '1')
    assert.equal(code, 2)
    assert.match(stderr, / jobq: Loop is left out: its worker was still loading$/m)
    assert.doesNotMatch(stderr, /was not loaded within/)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
  })

  test("a process that has not come to a file by then, or dies before: the machine's limit, no worker's fault", async t => {
    const site = new Workplace(t, {A: 'export default {work() {}}'})
    const log: JobLog = {
      isVerbose: false,
      ended() {},
      output: () => null,
      trouble() {},
      pruned() {},
      debug() {},
    }
    mock.timers.enable({apis: ['setTimeout']})
    t.after(() => mock.timers.reset())
    const workers = [{func: 'A', file: site.path('workers/A.ts'), settings: {}}]
    const child = new PoolChild(
      {workers, defaults: {}, extensions: null, measure: false, jobsPerChild: 1},
      log,
      () => {},
    )
    const refused = assert.rejects(child.loaded, {
      code: 'NO_PROCESS',
      message: "can't start a process for the workers (it did not start within 30 s)",
    })
    mock.timers.tick(30_000)
    await refused
    await child.gone
    mock.timers.reset()

    await site.enqueue(['A'])
    const stop = site.write('stop.cjs', `if (/child\\.cjs$/.test(process.argv[1])) process.abort()`)
    const env = {NODE_OPTIONS: `--require ${stop}`}
    const {code, stdout, stderr} = await site.run(['work', '--drain'], {env})
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(
      stderr,
      /^jobq: can't start a process for the workers \(it was killed by SIG[A-Z]+\) \(check the limits of this user: ulimit -n, ulimit -u\)$/m,
    )
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
  })

  test('a first child that dies before it comes to a file is started again', async t => {
    const site = new Workplace(t, {A: 'export default {work() {}}', Shell: '#!/bin/sh\n'})
    const stop = site.write(
      'stop.cjs',
      `const {existsSync, writeFileSync} = require('node:fs')
      const once = process.env.HOME + '/once'
      if (/child\\.cjs$/.test(process.argv[1]) && !existsSync(once)) {
        writeFileSync(once, '')
        process.abort()
      }`,
    )
    await site.enqueue(['A'], ['Shell'])
    const {code, stdout, stderr} = await site.run(['work', '--drain'], {
      env: {NODE_OPTIONS: `--require ${stop}`},
    })
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^2 completed in /)
    assert.match(
      stderr,
      /can't start a process for the workers \(it was killed by SIG[A-Z]+\); trying again later$/m,
    )
  })

  test('does not keep TERM from ending jobq at once', async t => {
    const site = new Workplace(t, {Loop: `console.log('pid', process.pid); for (;;) {}`})
    await site.enqueue(['Loop'])
    const work = site.work()
    const [, pid] = await work.prints(/worker \| pid (\d+)/)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
    await until('its child is gone', () => {
      try {
        return !process.kill(Number(pid), 0)
      } catch {
        return true
      }
    })
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
  })
})
