/**
 * What bin/run.js starts for whatever the quick lane (quick.ts) leaves: a plain enqueue without oclif, the rest with it.
 */
import {readFileSync} from 'node:fs'
import {guarded, wantsJson} from './guarded.ts'
import {guardOutput, say} from './output-guard.ts'
import type {KnownFlags} from './plain-words.ts'
import {isVersion, versionText} from './version.ts'

/** The package's folder. */
const ROOT = new URL('../../../', import.meta.url)
/** From the sources (bin/dev.js) a manifest would tell of the last build's flags: then all goes through oclif. */
const isSource = import.meta.url.endsWith('.ts')

export function start(argv: readonly string[]): Promise<void> {
  guardOutput()
  quietWarnings()
  return guarded(argv, () => run(argv))
}

async function run(argv: readonly string[]): Promise<void> {
  if (argv.some(word => word.includes('\uFFFD'))) (await import('./raw-words.ts')).checkWords(argv)
  if (isVersion(argv[0])) return say(versionText(ROOT, wantsJson(argv)))
  if (argv[0] === 'enqueue' && !isSource && (await enqueuePlainly(argv.slice(1)))) return
  const {runOclif} = await import('./run-oclif.ts')
  await runOclif([...argv], ROOT)
}

/** Evaluating oclif costs more than all the rest of an enqueue. @returns whether the words were plain, and it is done */
async function enqueuePlainly(words: readonly string[]): Promise<boolean> {
  const {plainWords} = await import('./plain-words.ts')
  const flags = plainWords(words, enqueueFlags())
  if (!flags) return false
  const {runEnqueue} = await import('./enqueue-run.ts')
  const {shown} = await import('./enqueue-one.ts')
  say(shown(await runEnqueue(flags), flags.json === true))
  return true
}

function enqueueFlags(): KnownFlags {
  return JSON.parse(readFileSync(new URL('oclif.manifest.json', ROOT), 'utf8')).commands.enqueue.flags
}

/** Node warns of a configuration in TypeScript where no package.json says that it is a module. It runs all the same. */
function quietWarnings(): void {
  const emit = process.emitWarning as (...said: unknown[]) => void
  process.emitWarning = (...said: unknown[]) => {
    const [, options] = said
    const {code} = (typeof options === 'object' && options !== null ? options : {}) as {code?: string}
    if (code !== 'MODULE_TYPELESS_PACKAGE_JSON') emit(...said)
  }
}
