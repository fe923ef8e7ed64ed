/**
 * The process that one-process.ts calls: the built command line, started again for each call in what the call says is its folder
 * and its environment. jobq's own modules are loaded afresh, so that nothing is left in them of the call before.
 */
import {readdirSync, readlinkSync, writeSync} from 'node:fs'
import {createRequire, registerHooks} from 'node:module'
import {fileURLToPath, pathToFileURL} from 'node:url'
import type {Call} from './one-process.ts'

/** As one-process.ts has it, which is not loaded here. */
const END: typeof import('./one-process.ts').END = '\0'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const DIST = fileURLToPath(new URL('../../dist/', import.meta.url))
/** Packages that read the environment when they are loaded. */
const AFRESH = [DIST, fileURLToPath(new URL('../../node_modules/pg/', import.meta.url))]
const OURS = pathToFileURL(ROOT).href
const require = createRequire(import.meta.url)

/** They are made once, with what belongs to them. */
const {stdin, stdout} = process

/** What jobq and oclif change for the rest of a process. */
const before = {
  stdout: Object.getOwnPropertyDescriptor(process, 'stdout')!,
  stderr: Object.getOwnPropertyDescriptor(process, 'stderr')!,
  emitWarning: process.emitWarning,
  title: process.title,
  console: {...console},
}

/** Users' modules stay loaded, as they were. */
let hasUsersModules = false
registerHooks({
  load: (url, context, next) => {
    hasUsersModules ||= !url.startsWith('node:') && !url.startsWith(OURS)
    return next(url, context)
  },
})

process.on('message', ({words, cwd, env}: Call) => {
  process.channel!.unref() // from here on only what the command does keeps the process alive
  process.chdir(cwd)
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name]
  Object.assign(process.env, env)
  for (const path of Object.keys(require.cache))
    if (AFRESH.some(folder => path.startsWith(folder))) delete require.cache[path]
  const {start} = require('../../dist/lib/cli/main.cjs') as {
    start(words: readonly string[], root: string): Promise<void>
  }
  const state = stateOf()
  process.once('beforeExit', () => {
    process.removeAllListeners('uncaughtException')
    if (hasUsersModules || stateOf() !== state) return // it ends
    process.channel!.ref()
    const {exitCode = 0} = process
    process.exitCode = undefined
    process.emitWarning = before.emitWarning
    process.title = before.title
    Object.assign(console, before.console)
    for (const name of ['stdout', 'stderr'] as const) {
      Object.defineProperty(process, name, before[name])
      process[name].removeAllListeners('error')
    }
    process.chdir('/')
    if (stdout.isTTY) writeSync(1, END)
    process.send!(exitCode)
  })
  void start(words, ROOT)
})

/** Whom the process calls, what it has open, and how far standard input was read. */
function stateOf(): string {
  const listeners = process.eventNames().map(name => [String(name), process.listenerCount(name)])
  return JSON.stringify([
    listeners.sort(),
    openFiles(),
    process.getActiveResourcesInfo(),
    stdin.readableDidRead,
  ])
}

/** Without Node's own, which have no place in the file system: it makes them when it first needs them. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      const file = readlinkSync(`/proc/self/fd/${fd}`)
      return file.startsWith('anon_inode:') ? [] : [`${fd} ${file}`]
    } catch {
      return [] // of the folder that was just read
    }
  })
}
