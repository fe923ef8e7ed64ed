/**
 * All of jobq in one bundle of chunks, so that each class is there once, whoever asks: the command line, a job's child, a
 * user's file that imports jobq. Node loads few files in less time and memory than many, and CommonJS sooner than
 * modules. Packages stay packages, but for better-sqlite3. Besides it makes oclif.manifest.json, of the commands as they
 * are in src, and of that the man pages and the shells' completions (build/).
 */
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {Config} from '@oclif/core/config'
import {defineConfig} from 'rolldown'
import {parseAst} from 'rolldown/parseAst'
import {bashCompletion} from './build/completion/bash.ts'
import {fishCompletion} from './build/completion/fish.ts'
import {zshCompletion} from './build/completion/zsh.ts'
import {manPages} from './build/man.ts'
import pjson from './package.json' with {type: 'json'}

/** What is started, or imported, by its name. */
const ENTRIES = [
  ...['index', 'testing', 'prometheus', 'opentelemetry', 'web'],
  ...['cli/main', 'work/executors/child'],
  'store/sqlite/thread-main',
]
/**
 * A chunk each, of these and all they import but what an earlier one has: what is loaded together. So one needs none that
 * comes after it. All else that is loaded lazily is a chunk by itself.
 */
const CHUNKS = {
  /** What a plain enqueue and a job's child need: there may be many of those, and they need no more than this and two others. */
  jobs: [
    ...['closest', 'here', 'names', 'time', 'value', 'serializers/input', 'side-tables/keep-result'],
    ...['rows/history', 'side-tables/orders', 'side-tables/schedules'], // constants, which all stores have
  ].map(name => `jobs/${name}`),
  hooks: ['hooks/extensions', 'hooks/hooked-job'],
  child: [
    ...['run-job', 'ready-worker', 'channel', 'protocol'].map(name => `work/executors/${name}`),
    'config/self-import',
  ],
  settings: ['config/settings', 'hooks/events', 'store/open', 'jobs/clock', 'jobs/printable'],
  queue: ['client/queue', 'jobs/manager'],
  main: ['cli/main', 'cli/run/enqueue', 'cli/optional-value'],
  command: ['cli/command-queue', 'cli/output'],
  looks: ['check', 'list', 'logs', 'stats', 'status', 'retry', 'show', 'wait'].map(name => `cli/run/${name}`),
  dispatcher: ['work/dispatcher'],
  spool: ['store/spool'],
  work: ['cli/run/work'],
  pages: ['web/handler'],
  sqlite: ['store/sqlite/store'],
  reads: ['store/sqlite/reads'],
}

const COMMANDS = readdirSync('src/commands').map(file => file.replace('.ts', ''))

/** `jobq help` has no run of its own: it is oclif's affair, as --help is. */
const RUNS = COMMANDS.filter(name => existsSync(`src/lib/cli/run/${name}.ts`))

/** A command's run is found by its name (cli/command.ts): here are all names. */
const RUN_BY_NAME = {
  name: 'run-by-name',
  transform: {
    filter: {id: /\/cli\/command\.ts$/},
    handler: code => {
      const loads = RUNS.map(name => `${name}: () => import('./run/${name}.ts')`)
      return code.replace(/import\(`\.\/run\/.*?`\)/, `({${loads.join()}})[name]()`)
    },
  },
}

/**
 * What a chunk exports is there when it has run, and never changes: so plain members, where rolldown makes getters. They
 * took a third of its compiled code, a millisecond of each start.
 */
