/**
 * Who may import whom, as docs/ has it: each module knows what it needs and no more. And SQL is in the store only.
 */
import assert from 'node:assert/strict'
import {readdirSync, readFileSync} from 'node:fs'
import {posix} from 'node:path'
import {describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'

const SRC = fileURLToPath(new URL('../src', import.meta.url))

/** Modules that stand on nothing but each other: whoever is above them may use them. */
const LEAVES = [
  'lib/clock',
  'lib/closest',
  'lib/errors',
  'lib/here',
  'lib/inspected',
  'lib/job',
  'lib/names',
  'lib/node-version',
  'lib/own-files',
  'lib/passwords',
  'lib/printable',
  'lib/serializers',
  'lib/time',
]
/** What an application may give, checked and encoded: these, too, stand on nothing but each other and the leaves. */
const DOOR = ['lib/describe', 'lib/encode', 'lib/holdable', 'lib/messagepack', 'lib/new-job', 'lib/options']
/** The library without the store, the work, and what is the command line's. */
const LIBRARY = [
  'lib/*',
  '-lib/base-command',
  '-lib/render*',
  '-lib/cli/*',
  '-lib/store/*',
  '-lib/work/*',
  'node:*',
]
const SCREEN = ['@oclif/core/*', 'chalk', 'cli-table3', 'cli-progress']

/**
 * The first rule whose `of` fits a file says all it may import: modules of src and packages, `*` for any text.
 * `type X`: X's types only. `await X`: by `await import` only, so that it is loaded when it is needed. `-X`: not X.
 */
const RULES: readonly {of: string; may: readonly string[]}[] = [
  {of: 'lib/clock', may: []},
  {of: 'lib/errors', may: []},
  {of: 'lib/closest', may: ['node:module', 'type fastest-levenshtein']},
  {of: 'lib/here', may: ['lib/errors', 'node:*']},
  {of: 'lib/inspected', may: []},
  {of: 'lib/node-version', may: ['lib/errors']},
  {of: 'lib/own-files', may: ['node:*']},
  {of: 'lib/place', may: []},
  {of: 'lib/self-import', may: ['lib/place', 'node:*']},
  {of: 'lib/job', may: []},
  {of: 'lib/printable', may: []},
  {of: 'lib/names', may: LEAVES},
  {of: 'lib/passwords', may: []},
  {of: 'lib/time', may: LEAVES},
  {of: 'lib/serializers', may: [...LEAVES, 'node:*', 'await @msgpack/msgpack', 'await lib/encode']},

  {of: 'lib/store/store', may: ['type lib/job']},
  {of: 'lib/store/lease-clock', may: ['lib/clock']},
  {of: 'lib/store/silence', may: ['lib/errors', 'node:*']},
  {of: 'lib/store/keys', may: ['type lib/job']},
  {of: 'lib/store/peer', may: []},
  {of: 'lib/store/spool', may: ['lib/clock', 'lib/errors', 'type lib/job', 'node:*']},
  {of: 'lib/store/address', may: ['lib/errors', 'lib/here', 'lib/store/dsn', 'node:*']},
  {of: 'lib/store/dsn', may: ['lib/errors']},
  {
    of: 'lib/store/open',
    may: [
      'lib/errors',
      'lib/store/address',
      'type lib/store/store',
      'await lib/store/several',
      'await lib/store/distinct',
      ...drivers('await'),
    ],
  },
  {
    of: 'lib/store/several*',
    may: [
      'lib/clock',
      'lib/errors',
      'lib/job',
      'lib/store/merge',
      'lib/store/several-*',
      'type lib/store/address',
      'type lib/store/store',
    ],
  },
  {of: 'lib/store/merge', may: ['lib/job']},
  {of: 'lib/store/distinct', may: ['lib/errors', 'lib/store/address', 'node:*']},
  driver('sqlite', 'better-sqlite3'),
  driver('mysql', 'mysql2*'),
  driver('postgres', 'pg*'),

  // The only door to the store: all others get a Store handed in, and know its type
  {
    of: 'lib/queue',
    may: [
      ...LIBRARY,
      'lib/store/open',
      'lib/store/address',
      'type lib/store/store',
      'await lib/work/inline',
      'type lib/work/accounts',
    ],
  },
  {
    of: 'lib/index',
    may: [...LIBRARY, 'type lib/store/store', 'type lib/work/inline', 'type lib/work/accounts'],
  },
  {of: 'lib/work/*', may: [...LIBRARY, 'lib/work/*', 'type lib/store/store']},
  {
    of: 'lib/config*',
    may: [
      ...LEAVES,
      'lib/config*',
      'lib/store/address',
      'await lib/load-default',
      'type lib/hooks',
      'type lib/support',
      'node:*',
      'valibot',
    ],
  },
  {of: 'lib/render/table', may: [...LEAVES, 'node:*', ...SCREEN]},
  // Tables and colours are loaded only when one is drawn
  {
    of: 'lib/render*',
    may: [
      ...LEAVES,
      'type lib/*',
      'lib/metrics',
      'lib/render*',
      '-lib/render/table',
      'await lib/render/table',
      'node:*',
    ],
  },

  {
    of: 'lib/base-command',
    may: [...LEAVES, 'type lib/*', 'lib/config', 'lib/cli/command-queue', 'lib/render', 'node:*', ...SCREEN],
  },
  // A command loads what works jobs only when it runs
  {
    of: 'commands/*',
    may: [
      ...LEAVES,
      'lib/base-command',
      'lib/index',
      'lib/render*',
      'lib/cli/*',
      '-lib/cli/work-run',
      'await lib/cli/work-run',
      'await lib/work/*',
      'node:*',
      ...SCREEN,
    ],
  },
  {of: 'lib/cli/work-run', may: [...LIBRARY, 'lib/cli/*', 'lib/work/*', ...SCREEN]},
  // A bundle of its own, for SQLite only: the store without the client
  {
    of: 'lib/cli/quick',
    may: [
      ...LIBRARY,
      '-lib/queue',
      'lib/cli/*',
      '-lib/cli/enqueue-run',
      'type lib/cli/enqueue-run',
      'lib/store/sqlite',
      'type lib/store/address',
    ],
  },
  {of: 'lib/cli/*', may: [...LIBRARY, 'lib/cli/*', 'lib/render*', 'await lib/work/*', ...SCREEN]},

  {of: 'lib/load-default', may: ['lib/errors', 'lib/load-error', 'lib/self-import', 'node:*']},
  {
    of: 'lib/support',
    may: [...LEAVES, 'type lib/*', 'lib/hooks', 'lib/plugin-set', 'await lib/load-default', 'node:*'],
  },
  ...DOOR.map(of => ({of, may: [...LEAVES, ...DOOR, 'type lib/functions']})),
  {
    of: 'lib/enqueuer',
    may: [...LEAVES, ...DOOR, 'lib/bulk', 'type lib/*', 'type lib/store/store'],
  },
  {of: 'lib/queue-options', may: [...LEAVES, ...DOOR, 'lib/events', 'type lib/*']},
  {of: 'lib/queue-view', may: [...LEAVES, 'lib/queue-options', 'lib/stats', 'type lib/*']},

  {of: 'lib/plugins/logger', may: [...LEAVES, 'type lib/*', 'lib/options', 'node:*']},
  {
    of: 'lib/plugins/scoreboard',
    may: [
      ...LEAVES,
      'lib/options',
      'type lib/*',
      'lib/config',
      'await lib/work/admin',
      'await lib/work/managers',
      'node:*',
    ],
  },
  // A test's queue is put together here: on a store in memory, with a clock
  {
    of: 'lib/testing',
    may: [...LIBRARY, 'lib/store/address', 'lib/store/sqlite', 'type lib/store/store', 'lib/work/*'],
  },
  {
    of: 'lib/opentelemetry',
    may: [...LEAVES, 'lib/options', 'type lib/*', '@opentelemetry/api', 'node:*'],
  },
  {
    of: 'lib/prometheus',
    may: [
      ...LEAVES,
      'lib/options',
      'type lib/*',
      'lib/config',
      'lib/metrics',
      'await lib/work/managers',
      'await prom-client',
      'node:*',
    ],
  },

  // Parts of the library that are named by none of the above: hooks, say
  {of: 'lib/*', may: [...LEAVES, 'type lib/*', 'node:*']},
]

function driver(name: string, itsPackage: string) {
  return {
    of: `lib/store/${name}*`,
    may: [
      'lib/clock',
      'lib/errors',
      'lib/job',
      'lib/place',
      'lib/store/keys',
      'lib/store/lease-clock',
      'lib/store/peer',
      'lib/store/silence',
      'lib/store/spool',
      'type lib/store/store',
      `lib/store/${name}*`,
      itsPackage,
      'node:*',
    ],
  }
}

function drivers(kind: string): string[] {
  return ['sqlite', 'mysql', 'postgres'].map(name => `${kind} lib/store/${name}*`)
}

describe('boundaries', () => {
  const files = readdirSync(SRC, {recursive: true, encoding: 'utf8'}).filter(file => file.endsWith('.ts'))

  test('each module imports only what it may', () => {
    const found = files.flatMap(file => violations(file, read(file)))
    assert.deepEqual(found, [])
  })

  test('SQL is in the store only', () => {
    assert.deepEqual(
      files.filter(file => hasSql(file, read(file))),
      [],
    )
  })

  test('the scan sees every import line', () => {
    for (const file of files) {
      const source = read(file)
      const lines = source.match(/^(?:import |export |\} ).*\bfrom '[^']+'$|^import '[^']+'$/gm) ?? []
      const seen = importsOf(source).filter(({kind}) => kind !== 'await')
      assert.equal(seen.length, lines.length, file)
    }
    assert.ok(files.length > 20 && files.flatMap(file => importsOf(read(file))).length > 100)
  })

  test('what breaks a rule is told', () => {
    const samples: [file: string, source: string, found: string[]][] = [
      ['commands/list.ts', `import {openStore} from '../lib/store/open.ts'`, ['lib/store/open']],
      ['commands/list.ts', `import type {Store} from '../lib/store/store.ts'`, ['type lib/store/store']],
      ['commands/list.ts', `const x = await import('../lib/store/sqlite.ts')`, ['await lib/store/sqlite']],
      ['commands/list.ts', `let x: import('../lib/store/store.ts').Store`, ['await lib/store/store']],
      ['commands/list.ts', `export * from '../lib/store/store.ts'`, ['lib/store/store']],
      ['commands/list.ts', `import '../lib/store/sqlite.ts'`, ['lib/store/sqlite']],
      ['commands/list.ts', `import Sqlite from 'better-sqlite3'`, ['better-sqlite3']],
      ['commands/work.ts', `import {work} from '../lib/work/work.ts'`, ['lib/work/work']],
      ['commands/work.ts', `import {runWorkCommand} from '../lib/cli/work-run.ts'`, ['lib/cli/work-run']],
      ['lib/cli/enqueue-run.ts', `import {x} from '../work/work.ts'`, ['lib/work/work']],
      ['lib/cli/quick.ts', `import {JobQueue} from '../queue.ts'`, ['lib/queue']],
      ['lib/cli/start.ts', `import {openSqlite} from '../store/sqlite.ts'`, ['lib/store/sqlite']],
      ['commands/deep/er.ts', `import {x} from '../../lib/store/store.ts'`, ['lib/store/store']],
      ['lib/errors.ts', `import type {JobRow} from './job.ts'`, ['type lib/job']],
      ['lib/job.ts', `import {join} from 'node:path'`, ['node:path']],
      ['lib/time.ts', `import {JobQueue} from './queue.ts'`, ['lib/queue']],
      ['lib/store/store.ts', `import {MAX_UINT32} from '../job.ts'`, ['lib/job']],
      ['lib/store/store.ts', `import type {Database} from 'better-sqlite3'`, ['type better-sqlite3']],
      ['lib/store/open.ts', `import {openSqlite} from './sqlite.ts'`, ['lib/store/sqlite']],
      ['lib/store/mysql.ts', `import {explain} from './sqlite.ts'`, ['lib/store/sqlite']],
      ['lib/store/sqlite-reads.ts', `import {parseTime} from '../time.ts'`, ['lib/time']],
      ['lib/store/sqlite.ts', `import type {JobQueue} from '../queue.ts'`, ['type lib/queue']],
      ['lib/queue.ts', `import {SqliteStore} from './store/sqlite.ts'`, ['lib/store/sqlite']],
      ['lib/queue.ts', `import {Dispatcher} from './work/dispatcher.ts'`, ['lib/work/dispatcher']],
      ['lib/work/dispatcher.ts', `import {type Store} from '../store/store.ts'`, ['lib/store/store']],
      ['lib/work/dispatcher.ts', `import {\n  openStore,\n} from '../store/open.ts'`, ['lib/store/open']],
      ['lib/work/pool.ts', `import {table} from '../render.ts'`, ['lib/render']],
      ['lib/config.ts', `import {JobQueue} from './queue.ts'`, ['lib/queue']],
      ['lib/render.ts', `import {JobQueue} from './queue.ts'`, ['lib/queue']],
      ['lib/anything.ts', `import {openStore} from './store/open.ts'`, ['lib/store/open']],
      ['lib/anything.ts', `import {Command} from '@oclif/core'`, ['@oclif/core']],
    ]
    for (const [file, source, found] of samples)
      assert.deepEqual(
        violations(file, source),
        found.map(what => `${file} imports ${what}`),
        source,
      )
    assert.equal(hasSql('lib/queue.ts', 'const sql = `SELECT id FROM job`'), true)
  })

  test('what keeps the rules is not, nor what only looks like an import', () => {
    const samples: [file: string, source: string][] = [
      ['commands/list.ts', `import {BaseCommand} from '../lib/base-command.ts'`],
      ['commands/work.ts', `const {work} = await import('../lib/work/work.ts')`],
      ['commands/work.ts', `const {runWorkCommand} = await import('../lib/cli/work-run.ts')`],
      ['lib/queue.ts', `import {type OpenOptions, openStore} from './store/open.ts'`],
      ['lib/store/open.ts', `const {openSqlite} = await import('./sqlite.ts')`],
      ['lib/work/dispatcher.ts', `import type {\n  Store,\n  Turn,\n} from '../store/store.ts'`],
      ['lib/errors.ts', `// import {a} from './job.ts'\n/* import('./job.ts') */`],
      ['lib/errors.ts', `const hint = "import {x} from './job.ts'" + \`export {x} from './job.ts'\``],
      ['lib/errors.ts', `export const name = 'from'\nexport function f(from = './job.ts') {}`],
    ]
    for (const [file, source] of samples) assert.deepEqual(violations(file, source), [], source)
    assert.equal(hasSql('lib/store/sqlite.ts', 'const sql = `SELECT id FROM job`'), false)
    assert.equal(hasSql('lib/queue.ts', "const said = 'select a job'"), false)
  })
})

