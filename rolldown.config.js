/**
 * All of jobq in one bundle of chunks, so that each class is there once, whoever asks: the command line, a job's child, a
 * user's file that imports jobq. Node loads few files in less time and memory than many, and CommonJS sooner than
 * modules. Packages stay packages. Besides it makes oclif.manifest.json, of the commands as they are in src.
 */
import {readdirSync, writeFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {Config} from '@oclif/core/config'
import {defineConfig} from 'rolldown'
import pjson from './package.json' with {type: 'json'}

/** What is started, or imported, by its name. */
const ENTRIES = [
  ...['index', 'testing', 'prometheus', 'opentelemetry'],
  ...['cli/quick', 'cli/main', 'work/executors/child'],
  ...['bulk-thread', 'long-reads-thread', 'wal/checkpoint-thread', 'wal/long-wal-thread'].map(
    name => `store/sqlite/${name}`,
  ),
]
/**
 * A chunk each, of these and all they import but what an earlier one has: what is loaded together. All else that is
 * loaded lazily is a chunk by itself.
 */
const CHUNKS = {
  /** What an enqueue and a job's child have in common. */
  jobs: ['hooks/extensions', 'hooks/hooked-job'],
  start: ['cli/quick', 'jobs/clock'],
  sqlite: ['store/sqlite/store'],
  child: [
    'work/executors/run-job',
    'work/executors/channel',
    'work/executors/protocol',
    'config/self-import',
  ],
  queue: ['client/queue'],
  main: ['cli/main', 'cli/run/plain', 'cli/run/enqueue'],
  looks: ['cli/run/list', 'cli/run/stats', 'cli/run/status', 'cli/run/retry', 'cli/run/wait'],
  managers: ['work/status/managers'],
  dispatcher: ['work/dispatcher'],
  work: ['cli/run/work-flags', 'cli/run/work'],
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

const manifest = await manifestOf('src/commands')
writeFileSync('oclif.manifest.json', JSON.stringify(manifest, null, 2))

export default defineConfig({
  input: Object.fromEntries([
    ...ENTRIES.map(name => [`lib/${name}`, `src/lib/${name}.ts`]),
    ...readdirSync('src/commands').map(file => [`commands/${file.slice(0, -3)}`, `src/commands/${file}`]),
  ]),
  plugins: [PLAIN_EXPORTS],
  platform: 'node',
  preserveEntrySignatures: 'allow-extension',
  external: id => /^[^./\0]/.test(id) && !id.startsWith('@oxc-project/'),
  transform: {target: 'es2024', define: {ENQUEUE: JSON.stringify(forArgv(manifest.commands.enqueue))}},
  checks: {ineffectiveDynamicImport: false},
  output: {
    dir: 'dist',
    format: 'cjs',
    strict: true,
    entryFileNames: '[name].cjs',
    chunkFileNames: ({name, facadeModuleId: file}) =>
      name in CHUNKS || !file ? 'lib/[name].cjs' : file.replace(/^.*\/src\/(.*)\.ts$/, '$1.cjs'),
    comments: false,
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
  return manifest
}

/** Of a command, what cli/argv.ts looks at. */
function forArgv({args, flags}) {
  const looksAt = ['type', 'multiple', 'options', 'env', 'exclusive']
  const known = Object.entries(flags).map(([name, flag]) => [
    name,
    Object.fromEntries(Object.entries(flag).filter(([key]) => looksAt.includes(key))),
  ])
  return {args, flags: Object.fromEntries(known)}
}