const PLAIN_EXPORTS = {
  name: 'plain-exports',
  renderChunk: code =>
    code.replace(
      /^Object\.defineProperty\(exports, ['"](\w+)['"], \{\s*enumerable: true,\s*get: function ?\(\) \{\s*return (\w+);\s*\}\s*\}\);$/gm,
      'exports.$1 = $2;',
    ),
}

/**
 * better-sqlite3's JavaScript: Node takes 4 ms for its 15 files, as long as for the addon and the database. The addon stays
 * where npm has put it, and is looked for there as Node looks, in a tenth of the time. It is loaded for jobq alone, as for a thread: it raises the errors of the first who asks it to, and
 * an application's own better-sqlite3 must get its own.
 */
const SQLITE_INSIDE = {
  name: 'sqlite-inside',
  transform: {
    filter: {id: /\/better-sqlite3\/lib\/binding\.js$/},
    handler: code =>
      [
        [/__dirname, '\.\.'/g, 'packageFolder()'],
        // Whose loader is not there is not musl: without reading what is mapped, a third of a millisecond
        [/(?<=^\t)(?=\/\/ Look at which libc)/m, `if (!fs.existsSync(muslLoader())) return false\n`],
        [/= require\((filename|getPrebuildPath\(\) \|\| filename)\)/g, '= loadAlone($1)'],
        [
          /^function getPrebuildPath/m,
          `function loadAlone(file) {
            const alone = {exports: {}}
            process.dlopen(alone, file)
            return alone.exports
          }
          function packageFolder() {
            for (let folder = __dirname; folder !== path.dirname(folder); folder = path.dirname(folder)) {
              const found = path.join(folder, 'node_modules/better-sqlite3')
              if (fs.existsSync(path.join(found, 'package.json'))) return found
            }
            return path.join(path.dirname(require.resolve('better-sqlite3')), '..')
          }
          function muslLoader() {
            return '/lib/ld-musl-' + (process.arch === 'x64' ? 'x86_64' : 'aarch64') + '.so.1'
          }
          function getPrebuildPath`,
        ],
        [/\/\/ This script is executed directly.*$/s, ''],
      ].reduce((text, [from, to]) => {
        if (text.search(from) < 0) throw new Error(`better-sqlite3's binding.js has no ${from} any more`)
        return text.replace(from, to)
      }, code),
  },
  generateBundle() {
    const source = readFileSync('node_modules/better-sqlite3/LICENSE')
    this.emitFile({type: 'asset', fileName: 'better-sqlite3.LICENSE', source})
  },
}

/** What lies there is CommonJS, and so are its types to TypeScript, which takes a `.d.ts` for what its folder says. */
const TYPES_OF_COMMONJS = {
  name: 'types-of-commonjs',
  generateBundle() {
    this.emitFile({type: 'asset', fileName: 'lib/package.json', source: '{"type": "commonjs"}\n'})
  },
}

/** A statement a line: Node shows the line of what was thrown, and all of it. */
const LINES = {
  name: 'lines',
  generateBundle(_options, bundle) {
    for (const chunk of Object.values(bundle)) if (chunk.code) chunk.code = inLines(chunk.code)
  },
}

/**
 * Node reads a file with one letter beyond Latin-1 as two bytes each, and its blanks as well, into the megabyte that is
 * collected first. Names stay as they are.
 */
const SMALL = {codegen: {removeWhitespace: true}, compress: false, mangle: false}
const ONE_BYTE = {
  name: 'one-byte',
  generateBundle(_options, bundle) {
    for (const chunk of Object.values(bundle))
      chunk.code = chunk.code?.replace(
        /[^\0-\xff]/g,
        letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
  },
}

/** Their date is that of the version in CHANGELOG.md, or SOURCE_DATE_EPOCH's: the same source makes the same pages. */
const PAGES = {
  name: 'pages',
  generateBundle() {
    const {version} = pjson
    const released = readFileSync('CHANGELOG.md', 'utf8').split(`\n## [${version}] - `)[1]?.slice(0, 10) ?? ''
    const epoch = process.env.SOURCE_DATE_EPOCH
    const date = epoch
      ? new Date(Number(epoch) * 1000).toISOString().slice(0, 10)
      : /^\d{4}-\d\d-\d\d$/.test(released)
        ? released
        : ''
    const table = readFileSync('docs/commands.md', 'utf8').match(
      /(?<=^\| exit \| means \|\n\|---\|---\|\n)(\|.*\n)+/m,
    )[0]
    const exitStatuses = [...table.matchAll(/^\| (.*?) \| (.*) \|$/gm)].map(([, status, meaning]) => [
      status,
      meaning,
    ])
    for (const [name, source] of Object.entries(manPages(manifest, {version, date, exitStatuses})))
      this.emitFile({type: 'asset', fileName: `man/${name}`, source})
  },
}

const COMPLETIONS = {
  name: 'completions',
  generateBundle() {
    const scripts = {
      'jobq.bash': bashCompletion(manifest),
      _jobq: zshCompletion(manifest),
      'jobq.fish': fishCompletion(manifest),
    }
    for (const [name, source] of Object.entries(scripts))
      this.emitFile({type: 'asset', fileName: `completion/${name}`, source})
  },
}

/** What `jobq web` serves as it is: found from the sources, and from here, at the same place below lib. */
const WEB_ASSETS = {
  name: 'web-assets',
  generateBundle() {
    for (const file of readdirSync('src/lib/web/assets'))
      this.emitFile({
        type: 'asset',
        fileName: `lib/web/assets/${file}`,
        source: readFileSync(`src/lib/web/assets/${file}`),
      })
  },
}

const manifest = await manifestOf('src/commands')
writeFileSync('oclif.manifest.json', JSON.stringify(manifest, null, 2))

export default defineConfig({
  input: Object.fromEntries([
    ...ENTRIES.map(name => [`lib/${name}`, `src/lib/${name}.ts`]),
    ...COMMANDS.map(name => [`commands/${name}`, `src/commands/${name}.ts`]),
  ]),
  plugins: [
    TYPES_OF_COMMONJS,
    RUN_BY_NAME,
    SQLITE_INSIDE,
    PLAIN_EXPORTS,
    LINES,
    ONE_BYTE,
    PAGES,
    COMPLETIONS,
    WEB_ASSETS,
  ],
  platform: 'node',
  preserveEntrySignatures: 'allow-extension',
  external: id => /^[^./\0]/.test(id) && !/^(@oxc-project\/|better-sqlite3$)/.test(id),
  transform: {
    target: 'es2024',
    define: {
      'import.meta.commands': JSON.stringify(
        mapped(forArgv(only(manifest.commands, RUNS)), its => JSON.stringify(its)),
      ),
    },
  },
  checks: {ineffectiveDynamicImport: false},
  output: {
    dir: 'dist',
    format: 'cjs',
    strict: true,
    entryFileNames: '[name].cjs',
    chunkFileNames: ({name, facadeModuleId: file}) =>
      name in CHUNKS || !file ? 'lib/[name].cjs' : file.replace(/^.*\/src\/(.*)\.ts$/, '$1.cjs'),
    comments: false,
    minify: SMALL,
    codeSplitting: {
      groups: Object.entries(CHUNKS).map(([name, roots], i, {length}) => ({
        name,
        priority: length - i,
        test: id =>
          roots.some(root => id.endsWith(`/src/lib/${root}.ts`)) || (i === 0 && id.startsWith('\0')),
      })),
    },
  },
})

function inLines(code) {
  const starts = new Set()
  const visit = node => {
    if (typeof node !== 'object' || node === null) return
    if (/(?<!Block)(Statement|Declaration|Definition)$/.test(node.type)) starts.add(node.start)
    for (const child of Object.values(node)) visit(child)
  }
  visit(parseAst(code))
  const [first, ...rest] = [...starts].sort((a, b) => a - b)
  return [first, ...rest].map((start, i) => code.slice(start, rest[i])).join('\n')
}

async function manifestOf(commands) {
  const root = fileURLToPath(new URL('.', import.meta.url))
  const config = await Config.load({
    root,
    pjson: {...pjson, oclif: {...pjson.oclif, commands}},
    ignoreManifest: true,
  })
  const {manifest} = config.plugins.get(pjson.name)
  // Where they are is where they will be: in the folder of commands that package.json names
  for (const command of Object.values(manifest.commands)) {
    delete command.relativePath
    delete command.isESM
  }
  return JSON.parse(JSON.stringify(manifest))
}

/** Of the commands, what cli/argv.ts looks at. @throws where a flag has something to it that it does not know */
function forArgv(commands) {
  const looksAt = ['type', 'multiple', 'options', 'env', 'exclusive', 'dependsOn']
  const shown = [
    'name',
    'summary',
    'description',
    'helpValue',
    'helpGroup',
    'hasDynamicHelp',
    'allowNo',
    'hidden',
  ]
  const flag = its => {
    const odd = Object.keys(its).find(key => ![...looksAt, ...shown].includes(key))
    if (odd || its.allowNo) throw new Error(`--${its.name}: cli/argv.ts does not know ${odd ?? 'allowNo'}`)
    return only(its, looksAt)
  }
  return mapped(commands, ({args, flags, bare}) => ({
    args: mapped(args, arg => only(arg, ['multiple', 'options'])),
    flags: mapped(flags, flag),
    bare,
  }))
}

function mapped(object, value) {
  return Object.fromEntries(Object.entries(object).map(([key, its]) => [key, value(its)]))
}

function only(object, keys) {
  return Object.fromEntries(Object.entries(object).filter(([key]) => keys.includes(key)))
}
