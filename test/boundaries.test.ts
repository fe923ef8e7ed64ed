/**
 * Who may import whom, as docs/ has it: each module knows what it needs and no more. And SQL is in the store only.
 */
import assert from 'node:assert/strict'
import {readdirSync, readFileSync} from 'node:fs'
import {posix} from 'node:path'
import {describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'

const SRC = fileURLToPath(new URL('../src', import.meta.url))

/** What the screen is drawn with, and oclif. */
const SCREEN = ['@oclif/core/*', 'chalk', 'cli-table3', 'string-width', 'cli-progress']
/** What client and work are made of. */
const MIDDLE = ['lib/jobs/*', 'lib/config/*', 'lib/hooks/*', 'node:*']

/**
 * The first rule whose `of` fits a file says all it may import: modules of src and packages, `*` for any text.
 * `type X`: X's types only. `await X`: by `await import` only, so that it is loaded when it is needed. `-X`: not X.
 */
const RULES: readonly {of: string; may: readonly string[]}[] = [
  {of: 'lib/own-modules', may: []},
  // jobs knows nothing of the rest
  {of: 'lib/jobs/errors', may: []},
  {of: 'lib/jobs/job', may: []},
  {of: 'lib/jobs/*', may: ['lib/jobs/*', 'node:*', 'await @msgpack/msgpack', 'type fastest-levenshtein']},
  {
    of: 'lib/config/*',
    may: [
      'lib/jobs/*',
      'lib/config/*',
      'lib/own-modules',
      'lib/store/address',
      'type lib/hooks/*',
      'node:*',
      'valibot',
      'croner',
    ],
  },
  {of: 'lib/hooks/*', may: ['lib/jobs/*', 'lib/hooks/*', 'await lib/config/load', 'node:*']},

  {of: 'lib/store/store', may: ['type lib/jobs/*']},
  {of: 'lib/store/address', may: ['lib/jobs/*', 'lib/store/dsn', 'lib/store/shared/host-list', 'node:*']},
  {of: 'lib/store/dsn', may: ['lib/jobs/*', 'lib/store/shared/host-list', 'node:*']},
  {
    of: 'lib/store/open',
    may: [
      'lib/jobs/errors',
      'lib/store/address',
      'type lib/store/store',
      'await lib/store/*/store',
      'await lib/store/*/init',
      'await lib/store/several/*',
    ],
  },
  {of: 'lib/store/spool', may: ['lib/jobs/*', 'node:*']},
  {of: 'lib/store/shared/*', may: ['lib/jobs/*', 'lib/store/shared/*', 'type lib/store/store', 'node:*']},
  {
    of: 'lib/store/several/*',
    may: [
      ...['lib/jobs/*', 'lib/store/several/*', 'lib/store/address', 'lib/store/shared/host-list'],
      ...['type lib/store/store', 'node:*'],
    ],
  },
  driver('sqlite', 'better-sqlite3'),
  driver('mysql', 'mysql2*'),
  driver('postgres', 'pg*'),

  // The only door to the store: all others get a Store handed in, and know its type
  {
    of: 'lib/client/queue',
    may: [
      ...MIDDLE,
      'lib/client/*',
      'lib/store/open',
      'lib/store/address',
      'type lib/store/store',
      'await lib/work/inline',
      'type lib/work/*',
    ],
  },
  {of: 'lib/client/plugin', may: ['type lib/hooks/plugins', 'type lib/client/queue']},
  {of: 'lib/client/*', may: [...MIDDLE, 'lib/client/*', '-lib/client/queue', 'type lib/store/*']},
  {
    of: 'lib/work/*',
    may: [
      ...MIDDLE,
      'lib/work/*',
      'type lib/client/queue',
      'type lib/client/plugin',
      'type lib/store/store',
      'lib/own-modules',
    ],
  },
  // Tables and colours are loaded only when one is drawn
  {of: 'lib/render/table', may: ['lib/jobs/*', 'node:*', ...SCREEN]},
  {
    of: 'lib/render/*',
    may: ['lib/jobs/*', 'lib/render/*', '-lib/render/table', 'await lib/render/table', 'node:*'],
  },

  // The pages: on a queue that is handed in, by what commands are made of, too
  {
    of: 'lib/web/*',
    may: [
      ...['lib/jobs/*', 'lib/web/*', 'lib/render/*', '-lib/render/table', 'lib/own-modules', 'node:*'],
      ...['type lib/client/*', 'lib/client/portions', 'lib/client/logs', 'type lib/config/schema'],
    ],
  },

  // A command loads what works jobs only when it runs
  {
    of: 'commands/*',
    may: [
      ...[
        'lib/jobs/*',
        'lib/render/*',
        'lib/cli/base-command',
        'lib/cli/run/work-flags',
        'lib/cli/run/completion-words',
      ],
      ...SCREEN,
    ],
  },
  {of: 'lib/cli/run/work', may: [...MIDDLE, 'lib/client/*', 'lib/cli/*', 'lib/work/*', ...SCREEN]},
  // For its start: a plain enqueue is one into the store, without the client
  {
    of: 'lib/cli/run/enqueue',
    may: [
      ...MIDDLE,
      'lib/cli/*',
      '-lib/cli/command-queue',
      'await lib/cli/command-queue',
      'type lib/client/*',
      'await lib/client/replace',
      'lib/store/open',
      'type lib/store/store',
    ],
  },
  {
    of: 'lib/cli/*',
    may: [
      'lib/own-modules',
      ...MIDDLE,
      'lib/client/*',
      'lib/cli/*',
      'lib/render/*',
      'type lib/index',
      'await lib/work/*',
      'await lib/web/*',
      ...SCREEN,
    ],
  },

  // The package's doors
  {
    of: 'lib/index',
    may: [
      'lib/jobs/*',
      'lib/config/*',
      'lib/hooks/*',
      'lib/client/*',
      'type lib/store/store',
      'type lib/work/*',
      'lib/work/status/scoreboard-plugin',
    ],
  },
  // A test's queue is put together here: on a store in memory, with a clock
  {
    of: 'lib/testing',
    may: [
      ...MIDDLE,
      'lib/client/*',
      'lib/work/*',
      'lib/store/address',
      'lib/store/sqlite/store',
      'type lib/store/store',
    ],
  },
  {
    of: 'lib/opentelemetry',
    may: ['lib/jobs/*', 'type lib/hooks/*', 'type lib/client/plugin', '@opentelemetry/api', 'node:*'],
  },
  {of: 'lib/web', may: ['lib/jobs/node-version', 'lib/web/handler', 'type lib/web/options']},
  {
    of: 'lib/prometheus',
    may: [...['lib/jobs/*', 'type lib/hooks/*', 'type lib/client/*'], ...['await prom-client', 'node:*']],
  },
]

function driver(name: string, itsPackage: string) {
  return {
    of: `lib/store/${name}/*`,
    may: [
      ...['lib/jobs/*', 'lib/own-modules', 'lib/store/shared/*', 'lib/store/spool', 'type lib/store/store'],
      ...[`lib/store/${name}/*`, itsPackage, 'node:*'],
    ],
  }
}

describe('boundaries', () => {
  const files = readdirSync(SRC, {recursive: true, encoding: 'utf8'}).filter(file => file.endsWith('.ts'))

  test('each module imports only what it may', () => {
    const found = files.flatMap(file => violations(file, read(file)))
    assert.deepEqual(found, [])
  })

  test('no import leads back, types included', () => {
    assert.deepEqual(
      circlesOf(new Map(files.map(file => [moduleName(file), modulesOf(file, read(file))]))),
      [],
    )
  })

  test('a circle is told, through however many modules and kinds of import', () => {
    const sources = {
      'lib/jobs/job.ts': `import type {Hook} from '../hooks/hooks.ts'`,
      'lib/hooks/hooks.ts': `const x = await import('../config/load.ts')`,
      'lib/config/load.ts': `import {idOf} from '../jobs/job.ts'`,
      'lib/index.ts': `export * from './jobs/job.ts'`,
    }
    const graph = Object.entries(sources).map(
      ([file, source]) => [moduleName(file), modulesOf(file, source)] as const,
    )
    assert.deepEqual(circlesOf(new Map(graph)), [['lib/config/load', 'lib/hooks/hooks', 'lib/jobs/job']])
  })

  test('a folder has no more files than can be looked through', () => {
    const counts = Object.groupBy(files, file => posix.dirname(file))
    const full = Object.entries(counts).filter(([, inside]) => inside!.length > 24)
    assert.deepEqual(
      full.map(([folder]) => folder),
      [],
    )
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
      [
        'commands/work.ts',
        `import {work} from '../lib/work/manager/manager.ts'`,
        ['lib/work/manager/manager'],
      ],
      ['commands/work.ts', `import {run} from '../lib/cli/run/work.ts'`, ['lib/cli/run/work']],
      [
        'lib/cli/run/enqueue.ts',
        `import {x} from '../../work/manager/manager.ts'`,
        ['lib/work/manager/manager'],
      ],
      ['lib/cli/run/enqueue.ts', `import {JobQueue} from '../../client/queue.ts'`, ['lib/client/queue']],
      ['lib/cli/run/enqueue.ts', `import {withQueue} from '../command-queue.ts'`, ['lib/cli/command-queue']],
      ['lib/cli/main.ts', `import {openSqlite} from '../store/sqlite/store.ts'`, ['lib/store/sqlite/store']],
      ['commands/deep/er.ts', `import {x} from '../../lib/store/store.ts'`, ['lib/store/store']],
      ['lib/jobs/errors.ts', `import type {JobRow} from './job.ts'`, ['type lib/jobs/job']],
      ['lib/jobs/job.ts', `import {join} from 'node:path'`, ['node:path']],
      ['lib/jobs/time.ts', `import {JobQueue} from '../client/queue.ts'`, ['lib/client/queue']],
      ['lib/store/store.ts', `import {MAX_UINT32} from '../jobs/job.ts'`, ['lib/jobs/job']],
      ['lib/store/store.ts', `import type {Database} from 'better-sqlite3'`, ['type better-sqlite3']],
      ['lib/store/open.ts', `import {openSqlite} from './sqlite/store.ts'`, ['lib/store/sqlite/store']],
      [
        'lib/store/mysql/store.ts',
        `import {explain} from '../sqlite/errors.ts'`,
        ['lib/store/sqlite/errors'],
      ],
      ['lib/store/sqlite/reads.ts', `import {validate} from '../../config/schema.ts'`, ['lib/config/schema']],
      [
        'lib/store/sqlite/store.ts',
        `import type {JobQueue} from '../../client/queue.ts'`,
        ['type lib/client/queue'],
      ],
      [
        'lib/client/queue.ts',
        `import {SqliteStore} from '../store/sqlite/store.ts'`,
        ['lib/store/sqlite/store'],
      ],
      ['lib/client/queue.ts', `import {Dispatcher} from '../work/dispatcher.ts'`, ['lib/work/dispatcher']],
      ['lib/work/dispatcher.ts', `import {type Store} from '../store/store.ts'`, ['lib/store/store']],
      ['lib/work/dispatcher.ts', `import {\n  openStore,\n} from '../store/open.ts'`, ['lib/store/open']],
      [
        'lib/work/executors/pool/pool.ts',
        `import {table} from '../../../render/table.ts'`,
        ['lib/render/table'],
      ],
      ['lib/config/settings.ts', `import {JobQueue} from '../client/queue.ts'`, ['lib/client/queue']],
      ['lib/render/json.ts', `import {JobQueue} from '../client/queue.ts'`, ['lib/client/queue']],
      ['lib/hooks/hooks.ts', `import {openStore} from '../store/open.ts'`, ['lib/store/open']],
      ['lib/hooks/hooks.ts', `import {Command} from '@oclif/core'`, ['@oclif/core']],
      ['lib/web/facts.ts', `import {JobQueue} from '../client/queue.ts'`, ['lib/client/queue']],
      ['lib/web/facts.ts', `import type {Store} from '../store/store.ts'`, ['type lib/store/store']],
      [
        'lib/web/pages/jobs.ts',
        `import {complain} from '../../cli/output-guard.ts'`,
        ['lib/cli/output-guard'],
      ],
      ['lib/cli/run/web.ts', `import {webHandler} from '../../web/handler.ts'`, ['lib/web/handler']],
    ]
    for (const [file, source, found] of samples)
      assert.deepEqual(
        violations(file, source),
        found.map(what => `${file} imports ${what}`),
        source,
      )
    assert.equal(hasSql('lib/client/queue.ts', 'const sql = `SELECT id FROM job`'), true)
  })

  test('what keeps the rules is not, nor what only looks like an import', () => {
    const samples: [file: string, source: string][] = [
      ['commands/list.ts', `import {BaseCommand} from '../lib/cli/base-command.ts'`],
      ['lib/cli/run/enqueue.ts', `const {withQueue} = await import('../command-queue.ts')`],
      ['lib/client/queue.ts', `import {type OpenOptions, openStore} from '../store/open.ts'`],
      ['lib/store/open.ts', `const {openSqlite} = await import('./sqlite/store.ts')`],
      ['lib/work/dispatcher.ts', `import type {\n  Store,\n  Turn,\n} from '../store/store.ts'`],
      ['lib/jobs/errors.ts', `// import {a} from './job.ts'\n/* import('./job.ts') */`],
      ['lib/jobs/errors.ts', `const hint = "import {x} from './job.ts'" + \`export {x} from './job.ts'\``],
      ['lib/jobs/errors.ts', `export const name = 'from'\nexport function f(from = './job.ts') {}`],
    ]
    for (const [file, source] of samples) assert.deepEqual(violations(file, source), [], source)
    assert.equal(hasSql('lib/store/sqlite/store.ts', 'const sql = `SELECT id FROM job`'), false)
    assert.equal(hasSql('lib/client/queue.ts', "const said = 'select a job'"), false)
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

/** The modules of src that a file imports. */
function modulesOf(file: string, source: string): string[] {
  return importsOf(source)
    .filter(({specifier}) => specifier.startsWith('.'))
    .map(({specifier}) => moduleName(posix.join(posix.dirname(file), specifier)))
}

/** Modules that lead back to themselves, each circle once (Tarjan's strongly connected components). */
function circlesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const open: string[] = []
  const circles: string[][] = []
  const visit = (module: string) => {
    order.set(module, order.size)
    lowest.set(module, order.get(module)!)
    open.push(module)
    for (const next of graph.get(module) ?? []) {
      if (!order.has(next)) visit(next)
      else if (!open.includes(next)) continue
      lowest.set(module, Math.min(lowest.get(module)!, lowest.get(next)!))
    }
    if (lowest.get(module) !== order.get(module)) return
    const circle = open.splice(open.indexOf(module))
    if (circle.length > 1) circles.push(circle.sort())
  }
  for (const module of graph.keys()) if (!order.has(module)) visit(module)
  return circles
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
