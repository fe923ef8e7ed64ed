/**
 * What is started often, or stays in memory, each in one file with what it seldom needs in others beside it: Node loads
 * one file in less time and memory than thirty. Packages stay packages.
 * - dist/quick/: the quick lane of the command line (src/lib/cli/quick.ts). CommonJS, which Node starts sooner.
 * - `jobq work` (cli/run/work-flags.js) and a pool's child (work/executors/child.js), in the place of what the compiler has made.
 *   They share jobs/errors.js with the library, which a user's file may import as well: an error is of one class, whoever asks.
 */
import {readFileSync} from 'node:fs'
import {defineConfig} from 'rolldown'

/** Of a flag, what cli/argv.ts looks at. */
const LOOKED_AT = ['type', 'multiple', 'options', 'env', 'exclusive']
const {args, flags} = JSON.parse(readFileSync('oclif.manifest.json', 'utf8')).commands.enqueue
const known = Object.entries(flags).map(([name, flag]) => [
  name,
  Object.fromEntries(Object.entries(flag).filter(([key]) => LOOKED_AT.includes(key))),
])
const ENQUEUE = JSON.stringify({args, flags: Object.fromEntries(known)})

/** What must be there once, or must know its place. */
const SHARED = /\/dist\/lib\/(jobs\/errors|own-modules)\.js$/

/**
 * For an import Node reads a built-in module's every member: of node:fs fs.promises too, which loads streams and readline.
 * Asked for like this it is as lazy as require() has it: 1.4 MB less, for as long as the process lives.
 */
const LAZY_BUILTINS = {
  name: 'lazy-builtins',
  renderChunk: code =>
    code.replace(
      /^import \{([^}]*)\} from "(node:[\w/]+)";$/gm,
      (_, names, id) => `const {${names.replaceAll(' as ', ': ')}} = process.getBuiltinModule("${id}");`,
    ),
}

export default defineConfig([
  {
    input: 'src/lib/cli/quick.ts',
    platform: 'node',
    preserveEntrySignatures: 'allow-extension',
    external: /^[^./]/,
    transform: {define: {ENQUEUE}},
    output: {
      dir: 'dist/quick',
      format: 'cjs',
      entryFileNames: '[name].cjs',
      chunkFileNames: '[name].cjs',
      dynamicImportInCjs: false,
      comments: false,
    },
  },
  inPlace('cli/run/work-flags', 'cli/run/work-[name]'),
  inPlace('work/executors/child', 'work/executors/child-[name]'),
])

function inPlace(name, chunks) {
  return {
    plugins: [LAZY_BUILTINS],
    input: `dist/lib/${name}.js`,
    platform: 'node',
    preserveEntrySignatures: 'allow-extension',
    external: [/^[^./]/, SHARED],
    checks: {ineffectiveDynamicImport: false},
    output: {
      dir: 'dist/lib',
      format: 'esm',
      entryFileNames: `${name}.js`,
      chunkFileNames: `${chunks}.js`,
      paths: id => id.replace(SHARED, './$1.js').replace(/^.*(?=\.\/)/, ''),
      comments: false,
    },
  }
}
