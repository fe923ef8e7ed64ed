/**
 * What bin/run.js starts once the Node is known to be new enough: the quick lane for an enqueue, oclif for the rest.
 * Every way out goes through here, so that errors look alike and the exit status is honest.
 */
import {readFileSync} from 'node:fs'
import {UnfinishedError} from '../errors.ts'
import {guardOutput} from './output-guard.ts'
import {showError} from './show-error.ts'

/** From the sources (bin/dev.js) a manifest would tell of the last build's flags: then all goes through oclif. */
const isSource = import.meta.url.endsWith('.ts')

/** @param root the package's folder */
export async function start(argv: readonly string[], root: URL): Promise<void> {
  const fail = (error: unknown) => {
    process.exitCode = showError(error, wantsJson(argv))
  }
  const unfinished = () => fail(new UnfinishedError())
  guardOutput()
  quietWarnings()
  process.once('beforeExit', unfinished)
  process.on('uncaughtException', error => {
    fail(error)
    process.exit()
  })
  try {
    await run(argv, root)
  } catch (error) {
    fail(error)
  } finally {
    process.off('beforeExit', unfinished)
  }
}

async function run(argv: readonly string[], root: URL): Promise<void> {
  if (argv.some(word => word.includes('\uFFFD'))) (await import('./raw-words.ts')).checkWords(argv)
  if (argv[0] === '--version' || argv[0] === '-v') return printVersion(root, wantsJson(argv))
  if (argv[0] === 'enqueue' && !isSource) {
    const {quickEnqueue} = await import('./quick-enqueue.ts')
    if (await quickEnqueue(argv.slice(1), new URL('oclif.manifest.json', root))) return
  }
  const {runOclif} = await import('./run-oclif.ts')
  await runOclif([...argv], root)
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

/** Was --json asked for? A mistake in the other words must not hide it. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return argv.slice(0, end < 0 ? argv.length : end).includes('--json')
}

function printVersion(root: URL, json: boolean): void {
  const {name, version} = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  const platform = `${process.platform}-${process.arch}`
  const text = `${name}/${version} ${platform} node-${process.version}`
  const document = {name, version, platform, node: process.version}
  process.stdout.write(`${json ? JSON.stringify(document) : text}\n`)
}
