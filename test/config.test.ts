/** jobq.config.*: where it is found, what wins over it, and what a mistake in it gets: file, line, key, what to do. */
import assert from 'node:assert/strict'
import {existsSync, mkdirSync, readFileSync, symlinkSync} from 'node:fs'
import {dirname, join, posix} from 'node:path'
import {describe, test} from 'node:test'
import {loadConfig} from '../src/lib/config/settings.ts'
import {Home, printed} from './support/home.ts'
import {RUN_JS} from './support/jobq.ts'
import {assertRefused, usage} from './support/refusal.ts'

describe('a configuration', () => {
  const written: [file: string, text: string][] = [
    ['jobq.config.json', '{"db": "here.db"}'],
    ['jobq.config.json', '\uFEFF{"db": ["here.db"]}'],
    ['jobq.config.js', `export default {db: 'here.db'}`],
    ['jobq.config.js', `module.exports = {db: 'here.db'}`],
    ['jobq.config.mjs', `import {defineConfig} from 'jobq'\nexport default defineConfig({db: 'here.db'})`],
    [
      'jobq.config.ts',
      `import {defineConfig} from 'jobq'\nexport default defineConfig({db: 'here.db' as string})`,
    ],
    ['jobq.config.mts', `const db: string = await Promise.resolve('here.db')\nexport default {db}`],
  ]
  for (const [file, text] of written)
    test(`${file}, ${text.slice(0, 30).trim()}…: read, without a word`, async t => {
      const home = new Home(t)
      home.write(file, text)
      assert.deepEqual(await home.jobq(['enqueue', 'F']), printed(1))
      assert.equal(home.jobs('here.db').length, 1)
    })

  test('in TypeScript, in a folder of a package that says nothing of modules: read, without a word', async t => {
    const home = new Home(t)
    home.write('package.json', '{"name": "app"}')
    home.write(
      'jobq.config.ts',
      `import {defineConfig} from 'jobq'\nexport default defineConfig({db: 'here.db'})`,
    )
    assert.deepEqual(await home.jobq(['enqueue', 'F']), printed(1))
  })

  test('takes every setting, by its own name and by the Perl one', async t => {
    const home = new Home(t)
    const settings = {
      abilities: ['A::B'],
      workersDir: 'workers',
      workers: {F: 'f.ts', ['🦉'.repeat(255)]: 'g'},
      funcs: {
        F: {maxRetries: 3, retryDelay: '10s..1h', grabFor: 60, setJobStatus: true, serializer: 'msgpack'},
      },
      maxWorkers: 4,
      minSpareWorkers: 1,
      maxSpareWorkers: 2,
      maxRequestPerChild: 30,
      jobsPerChild: 50,
      workDelay: 0.5,
      maxJobs: 100,
      maxTime: '1h',
      shutdownTimeout: 30,
      adminHost: '127.0.0.1',
      adminPort: 24464,
      debug: false,
    }
    home.write('camel.json', JSON.stringify({db: 'here.db', ...settings}))
    const snake = JSON.stringify({db: 'here.db', ...settings}).replace(/(?<=")[a-z]+[A-Z]\w+(?=":)/g, key =>
      key.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`),
    )
    assert.match(snake, /"max_request_per_child":30.*|"set_job_status":true/)
    home.write('snake.json', snake)
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--config', 'camel.json']), printed(1))
    assert.deepEqual(await home.jobq(['enqueue', 'F', '--config', 'snake.json']), printed(2))
  })
})

test("Qudo's block as it stands in Perl's files, 1 and 0 and the Manager's own spelling: taken", async t => {
  const home = new Home(t)
  const block = {max_request_par_child: 7, auto_load_worker: 1, debug: 0, fair: 1}
  const read = (name: string, more: object) =>
    loadConfig(home.write(name, JSON.stringify({db: 'here.db', ...block, ...more})))
  const rest = {db: 'here.db', maxRequestPerChild: 7, debug: false, fair: true}
  assert.deepEqual(await read('on.json', {admin: 1}), {...rest, adminPort: 24464})
  assert.deepEqual(await read('port.json', {admin: 1, admin_port: 9}), {...rest, adminPort: 9})
  assert.deepEqual(await read('off.json', {admin: 0, admin_host: '192.0.2.1', admin_port: 1}), rest)
  assert.deepEqual(await read('func.json', {funcs: {F: {set_job_status: 1}}}), {
    ...rest,
    funcs: {F: {setJobStatus: true}},
  })
  assert.deepEqual(await home.jobq(['enqueue', 'F', '--config', 'on.json']), printed(1))
  const {code, stderr} = await home.jobq(['work', '--drain', '--exec', 'F=true', '--config', 'off.json'])
  assert.equal(code, 0, stderr) // were the admin port on, it could not listen
})

test('durations as text: of several units, and weeks', async t => {
  const config = {maxTime: '1h30m', hookTimeout: '90', funcs: {F: {retryDelay: '2w'}}}
  assert.deepEqual(await loadConfig(new Home(t).write('durations.json', JSON.stringify(config))), {
    maxTime: 5400,
    hookTimeout: 90,
    funcs: {F: {retryDelay: 1_209_600}},
  })
})

test('retention: durations, and nothing else', async t => {
  const home = new Home(t)
  const write = (retention: unknown) => home.write('retention.json', JSON.stringify({retention}))
  assert.deepEqual(await loadConfig(write({failed: '90d', finished: 3600})), {
    retention: {failed: 7_776_000, finished: 3600},
  })
  assert.deepEqual(await loadConfig(write({})), {retention: {}})
  for (const [retention, says] of [
    [{failed: 'long'}, 'retention.failed: expected seconds (a whole number) or'],
    [{finished: -1}, 'retention.finished: expected seconds (a whole number) or'],
    [{finished: null}, 'retention.finished: expected'],
    [{faild: '90d'}, 'unknown key retention.faild'],
    ['90d', 'retention: expected an object'],
    [[], 'retention: expected an object, got an array'],
  ] as const)
    await assert.rejects(loadConfig(write(retention)), {
      message: new RegExp(says.replace(/[().]/g, '\\$&')),
    })
  await assert.rejects(loadConfig(write({faild: 1})), {
    hint: 'did you mean failed? Known are failed, finished',
  })
})

test('functions that are named as what all objects have: taken, in JSON and in modules', async t => {
  const home = new Home(t)
  const names = ['constructor', '__proto__', 'prototype', 'toString']
  const byName = (value: unknown) => Object.fromEntries(names.map(name => [name, value]))
  const config = {db: 'c.db', workers: byName('true'), funcs: byName({setJobStatus: true})}
  home.write('c.json', JSON.stringify(config))
  home.write('c.mjs', `export default JSON.parse('${JSON.stringify(config)}')`)
  for (const file of ['c.mjs', 'c.json']) {
    for (const name of names) assert.equal((await home.jobq(['enqueue', name, '--config', file])).code, 0)
    const {code, stderr} = await home.jobq(['work', '--drain', '--config', file])
    assert.equal(code, 0, stderr)
    for (const name of names) assert.ok(stderr.includes(` ${name} completed`), stderr)
  }
  const finished = JSON.parse(
    (await home.jobq(['list', '--finished', '--json', '--config', 'c.json'])).stdout,
  )
  assert.equal(finished.length, 8)
})

describe('which one', () => {
  test('of the flag, JOBQ_DB, the configuration and the default: the first that is given', async t => {
    const home = new Home(t)
    home.write('jobq.config.json', '{"db": "config.db"}')
    const env = {JOBQ_DB: 'env.db'}
    assert.equal((await home.jobq(['enqueue', 'F', '--db', 'flag.db'], {env})).code, 0)
    assert.equal(existsSync(home.path('env.db')), false)
    assert.equal((await home.jobq(['enqueue', 'F'], {env})).code, 0)
    assert.equal(existsSync(home.path('config.db')), false)
    assert.equal((await home.jobq(['enqueue', 'F'], {env: {JOBQ_DB: ''}})).code, 0)
    for (const db of ['flag.db', 'env.db', 'config.db']) assert.equal(home.jobs(db).length, 1)
    assert.equal(existsSync(home.path('data/jobq/jobq.db')), false)
    assert.equal((await home.jobq(['enqueue', 'F', '--config', home.write('none.json', '{}')])).code, 0)
    assert.equal(home.jobs('data/jobq/jobq.db').length, 1)
  })

  test('of --config, JOBQ_CONFIG and the one that is found: the first that is given', async t => {
    const home = new Home(t)
    for (const name of ['found', 'env', 'flag'])
      home.write(`${name}/jobq.config.json`, `{"db": "${name}.db"}`)
    const cwd = home.path('found')
    const env = {JOBQ_CONFIG: '../env/jobq.config.json'}
    const flag = ['--config', '../flag/jobq.config.json']
    assert.equal((await home.jobq(['enqueue', 'F', ...flag], {cwd, env})).code, 0)
    assert.equal((await home.jobq(['enqueue', 'F'], {cwd, env})).code, 0)
    assert.equal((await home.jobq(['enqueue', 'F'], {cwd, env: {JOBQ_CONFIG: ''}})).code, 0)
    // A relative database is beside its configuration
    for (const name of ['found', 'env', 'flag']) assert.equal(home.jobs(`${name}/${name}.db`).length, 1)
  })

  test('found in a folder above; --db is from here, the configuration from there', async t => {
    const home = new Home(t)
    home.write('app/jobq.config.mjs', `export default {db: './data.db'}`)
    mkdirSync(home.path('app/src/deep'), {recursive: true})
    const cwd = home.path('app/src/deep')
    assert.equal((await home.jobq(['enqueue', 'F'], {cwd})).code, 0)
    assert.equal((await home.jobq(['enqueue', 'F', '--db', 'here.db'], {cwd})).code, 0)
    assert.equal(home.jobs('app/data.db').length, 1)
    assert.equal(home.jobs('app/src/deep/here.db').length, 1)
  })

  test('the nearest; in one folder TypeScript before JavaScript before JSON', async t => {
    const home = new Home(t)
    home.write('jobq.config.json', '{"db": "far.db"}')
    for (const ext of ['json', 'mjs', 'js', 'mts', 'ts']) {
      const text = ext === 'json' ? '{"db": "json.db"}' : `export default {db: '${ext}.db'}`
      home.write(`near/jobq.config.${ext}`, text)
      assert.equal((await home.jobq(['enqueue', 'F'], {cwd: home.path('near')})).code, 0)
      assert.equal(home.jobs(`near/${ext}.db`).length, 1)
    }
    assert.equal(existsSync(home.path('far.db')), false)
  })

  test('with a password: it is not in a message about its database', async t => {
    const home = new Home(t)
    home.write('jobq.config.json', '{"db": "mysql://u:hunter2@127.0.0.1:99999/d"}')
    const says = [`${home.path('jobq.config.json')}: db: expected a URL of mysql, got one that can't be read`]
    await assertRefused(home, ['enqueue', 'F'], usage(...says))
    assert.doesNotMatch((await home.jobq(['enqueue', 'F'])).stderr, /hunter2/)
  })
})

describe('a broken file: refused', () => {
  const ts = `import {defineConfig} from 'jobq'\n`
  const broken: [what: string, file: string, text: string, says: string[]][] = [
    [
      'JSON cut off',
      'json',
      '{\n"db":"c.db"',
      [':2: expected JSON, got text that ends too early, at line 2'],
    ],
    ['a trailing comma', 'json', '{"db":"c.db",\n}', [':2: expected JSON, got a mistake at line 2 column 1']],
    ['no JSON', 'json', '', [':1: expected JSON, got nothing']],
    [
      'JavaScript cut off',
      'js',
      `\nexport default {\n  db: 'c.db',`,
      [":3 can't be loaded: Unexpected end of input"],
    ],
    ['a mistake in JavaScript', 'mjs', `export default {\n  db 'c.db'}`, [":2 can't be loaded: "]],
    ['a mistake in TypeScript', 'ts', `${ts}const x: = 3\nexport default {}`, [":2 can't be loaded: "]],
    ['TypeScript to compile', 'ts', `${ts}\nenum A {b}\nexport default {}`, [':3', 'enum is not supported']],
    ['what throws', 'js', `\n\nthrow new Error('boom\\nsecond line')`, [":3 can't be loaded: boom"]],
    [
      'what throws far down',
      'mjs',
      `const f = () => null.db\nexport default f()`,
      [":1 can't be loaded: Cannot"],
    ],
    ['what throws no error', 'js', `throw 'boom'`, [" can't be loaded: boom"]],
    ['what throws nothing', 'js', `throw null`, [" can't be loaded: null"]],
    [
      'an import of nothing',
      'mjs',
      `import 'nope'\nexport default {}`,
      [" can't be loaded: Cannot find package 'nope'"],
    ],
    [
      'an export that is not there',
      'ts',
      `import {nope} from 'jobq'\nexport default nope`,
      [":1 can't be loaded: "],
    ],
    [
      'no default export',
      'js',
      `export const db = 'c.db'`,
      [': expected a default export, got none', 'defineConfig({'],
    ],
    [
      'a function',
      'js',
      `export default () => ({})`,
      [': the configuration: expected an object, got a function'],
    ],
    ['an array', 'json', '[]', [': the configuration: expected an object, got an array']],
    ['null', 'json', 'null', [': the configuration: expected an object, got null']],
    ['text', 'json', '"c.db"', [': the configuration: expected an object, got "c.db"']],
  ]
  for (const [what, ext, text, says] of broken)
    test(what, async t => {
      const home = new Home(t)
      const file = home.write(`jobq.config.${ext}`, text)
      const [first = '', ...more] = says
      await assertRefused(home, ['enqueue', 'F', '--db', 'a.db'], badConfig(file + first, ...more))
    })

  test('one that is not there, by --config and JOBQ_CONFIG', async t => {
    const home = new Home(t)
    const refusal = badConfig(`expected a configuration file, but ${home.path('nope.ts')} does not exist`)
    await assertRefused(home, ['enqueue', 'F', '--config', 'nope.ts'], refusal)
    await assertRefused(home, ['enqueue', 'F'], refusal, {env: {JOBQ_CONFIG: 'nope.ts'}})
  })

  test('a folder, no name, a kind of file that is not known', async t => {
    const home = new Home(t)
    mkdirSync(home.path('jobq.config.json'))
    home.write('c.yaml', 'db: c.db')
    await assertRefused(
      home,
      ['enqueue', 'F'],
      badConfig("jobq.config.json can't be read (it is no ordinary file"),
    )
    await assertRefused(
      home,
      ['enqueue', 'F', '--config', ''],
      badConfig('--config: expected a file, got an empty'),
    )
    await assertRefused(
      home,
      ['enqueue', 'F', '--config', 'c.yaml'],
      badConfig('Unknown file extension ".yaml"'),
    )
  })

  test('a device that never ends', async t => {
    const home = new Home(t)
    // A limit for who reads it all the same
    const command = ['sh', '-c', 'ulimit -d 4000000; exec "$@"', 'sh', process.execPath, RUN_JS]
    for (const [words, env] of [
      [['--config', '/dev/zero'], {}],
      [[], {JOBQ_CONFIG: '/dev/zero'}],
    ] as const)
      await assertRefused(
        home,
        ['list', ...words],
        badConfig("/dev/zero can't be read (it is no ordinary file)", 'name another with --config'),
        {command, env},
      )
  })

  test('one that awaits for ever: exit 1, not 0', async t => {
    const home = new Home(t)
    home.write('jobq.config.js', 'await new Promise(() => {})\nexport default {}')
    const refusal = {exit: 1, code: 'UNFINISHED', says: ['ended before it was done', 'a configuration file']}
    await assertRefused(home, ['enqueue', 'F'], refusal, {command: [process.execPath, RUN_JS]})
  })
})

describe('a setting that is not right: refused, with file, line and key', () => {
  const lines = (...texts: string[]) => texts.join('\n')
  const wrong: [what: string, ext: string, text: string, line: number, says: string[]][] = [
    ['a misspelt key', 'json', '{\n"dbb": "c.db"}', 2, ['unknown key dbb', 'did you mean db?']],
    [
      'a misspelt key in TypeScript, the word in a comment before',
      'ts',
      lines(
        `import {defineConfig} from 'jobq'`,
        '// maxWorker',
        'export default defineConfig({',
        '  maxWorker: 3,',
        '})',
      ),
      4,
      ['unknown key maxWorker', 'did you mean maxWorkers?'],
    ],
    ['a misspelt Perl key', 'json', '{\n\n"max_worker": 3}', 3, ['unknown key max_worker', 'maxWorkers?']],
    [
      'a misspelt key of a function',
      'json',
      lines('{"funcs": {', '"maxretry": {"max_retries": 1},', '"F": {', '"maxretry": 3}}}'),
      4,
      ['unknown key funcs.F.maxretry', 'did you mean maxRetries? Known are maxRetries, retryDelay'],
    ],
    [
      'a shorthand',
      'js',
      `const dbs = 1\nexport default {\n dbs}`,
      3,
      ['unknown key dbs', 'did you mean db?'],
    ],
    ['a key of all objects', 'json', '{"__proto__": {}}', 1, ['unknown key __proto__']],
    [
      'a number for a database',
      'json',
      '{"db": 3}',
      1,
      ['db: expected a database, or an array of them, got 3'],
    ],
    ['no database at all', 'json', '{"db": []}', 1, ['db: expected at least one database, got none']],
    [
      'a delay that goes down',
      'json',
      '{"funcs": {"F": {\n"retryDelay": "1h..10s"}}}',
      2,
      [
        'funcs.F.retryDelay: expected seconds (a whole number), a duration',
        'or two of them such as "10s..1h"',
      ],
    ],
    ['text for a number', 'json', '{"maxWorkers": "3"}', 1, ['maxWorkers: expected a number, got "3"']],
    [
      'a fraction',
      'json',
      '{"max_workers": 3.5}',
      1,
      ['max_workers: expected a whole number from 1, got 3.5'],
    ],
    ['too few', 'json', '{"max_workers": 0}', 1, ['max_workers: expected at least 1, got 0']],
    ['too many', 'json', '{"maxWorkers": 99999999}', 1, ['maxWorkers: expected at most 10000, got 99999999']],
    [
      "Perl's port",
      'json',
      '{"admin_port": 90000}',
      1,
      ['admin_port: expected at most 65535, got 90000', '24464'],
    ],
    ['text for yes', 'json', '{"debug": "yes"}', 1, ['debug: expected true or false, got "yes"']],
    ['one name for a list', 'json', '{"abilities": "F"}', 1, ['abilities: expected an array, got "F"']],
    ['a list for an object', 'json', '{"funcs": []}', 1, ['funcs: expected an object, got an array']],
    [
      'no duration',
      'json',
      '{"maxTime": "5x"}',
      1,
      ['maxTime: expected seconds (a whole number) or a duration'],
    ],
    [
      'a serializer that is none',
      'json',
      '{"funcs": {"F": {"serializer": "xml"}}}',
      1,
      ['one of "json", "msgpack", "none", got "xml"'],
    ],
    ['a function without settings', 'json', '{"funcs": {"F": 3}}', 1, ['funcs.F: expected an object, got 3']],
    [
      'a function without a name',
      'json',
      '{"workers": {"": "x"}}',
      1,
      ['expected a function name of 1 to 255'],
    ],
    ['a switch that is neither', 'json', '{"admin": 2}', 1, ['admin: expected true or false, got 2']],
    [
      "the Manager's own spelling, and text",
      'json',
      '{"max_request_par_child": "30"}',
      1,
      ['max_request_par_child: expected a number, got "30"'],
    ],
    [
      'settings of a function of any name',
      'json',
      '{"funcs": {"__proto__":\n{"maxRetriess": 1}}}',
      2,
      ['unknown key funcs.__proto__.maxRetriess', 'did you mean maxRetries?'],
    ],
    [
      'an entry that JavaScript takes for the prototype',
      'js',
      'export default {\nfuncs: {\n__proto__: {\nmaxRetries: 1}}}',
      4,
      ["funcs.maxRetries: expected an entry of the object's own", "write ['__proto__']: …"],
    ],
    [
      'the same around all',
      'mjs',
      `export default {__proto__: {\ndb: 'c.db'}}`,
      2,
      ["db: expected an entry of the object's own, got one of its prototype"],
    ],
    ['a worker that is no path', 'json', '{"workers": {"F": 3}}', 1, ['workers.F: expected text, got 3']],
  ]
  for (const [what, ext, text, line, says] of wrong)
    test(what, async t => {
      const home = new Home(t)
      const file = home.write(`jobq.config.${ext}`, text)
      await assertRefused(home, ['enqueue', 'F', '--db', 'a.db'], badConfig(`${file}:${line}: `, ...says))
    })

  for (const [db, says] of [
    ['""', 'expected a database, got an empty one'],
    ['"oracle://h/d"', 'expected a database, got one of an unknown kind, "oracle:"'],
    ['["a.db", "dbi:X:"]', 'expected a DSN of SQLite, mysql, MariaDB or Pg, got "dbi:X:"'],
  ] as const)
    test(`a database that is none, ${db}`, async t => {
      const home = new Home(t)
      const file = home.write('jobq.config.json', `{"db": ${db}}`)
      await assertRefused(home, ['enqueue', 'F'], usage(`${file}: db: ${says}`))
    })
})

test('jobq is importable where it is not installed, and is the very one that runs', async t => {
  const home = new Home(t)
  const text = `import * as jobq from 'jobq'
    if (jobq.JobQueue.name !== 'JobQueue' || typeof jobq.defineWorker !== 'function') throw new Error('not all there')
    export default jobq.defineConfig({db: 'here.db'})`
  home.write('jobq.config.ts', text)
  assert.deepEqual(await home.jobq(['enqueue', 'F']), printed(1))
  // Through a link in another folder, as npm makes it for a global installation
  symlinkSync(RUN_JS, home.path('jobq'))
  assert.deepEqual(
    await home.jobq(['enqueue', 'F'], {command: [process.execPath, home.path('jobq')]}),
    printed(2),
  )
  home.write(
    'cjs/jobq.config.js',
    `const {defineConfig} = require('jobq')\nmodule.exports = defineConfig({db: 'c.db'})`,
  )
  assert.deepEqual(await home.jobq(['enqueue', 'F'], {cwd: home.path('cjs')}), printed(1))
})

test('so is every part of it that the package exports', async t => {
  const home = new Home(t)
  const {exports} = JSON.parse(readFileSync(join(dirname(RUN_JS), '../package.json'), 'utf8'))
  const parts = Object.keys(exports).filter(part => part !== './package.json')
  assert.ok(parts.length > 1)
  const imports = parts.map(part => `import '${posix.join('jobq', part)}'\n`)
  home.write('jobq.config.mjs', `${imports.join('')}export default {db: 'here.db'}`)
  assert.deepEqual(await home.jobq(['enqueue', 'F']), printed(1))
})

function badConfig(...says: string[]) {
  return {exit: 2, code: 'BAD_CONFIG', says}
}
