/**
 * What bin/run.js starts once the Node is known to be new enough: the quick lane for an enqueue, oclif for the rest.
 * Every way out goes through here, so that errors look alike and the exit status is honest.
 */
import {readFileSync} from 'node:fs'
import {EXIT, UsageError} from '../errors.ts'
import {showError} from './show-error.ts'

/** @param root the package's folder */
export async function start(argv: readonly string[], root: URL): Promise<void> {
  process.stdout.on('error', quietPipe)
  process.stderr.on('error', quietPipe)
  try {
    if (argv[0] === '--version' && argv.length === 1) return printVersion(root)
    if (argv[0] === 'enqueue') {
      const {quickEnqueue} = await import('./quick-enqueue.ts')
      if (await quickEnqueue(argv.slice(1), new URL('oclif.manifest.json', root))) return
    }
    const {runOclif} = await import('./run-oclif.ts')
    await runOclif([...argv], root)
  } catch (error) {
    process.exitCode = showError(error, wantsJson(argv))
  }
}

/** Was --json asked for? A mistake in the other words must not hide it. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return argv.slice(0, end < 0 ? argv.length : end).includes('--json')
}

function printVersion(root: URL): void {
  const {name, version} = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  process.stdout.write(`${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`)
}

/** `jobq list | head -1`: who reads no more wants no more. */
function quietPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.done)
  throw new UsageError(`can't write the output (${error.message})`, {cause: error})
}
