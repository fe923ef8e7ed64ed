/** Which worker does which function, as `jobq work` finds it, and what it says where there is none. */
import assert from 'node:assert/strict'
import {mkdirSync, symlinkSync} from 'node:fs'
import {describe, test} from 'node:test'
import {Workplace} from '../support/workplace.ts'

/** A module that says which file it is. */
const says = (what: string) => `export default {work() { console.log('by ${what}') }}\n`
const shell = (what: string) => `#!/bin/sh\necho 'by ${what}'\n`
const told = (stderr: string) => stderr.match(/(?<= \| by ).*$/gm) ?? []

describe('the worker of a function', {concurrency: 2}, () => {
  test('a module of any kind, or an executable with an extension or without', async t => {
    const site = new Workplace(t, {
      'A.ts': `const x: string = 'A.ts'\nexport default {work() { console.log('by ' + x) }}`,
      'B.mts': says('B.mts'),
      'C.js': says('C.js'),
      'D.mjs': says('D.mjs'),
      'E.cjs': `module.exports = {work() { console.log('by E.cjs') }}`,
      F: shell('F'),
      'G.sh': shell('G.sh'),
      'H.old.pl': shell('H.old.pl'),
      'deep::er::I.ts': says('deep/er/I.ts'),
      'deep::J': shell('deep/J'),
      'My-Func_1.ts': says('My-Func_1.ts'),
      '하늘.ts': says('하늘.ts'),
      'v1.2.ts': says('v1.2.ts'),
    })
    const funcs = 'A B C D E F G H deep::er::I deep::J My-Func_1 하늘 v1.2'.split(' ')
    await site.enqueue(...funcs.map((func): [string] => [func]))
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    assert.deepEqual(told(stderr), [
      ...'A.ts B.mts C.js D.mjs E.cjs F G.sh H.old.pl deep/er/I.ts deep/J My-Func_1.ts 하늘.ts v1.2.ts'.split(
        ' ',
      ),
    ])
  })

  test('what begins with _ or a dot, types, data and node_modules are none', async t => {
    const site = new Workplace(t, {
      'A.ts': `import {word} from './_shared.ts'\nexport default {work() { console.log('by ' + word) }}`,
      '_shared.ts': `export const word = 'A'`,
      '_lib/also.ts': 'export const x = 1',
      '.hidden.ts': 'export const x = 1',
      'A.d.ts': 'export const x: number',
      'types.d.mts': 'export const x: number',
      'README.md': '# not a worker',
      'data.json': '{}',
      'node_modules/dep/index.js': 'exports.x = 1',
    })
    await site.enqueue(['A'])
    const {code, stderr} = await site.drain('--debug')
    assert.equal(code, 0, stderr)
    assert.deepEqual(told(stderr), ['A'])
    assert.doesNotMatch(stderr, /debug: (_|types|\.|README|data|node_modules)/)
  })

  test('--exec goes before the configuration, that before the folder, modules before executables', async t => {
    const site = new Workplace(t, {
      'A.ts': says('folder'),
      'B.ts': says('folder'),
      'C.ts': says('folder'),
      'D.ts': says('folder'),
      'E.ts': says('module'),
      E: shell('executable'),
      'F.js': says('js'),
      'F.ts': says('ts'),
      'G.sh': shell('G.sh'),
      G: shell('G'),
    })
    site.write('other/b.ts', says('configured file'))
    site.write('other/d.sh', shell('configured script'), 0o755)
    site.write(
      'jobq.config.json',
      JSON.stringify({
        workers: {A: 'other/b.ts', B: 'other/b.ts', C: 'echo by configured line', D: './other/d.sh'},
      }),
    )
    await site.enqueue(...[...'ABCDEFG'].map((func): [string] => [func]))
    const {code, stderr} = await site.drain('--exec', 'A=echo by exec')
    assert.equal(code, 0, stderr)
    assert.deepEqual(told(stderr), [
      'exec',
      'configured file',
      'configured line',
      'configured script',
      'module',
      'ts',
      'G',
    ])
  })

  test('the configuration means its own folder, wherever jobq is started', async t => {
    const site = new Workplace(t, {'A.ts': says('workers')})
    site.write('conf/workers/A.ts', says('beside the configuration'))
    site.write('conf/b.ts', says('configured file'))
    site.write('conf/c.sh', shell('configured script'), 0o755)
    site.write('conf/jobq.config.json', JSON.stringify({workers: {B: 'b.ts', C: './c.sh'}}))
    mkdirSync(site.path('conf/deeper'))
    await site.enqueue(['A'], ['B'], ['C'])
    const inFolder = await site.run(['work', '--drain'], {cwd: site.path('conf/deeper')})
    assert.deepEqual(told(inFolder.stderr), [
      'beside the configuration',
      'configured file',
      'configured script',
    ])
    await site.enqueue(['A'], ['B'])
    const config = site.path('conf/jobq.config.json')
    const named = await site.run(['work', '--drain', '--workers', 'workers'], {env: {JOBQ_CONFIG: config}})
    assert.deepEqual(told(named.stderr), ['workers', 'configured file'])
    await site.enqueue(['A'])
    const byEnvironment = await site.drain('--workers', site.path('conf/workers'))
    assert.deepEqual(told(byEnvironment.stderr), ['beside the configuration'])
    for (const workersDir of ['../workers', site.path('workers')]) {
      site.write('conf/jobq.config.json', JSON.stringify({workersDir}))
      await site.enqueue(['A'])
      const {stderr} = await site.run(['work', '--drain'], {cwd: site.path('conf')})
      assert.deepEqual(told(stderr), ['workers'])
    }
  })

  test('funcs with the names of Object’s own properties are functions like others', async t => {
    const site = new Workplace(t, {constructor: says('constructor'), toString: shell('toString')})
    site.write('jobq.config.json', JSON.stringify({funcs: {Other: {maxRetries: 1}}, workers: {}}))
    await site.enqueue(['constructor'], ['toString'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    assert.deepEqual(told(stderr), ['constructor', 'toString'])
  })

  test('folders that lead in a circle are walked once', async t => {
    const site = new Workplace(t, {'A.ts': says('A'), 'in::B.ts': says('B')})
    symlinkSync('..', site.path('workers/in/up'))
    symlinkSync('.', site.path('workers/here'))
    symlinkSync('nowhere', site.path('workers/dangling'))
    await site.enqueue(['A'], ['in::B'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    assert.deepEqual(told(stderr), ['A', 'B'])
  })

  test('jobq is importable where it is not installed, by modules of every kind', async t => {
    const site = new Workplace(t, {
      'A.ts': `import {defineWorker} from 'jobq'\nexport default defineWorker({work() { console.log('by A') }})`,
      'B.cjs': `const {defineWorker} = require('jobq')\nmodule.exports = defineWorker({work() { console.log('by B') }})`,
      'C.mjs': `export default {async work() {
        const {JobQueue} = await import('jobq')
        await using queue = await JobQueue.open()
        console.log('by C', (await queue.list()).length)
      }}`,
    })
    await site.enqueue(['A'], ['B'], ['C'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    assert.deepEqual(told(stderr), ['A', 'B', 'C 1'])
  })
})

describe('abilities', {concurrency: 2}, () => {
  test('none, or bare: all there are; else these', async t => {
    const site = new Workplace(t, {A: says('A'), B: says('B'), C: says('C')})
    const abc: [string][] = [['A'], ['B'], ['C']]
    const cases: [string[], NodeJS.ProcessEnv, string[]][] = [
      [['--drain', '--abilities'], {}, ['A', 'B', 'C']],
      [['--abilities', '--drain'], {}, ['A', 'B', 'C']],
      [['--drain', '--abilities', 'A,C'], {}, ['A', 'C']],
      [['--drain', '--abilities=C, A ,A'], {}, ['A', 'C']],
      [['--drain'], {JOBQ_ABILITIES: 'B'}, ['B']],
      [['--drain', '--abilities', 'C'], {JOBQ_ABILITIES: 'B'}, ['C']],
      [['--drain', '--abilities'], {JOBQ_ABILITIES: 'B'}, ['A', 'B', 'C']],
      [['--drain'], {JOBQ_ABILITIES: ''}, ['A', 'B', 'C']],
    ]
    for (const [flags, env, expected] of cases) {
      await site.enqueue(...abc)
      const {code, stderr} = await site.run(['work', ...flags], {env})
      assert.equal(code, 0, stderr)
      assert.deepEqual(told(stderr), expected, `${flags} ${JSON.stringify(env)}`)
      site.rows('DELETE FROM job')
    }
  })

  test('of the configuration', async t => {
    const site = new Workplace(t, {A: says('A'), B: says('B')})
    site.write('jobq.config.json', JSON.stringify({abilities: ['B']}))
    await site.enqueue(['A'], ['B'])
    const {stderr} = await site.drain()
    assert.deepEqual(told(stderr), ['B'])
  })

  test('one without a worker: exit 2, what was looked for and where, and nothing is grabbed', async t => {
    const site = new Workplace(t, {A: says('A')})
    await site.enqueue(['A'])
    const {code, stdout, stderr} = await site.drain('--abilities', 'A,My::Missing')
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(
      stderr,
      /^jobq: expected a worker for "My::Missing", found none: [^\n]*My\/Missing\.\{ts,mts,js,mjs,cjs\}/,
    )
    assert.ok(stderr.includes(site.path('workers')))
    assert.equal(stderr.trim().split('\n').length, 1)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
    const nowhere = await site.drain('--workers', 'nowhere')
    assert.equal(nowhere.code, 2)
    assert.match(nowhere.stderr, /^jobq: expected a worker, found none in \S+nowhere/)
  })

  test('a name never leads out of the folder', async t => {
    const site = new Workplace(t, {'a::b.ts': says('a/b'), 'A.ts': says('A')})
    site.write('out.ts', says('outside'))
    site.write('x.ts', says('outside'))
    site.write('workers/..x.ts', says('dots'))
    const names = [
      '..',
      '../out',
      'a/../../out',
      site.path('out'),
      '..::out',
      'a::..::..::out',
      '::out',
      'out::',
      '::',
      '.',
      '..x',
      'a/b',
      'a\\b',
      './A',
      '~',
      'a::.::b',
    ]
    await site.enqueue(...names.map((name): [string] => [name]))
    for (const name of names) {
      const {code, stdout, stderr} = await site.run(['work', '--drain', '--abilities', name])
      assert.equal(code, 2, `${name}: ${stderr}`)
      assert.equal(stdout, '')
      assert.match(stderr, /^jobq: expected a worker for "[^\n]*\n$/, name)
    }
    assert.equal((await site.drain('--abilities', '')).code, 2)
  })

  test('--exec that is none: exit 2', async t => {
    const site = new Workplace(t)
    for (const word of ['Notify', '=echo', 'Notify=']) {
      const {code, stderr} = await site.drain('--exec', word)
      assert.equal(code, 2)
      assert.match(stderr, /^jobq: --exec: expected FUNC=COMMAND, got "/)
    }
  })
})
