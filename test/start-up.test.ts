/**
 * What a start loads, help and version, and what an older Node does.
 */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {once} from 'node:events'
import {accessSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {describe, test} from 'node:test'
import {Home, printed} from './support/home.ts'
import {RUN_JS} from './support/jobq.ts'
import {assertOneLine} from './support/refusal.ts'
import {until} from './support/until.ts'

const ROOT = join(dirname(RUN_JS), '..')
const {version} = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string
}

describe('what is loaded', {concurrency: 4}, () => {
  /** Packages, modules of jobq by their place in dist/, and what of Node itself. */
  async function loads(
    home: Home,
    words: readonly string[],
    env: Record<string, string> = {},
  ): Promise<{packages: string[]; modules: string[]; builtins: string[]}> {
    const hook = `const {writeFileSync} = require('node:fs')
      const urls = []
      require('node:module').registerHooks({load: (url, context, next) => (urls.push(url), next(url, context))})
      process.on('exit', () => writeFileSync('loaded', JSON.stringify([urls, process.moduleLoadList])))`
    const NODE_OPTIONS = `--require ${home.write('hook.cjs', hook)}`
    assert.equal((await home.jobq(words, {env: {NODE_OPTIONS, ...env}})).code, 0)
    const [urls, builtins] = JSON.parse(home.read('loaded').toString()) as [string[], string[]]
    const packages = urls.flatMap(url => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [])
    const modules = urls.flatMap(url => /^(?!.*\/node_modules\/).*\/dist\/(.*)\.c?js$/.exec(url)?.[1] ?? [])
    assert.ok(modules.includes('lib/jobs'), 'the hook sees what is loaded')
    return {packages: [...new Set(packages)].sort(), modules, builtins}
  }

  /** None of a command's class, of what draws tables, and of what is `other` here. */
  function assertFew(modules: readonly string[], other: RegExp): void {
    const others = modules.filter(
      name => /^commands|^lib\/(base-command|render\/table)/.test(name) || other.test(name),
    )
    assert.deepEqual(others, [])
  }

  /** What Node loads when it is touched, and what it takes then. */
  const SLOW = /^NativeModule (stream|net|tty|perf_hooks|internal\/fs\/(promises|streams))$/

  /** Files of jobq. */
  const START = ['lib/cli/main', 'lib/rolldown-runtime', 'lib/jobs', 'lib/settings']
  /** better-sqlite3's JavaScript is within lib/sqlite. */
  const ENQUEUE = [...START, 'lib/sqlite']

  test('by --version: no package, and what starts', async t => {
    const {packages, modules} = await loads(new Home(t), ['--version'])
    assert.deepEqual([packages, modules], [[], START])
  })

  const words = ['--arg', '{}', '--priority', '5', '--uniqkey', 'k', '--delay', '5m', '--json']

  test('by the first enqueue: no package, what an enqueue needs, and what makes the database', async t => {
    const {packages, modules} = await loads(new Home(t), ['enqueue', 'F', '--db', 'jobs.db', ...words])
    assert.deepEqual(packages, [])
    assert.deepEqual(modules, [...ENQUEUE, 'lib/store/sqlite/file/make-file', 'lib/store/sqlite/schema'])
  })

  test('by any other enqueue: no package, and few files of jobq; of Node, nothing that is slow', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db'])
    home.write('arg', '{}')
    for (const more of [
      words,
      ['--arg-file', 'arg', '--if-absent', '--uniqkey=l'],
      ['--arg-file', '-', '--serializer', 'none'],
      ['--config', '/dev/null'],
    ]) {
      const {packages, modules, builtins} = await loads(home, ['enqueue', 'F', '--db', 'jobs.db', ...more])
      assert.deepEqual([packages, modules], [[], ENQUEUE])
      assert.ok(builtins.length > 50)
      assert.deepEqual(
        builtins.filter(name => SLOW.test(name)),
        [],
      )
    }
  })

  test('by an enqueue with MessagePack: what encodes it, too', async t => {
    const home = new Home(t)
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db'])
    const msgpack = ['--serializer', 'msgpack', '--arg', '{}']
    const {packages, modules} = await loads(home, ['enqueue', 'F', '--db', 'jobs.db', ...msgpack])
    assert.deepEqual([packages, modules.toSorted()], [[], [...ENQUEUE, 'lib/hooks'].toSorted()])
  })

  for (const [what, words, more] of [
    ['a configuration file', ['--db', 'jobs.db'], ['valibot']],
    ['several databases', ['--db', 'jobs.db', '--db', 'other.db'], []],
  ] as const)
    test(`by an enqueue with ${what}: no oclif, and nothing that draws or works`, async t => {
      const home = new Home(t)
      if (what === 'a configuration file') home.write('jobq.config.json', '{}')
      const {packages, modules} = await loads(home, ['enqueue', 'F', ...words])
      assert.deepEqual(packages, more)
      assertFew(modules, /^lib\/(looks|work|index|self-import|config\/load-error|cli\/(?!main$))/)
    })

  for (const words of [
    ['list'],
    ['list', '--failed', '--json'],
    ['stats'],
    ['status', '--json'],
    ['work', '--once', '--exec', 'F=true'],
  ])
    test(`by jobq ${words.join(' ')}: no oclif, and nothing that draws`, async t => {
      const home = new Home(t)
      assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'jobs.db']), printed(1))
      const {packages, modules} = await loads(home, [...words, '--db', 'jobs.db'])
      const others = /^(@oclif\/.*|chalk|cli-.*|mysql2|pg|@msgpack\/.*)$/
      assert.deepEqual(
        packages.filter(name => others.test(name)),
        [],
      )
      assertFew(modules, words[0] === 'work' ? /^lib\/(looks|index)/ : /^lib\/(work|dispatcher|index)/)
    })

  test('by jobq work, which stays: not what only an import of node:fs would load', async t => {
    const home = new Home(t)
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--db', 'jobs.db']), printed(1))
    const {builtins} = await loads(home, ['work', '--once', '--exec', 'F=true', '--db', 'jobs.db'])
    assert.ok(builtins.includes('NativeModule child_process'))
    assert.ok(!builtins.includes('NativeModule internal/fs/promises'))
  })

  test("by a job's child, of which there may be many: what runs a job, and no package", async t => {
    const home = new Home(t)
    home.write(
      'workers/F.mjs',
      `import {writeFileSync} from 'node:fs'
       import {createRequire} from 'node:module'
       export default {work: () => writeFileSync('files', Object.keys(createRequire('/').cache).join('\\n'))}`,
    )
    await home.jobq(['enqueue', 'F', '--db', 'jobs.db'])
    assert.equal((await home.jobq(['work', '--once', '--db', 'jobs.db'])).code, 0)
    const files = home
      .read('files')
      .toString()
      .split('\n')
      .map(file => file.replace(/^.*\/dist\/(.*)\.cjs$/, '$1'))
    const expected = [
      'lib/child',
      'lib/hooks',
      'lib/jobs',
      'lib/rolldown-runtime',
      'lib/work/executors/child',
    ]
    assert.deepEqual(files.sort(), expected)
  })

  test('by help: no database', async t => {
    const {packages} = await loads(new Home(t), ['enqueue', '--help'])
    assert.ok(packages.includes('@oclif/core') && !packages.includes('better-sqlite3'), packages.join())
  })
})

