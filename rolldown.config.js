/**
 * dist/quick/: the quick lane of the command line (src/lib/cli/quick.ts) in one file, with what it seldom needs in
 * others beside it. CommonJS, which Node starts sooner. Packages stay packages.
 */
import {readFileSync} from 'node:fs'
import {defineConfig} from 'rolldown'

const {commands} = JSON.parse(readFileSync('oclif.manifest.json', 'utf8'))

export default defineConfig({
  input: 'src/lib/cli/quick.ts',
  platform: 'node',
  preserveEntrySignatures: 'allow-extension',
  external: /^[^./]/,
  transform: {define: {ENQUEUE_FLAGS: JSON.stringify(commands.enqueue.flags)}},
  output: {
    dir: 'dist/quick',
    format: 'cjs',
    entryFileNames: '[name].cjs',
    chunkFileNames: '[name].cjs',
    dynamicImportInCjs: false,
    comments: false,
  },
})