interface Import {
  kind: 'static' | 'type' | 'await'
  specifier: string
}

function violations(file: string, source: string): string[] {
  const name = moduleName(file)
  const rule = RULES.find(({of}) => fits(name, of))
  if (!rule) return [`${file} has no rule: say in RULES whom it may import`]
  return importsOf(source)
    .map(({kind, specifier}) => ({
      kind,
      target: specifier.startsWith('.') ? moduleName(posix.join(posix.dirname(file), specifier)) : specifier,
    }))
    .filter(({kind, target}) => !mayImport(rule.may, kind, target))
    .map(({kind, target}) => `${file} imports ${kind === 'static' ? '' : `${kind} `}${target}`)
}

/** The last word that fits counts: `-X` takes back what a wider one before it gave. */
function mayImport(may: readonly string[], kind: Import['kind'], target: string): boolean {
  let allowed = false
  for (const word of may) {
    const [, only = '', pattern = ''] = /^(type |await |-)?(.*)$/.exec(word)!
    if (!fits(target, pattern)) continue
    if (only === '-') allowed = false
    else if (only === '' || only.trim() === kind || kind === 'type') allowed = true
  }
  return allowed
}

function fits(text: string, pattern: string): boolean {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')
  return new RegExp(`^${escaped}$`).test(text)
}