describe('help and version', {concurrency: 4}, () => {
  for (const words of [[], ['help'], ['--help'], ['-h']])
    test(`jobq ${words.join(' ')}: every command with its summary`, async t => {
      const {code, stdout, stderr} = await new Home(t).jobq(words)
      assert.deepEqual([code, stderr], [0, ''])
      assert.match(stdout, /USAGE\n {2}\$ jobq \[COMMAND\]/)
      for (const command of ['enqueue', 'work', 'list', 'retry', 'stats', 'init'])
        assert.match(stdout, new RegExp(`^  ${command} +\\S`, 'm'))
    })

  for (const words of [
    ['help', 'enqueue'],
    ['enqueue', '--help'],
    ['enqueue', '-h'],
    ['enqueue', 'F', '--arg', '1', '--help'],
  ])
    test(`jobq ${words.join(' ')}: every flag`, async t => {
      const home = new Home(t)
      const {code, stdout, stderr} = await home.jobq(words)
      assert.deepEqual([code, stderr, home.files()], [0, '', {}])
      const flags = [
        'arg',
        'arg-file',
        'args-from',
        'batch',
        'serializer',
        'uniqkey',
        'priority',
        'delay',
        'at',
      ]
      for (const flag of [...flags, 'if-absent', 'json', 'db', 'config'])
        assert.match(stdout, new RegExp(`--${flag}\\b`))
    })

  for (const words of [['--version'], ['-v']])
    test(`jobq ${words.join(' ')}`, async t => {
      const home = new Home(t)
      const platform = `${process.platform}-${process.arch}`
      assert.deepEqual(await home.jobq(words), printed(`jobq/${version} ${platform} node-${process.version}`))
      const {stdout} = await home.jobq([...words, '--json'])
      assert.deepEqual(JSON.parse(stdout), {name: 'jobq', version, platform, node: process.version})
    })
})

