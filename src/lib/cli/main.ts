/**
 * What bin/run.js starts. Plain words are read here; the rest (help, a mistake) is read by oclif, which takes 60 ms to
 * evaluate, as long as all of `jobq list`, and 18 MB.
 */

import {UsageError} from '../jobs/errors.ts'
import {withoutPassword} from '../jobs/passwords.ts'
import {plainFlags, runCommand} from './command.ts'
import {guarded, wantsJson} from './guarded.ts'
import {guardOutput, say} from './output-guard.ts'
import {isVersion, versionText} from './version.ts'

/** @param root the package's folder */
export async function start(argv: readonly string[], root: string): Promise<void> {
  guardOutput()
  quietWarnings()
  await guarded(argv, root, () => run(argv, root))
  setImmediate(leave)
}

/**
 * Where nothing is left to wait for, the process would end by itself in a moment, but for taking its heap apart: that
 * takes 8 % of the time of `node -e 0`.
 */
function leave(): void {
  if (process.getActiveResourcesInfo().length === 0 && process.listenerCount('beforeExit') === 0)
    process.exit()
}

async function run(argv: readonly string[], root: string): Promise<void> {
  checkWords(argv)
  hidePasswords(argv)
  if (isVersion(argv[0])) return say(versionText(root, wantsJson(argv)))
  const [name = '', ...words] = argv
  const flags = plainFlags(name, words)
  if (flags) return runCommand(name, flags)
  const {asSomeone} = await import('./as-someone.ts')
  const {runOclif} = await asSomeone(() => import('./oclif.ts'))
  await runOclif([...argv], root)
}

/** Node hands words over as text, in which bytes that are not UTF-8 have become U+FFFD: stored like that they would be damaged. */
function checkWords(argv: readonly string[]): void {
  const wrong = argv.find(word => word.includes('\uFFFD'))
  if (wrong === undefined) return
  throw new UsageError(`expected words in UTF-8, got bytes that are not: ${JSON.stringify(wrong)}`, {
    hint: 'an argument of any bytes can come through --arg-file and --serializer none',
  })
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
