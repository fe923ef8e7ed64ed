/**
 * dist/quick/: the quick lane of the command line (src/lib/cli/quick.ts) in one file, with what it seldom needs in
 * others beside it. CommonJS, which Node starts sooner. Packages stay packages.
 */
import {readFileSync} from 'node:fs'
import {defineConfig} from 'rolldown'

/** Of a flag, what plain-words.ts looks at. */
const LOOKED_AT = ['type', 'multiple', 'options', 'env', 'exclusive']
const {args, flags} = JSON.parse(readFileSync('oclif.manifest.json', 'utf8')).commands.enqueue
const known = Object.entries(flags).map(([name, flag]) => [
  name,
  Object.fromEntries(Object.entries(flag).filter(([key]) => LOOKED_AT.includes(key))),
])
const ENQUEUE = JSON.stringify({args, flags: Object.fromEntries(known)})

export default defineConfig({
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
})