/** Nodes that are too old: this one with another version number, and one that really is, where there is one. */
const oldNodes: [what: string, command: string[]][] = [
  ['a Node that says it is older', [process.execPath, '--import', posing('20.20.2')]],
]
const reallyOld = (process.env.PATH ?? '')
  .split(':')
  .map(folder => join(folder, 'node'))
  .find(isOld)
if (reallyOld)
  oldNodes.push([`${execFileSync(reallyOld, ['--version'], {encoding: 'utf8'}).trim()}`, [reallyOld]])

for (const [what, node] of oldNodes)
  describe(`${what}: the checkout's own takes over`, {concurrency: 4}, () => {
    const command = [...node, RUN_JS]

    test('with words, standard input, output and exit status', async t => {
      const home = new Home(t)
      const words = ['enqueue', 'F', '--db', 'jobs.db', '--uniqkey', 'a b "c" $d', '--arg-file', '-']
      assert.deepEqual(await home.jobq(words, {command, stdin: '{"a":1.0}'}), printed(1))
      const [job] = home.jobs()
      assert.deepEqual([job?.uniqkey, job?.bytes?.toString()], ['a b "c" $d', '{"a":1.0}'])
      assertOneLine(await home.jobq(words, {command, stdin: '1'}), {exit: 3, says: ['is already waiting']})
      assertOneLine(await home.jobq(words, {command, stdin: '{'}), {exit: 2, says: ['expected JSON']})
      assert.equal((await home.jobq(['--version'], {command})).code, 0)
    })

    for (const part of ['index', 'testing'])
      test(`but the library can't: importing ${part} throws what it expects`, async t => {
        const script = `import(${JSON.stringify(join(ROOT, 'dist/lib', `${part}.cjs`))})
          .catch(({code, message}) => console.log(code, message))`
        const ended = await new Home(t).jobq([], {
          command: [...node, '--input-type=module', '--eval', script],
        })
        assert.match(
          ended.stdout,
          /^NODE_TOO_OLD expected Node\.js 22\.18 or later, got (18|20|22)\.[\d.]+\n$/,
        )
        assert.deepEqual([ended.code, ended.signal], [0, null])
      })

    test('with words that are not UTF-8, which are refused', async t => {
      const home = new Home(t)
      const script = 'exec "$@" "$(printf "caf\\\\351")"'
      const words = ['enqueue', 'F', '--db', 'jobs.db', '--serializer', 'none', '--arg']
      const ended = await home.jobq(words, {command: ['sh', '-c', script, 'sh', ...command]})
      assertOneLine(ended, {exit: 2, says: ['expected words in UTF-8']})
    })

    test('with a password in a word: neither of the two shows it', async t => {
      const home = new Home(t)
      const words = ['work', '--exec', 'F=true', '--db', 'mysql://u:hunter2@127.0.0.1:1/d']
      const work = home.start(words, {command})
      await until('it waits for the server', () => work.stderr.includes('trying again'))
      const lines = [work.pid, childOf(work.pid)].map(pid => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
      work.kill('SIGTERM')
      await once(work.child, 'close')
      for (const line of lines) {
        assert.match(line, /^jobq/)
        assert.doesNotMatch(line, /hunter2/)
      }
    })

    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      test(`with ${signal}`, async t => {
        const home = new Home(t)
        const worker = await working(home, command)
        worker.kill(signal)
        home.write('go', '')
        const [code] = await once(worker.child, 'close')
        assert.deepEqual([code, existsSync(home.path('finished'))], [0, true])
      })

    test('with Ctrl-C on a terminal, once', async t => {
      const home = new Home(t)
      const worker = await working(home, command, {tty: 'all', stdin: 'open'})
      worker.child.stdin!.write('\x03')
      await worker.prints(/ending: 1 running/)
      // What the older Node hands on it hands on in order: a second INT would have come before this
      process.kill(childOf(worker.pid), 'SIGHUP')
      await worker.prints(/reloading/)
      home.write('go', '')
      const [code] = await once(worker.child, 'close')
      assert.deepEqual([code, existsSync(home.path('finished'))], [0, true], worker.stdout)
    })

    test('with the signal that ends it', async t => {
      const home = new Home(t)
      const worker = await working(home, command)
      process.kill(childOf(worker.pid), 'SIGKILL')
      assert.deepEqual(await once(worker.child, 'close'), [null, 'SIGKILL'])
      home.write('go', '')
    })

    test('without one: one clear line', async t => {
      const home = new Home(t)
      mkdirSync(home.path('bin'))
      for (const file of ['run.js', 'package.json'])
        copyFileSync(join(dirname(RUN_JS), file), home.path(`bin/${file}`))
      home.write('package.json', '{"type": "module"}')
      const alone = [...node, home.path('bin/run.js')]
      const says = [/expected Node\.js 22\.18 or later, got \d+\.\d+\.\d+ \(install a current Node\.js/]
      assertOneLine(await home.jobq(['enqueue', 'F'], {command: alone}), {exit: 1, says})
      const {code, stdout, stderr} = await home.jobq(['enqueue', 'F', '--json'], {command: alone})
      assert.deepEqual([code, stderr, JSON.parse(stdout).error.code], [1, '', 'NODE_TOO_OLD'])
    })
  })

/** `jobq work` with a job that has begun and ends once there is a file `go`. */
async function working(home: Home, command: string[], options: Parameters<Home['start']>[1] = {}) {
  assert.equal((await home.jobq(['enqueue', 'F', '--db', 'jobs.db'])).code, 0)
  const script = 'touch begun; while [ ! -e go ] && [ -d "$PWD" ]; do sleep 0.01; done; touch finished'
  const worker = home.start(['work', '--debug', '--db', 'jobs.db', '--exec', `F=${script}`], {
    ...options,
    command,
  })
  await until('the job has begun', () => existsSync(home.path('begun')))
  return worker
}

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim())
}

function posing(old: string): string {
  const code = `Object.defineProperty(process, 'versions', {value: {...process.versions, node: '${old}'}})`
  return `data:text/javascript,${encodeURIComponent(code)}`
}

function isOld(node: string): boolean {
  try {
    accessSync(node, constants.X_OK)
    const [major = 0, minor = 0] = execFileSync(node, ['-p', 'process.versions.node'], {encoding: 'utf8'})
      .split('.')
      .map(Number)
    return major >= 18 && (major < 22 || (major === 22 && minor < 18))
  } catch {
    return false
  }
}