/** Comments and strings are passed over, so that an import in them is none. */
function importsOf(source: string): Import[] {
  const tokens = new RegExp(
    [
      /\/\/[^\n]*/,
      /\/\*[\s\S]*?\*\//,
      /`(?:\\[\s\S]|[^`\\])*`/,
      /\bimport\s*\(\s*'(?<dynamic>[^'\n]+)'/,
      /\b(?:import|export)\s+(?<type>type\s+(?!from\b))?(?:[\w*{},$\s]+?\bfrom\s*)?'(?<specifier>[^'\n]+)'/,
      /'(?:\\.|[^'\\\n])*'/,
      /"(?:\\.|[^"\\\n])*"/,
    ]
      .map(({source}) => source)
      .join('|'),
    'g',
  )
  return [...source.matchAll(tokens)].flatMap(({groups}): Import[] => {
    if (groups?.dynamic) return [{kind: 'await', specifier: groups.dynamic}]
    if (groups?.specifier) return [{kind: groups.type ? 'type' : 'static', specifier: groups.specifier}]
    return []
  })
}

function hasSql(file: string, source: string): boolean {
  const sql =
    /\b(SELECT\s[\s\S]*?\sFROM|INSERT INTO|DELETE FROM|UPDATE \w+ SET|CREATE (TABLE|INDEX)|PRAGMA)\b/
  return !file.startsWith('lib/store/') && sql.test(source)
}

function moduleName(file: string): string {
  return file.replace(/\.ts$/, '')
}

function read(file: string): string {
  return readFileSync(posix.join(SRC, file), 'utf8')
}
