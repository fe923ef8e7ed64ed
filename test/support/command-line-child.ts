/**
 * The built command line in one process for many command lines: a start of Node.js for each of a hundred thousand would take
 * hours. What it reads and writes are files; all that a run leaves behind in the process is taken away before the next.
 */
import {createRequire} from 'node:module'
import {fileURLToPath} from 'node:url'

/** What is to be run. */
export interface Line {
  argv: string[]
  env: Record<string, string>
}

/** How that ended. */
export interface Ended {
  code: number
}

const root = fileURLToPath(new URL('../../', import.meta.url))
const {start} = createRequire(import.meta.url)('../../dist/lib/cli/main.cjs') as {
  start(argv: readonly string[], root: string): Promise<void>
}
const environment = {...process.env}
const log = console.log

let end = (_code: number) => {}
process.exit = ((code?: number) => end(Number(code ?? process.exitCode ?? 0))) as typeof process.exit

process.on('message', (line: Line) => {
  void run(line)
})
process.send!('ready')

async function run({argv, env}: Line): Promise<void> {
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, environment, env)
  process.exitCode = undefined
  console.log = console.info = console.debug = log
  for (const event of ['uncaughtException', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'beforeExit'])
    process.removeAllListeners(event)
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error')
  const {promise, resolve} = Promise.withResolvers<number>()
  end = resolve
  const done = start(argv, root).then(() => Number(process.exitCode ?? 0))
  process.send!({code: await Promise.race([done, promise])} satisfies Ended)
}
