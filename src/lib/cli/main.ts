/**
 * What bin/run.js starts for whatever the quick lane (quick.ts) leaves: plain words without oclif, the rest with it.
 */

import {withoutPassword} from '../jobs/passwords.ts'
import {EXTENSION, LIBRARY} from '../own-modules.ts'
import {guarded, wantsJson} from './guarded.ts'
import {guardOutput, say} from './output-guard.ts'
import {isVersion, versionText} from './version.ts'

/** The package's folder. */
const ROOT = new URL('../../', LIBRARY)
/** From the sources (bin/dev.js) a manifest would tell of the last build's flags: then all goes through oclif. */
const isSource = EXTENSION === '.ts'

export function start(argv: readonly string[]): Promise<void> {
  guardOutput()
  quietWarnings()
  return guarded(argv, () => run(argv))
}

async function run(argv: readonly string[]): Promise<void> {
  if (argv.some(word => word.includes('\uFFFD'))) (await import('./raw-words.ts')).checkWords(argv)
  hidePasswords(argv)
  if (isVersion(argv[0])) return say(versionText(ROOT, wantsJson(argv)))
  if (!isSource) {
    const {runPlainly} = await import('./run/plain.ts')
    if (await runPlainly(argv, ROOT)) return
  }
  const {asSomeone} = await import('./as-someone.ts')
  const {runOclif} = await asSomeone(() => import('./oclif.ts'))
  await runOclif([...argv], ROOT)
}

/** `ps` shows every process's words to everyone. A title takes their place in memory, so that nothing is left of them. */
function hidePasswords(argv: readonly string[]): void {
  const shown = argv.map(withoutPassword)
  if (shown.some((word, i) => word !== argv[i])) process.title = ['jobq', ...shown].join(' ')
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
