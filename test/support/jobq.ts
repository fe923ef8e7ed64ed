/**
 * jobq as a user runs it, in a folder of its own, with nothing of this machine's settings.
 *
 *   const jobq = jobqIn(t)
 *   const {stdout, stderr, code, signal} = await jobq(['list', '--json'])
 *
 * Its default database is `jobq.db`, a path that need not exist yet.
 *
 * A command that ends by itself is called in a process that stays (one-process.ts), which takes a tenth of the time, on a terminal
 * of its own as well. A real process of bin/run.js have what that one can't show: what is read from standard input, signals, a
 * reader that is gone, another user, NODE_OPTIONS, and `work`, `web` and `top`, which stay. \`alone\` is for what is to be shown of
 * a process though no option says so. That every command says and does the same both ways, and ends its process,
 * test/commands/processes.test.ts shows.
 */
import type {StdioOptions} from 'node:child_process'
import {chownSync, mkdirSync} from 'node:fs'
import {join} from 'node:path'
import type {TestContext} from 'node:test'
import {fileURLToPath} from 'node:url'
import {COMPILE_CACHE} from './compile-cache.ts'
import {asksForItsOwn, calledInOneProcess, isCallable} from './one-process.ts'
import {type Finished, Started} from './started.ts'
import {tempFolder} from './temp.ts'

export const RUN_JS = fileURLToPath(new URL('../../bin/run.js', import.meta.url))

export interface RunOptions {
  /** On top of an environment without settings; undefined takes a variable away. */
  env?: Record<string, string | undefined>
  /** What it can read, default nothing. `open`: no end until `child.stdin.end()`. */
  stdin?: string | Uint8Array | 'open'
  /** Default: its folder. */
  cwd?: string
  /** What is run instead of node and bin/run.js. */
  command?: readonly string[]
  /** The file that its output goes to, open. */
  stdout?: number
  /** As another user (needs root); its folder is given to that one. */
  uid?: number
  /**
   * On a terminal. `all`: with all three streams, and what it writes to stderr comes in stdout, too. `stdout`: stderr
   * stays a pipe. Lines end in \n all the same. Ctrl-C is `child.stdin.write('\x03')`, with stdin: 'open'.
   */
  tty?: 'all' | 'stdout'
  /** The terminal's size; default 80 × 24. */
  columns?: number
  rows?: number
}

export interface Jobq {
  (args: readonly string[], options?: RunOptions): Promise<Finished>
  /** Does not wait for its end. */
  start(args: readonly string[], options?: RunOptions): Started
  /** In a process of its own, whatever it is. */
  alone(args: readonly string[], options?: RunOptions): Promise<Finished>
  /** In a process that others share, whatever it is, where no option asks for one of its own. */
  call(args: readonly string[], options?: RunOptions): Promise<Finished>
  readonly folder: string
  readonly db: string
}

export function jobqIn(t: Pick<TestContext, 'after'>): Jobq {
  const running: Started[] = []
  t.after(async () => {
    for (const process of running) if (!process.hasExited) process.kill('SIGKILL')
    await Promise.allSettled(running.map(process => process.exited))
  })
  const folder = tempFolder(t) // its removal comes after the last process's end
  const db = join(folder, 'data', 'jobq', 'jobq.db')
  mkdirSync(join(folder, 'data', 'jobq'), {recursive: true})
  const start = (args: readonly string[], options: RunOptions = {}) => {
    if (options.uid !== undefined) chownSync(folder, options.uid, options.uid)
    const started = spawned([...(options.command ?? [process.execPath, RUN_JS]), ...args], folder, options)
    running.push(started)
    if (options.stdin !== 'open') started.child.stdin!.end(options.stdin)
    return started
  }
  const alone = (args: readonly string[], options: RunOptions = {}) =>
    start(args, options).exited.then(finished => withPlainEnds(finished, options))
  const call = async (args: readonly string[], options: RunOptions = {}) => {
    if (!isShareable(options)) return alone(args, options)
    const {cwd = folder, env, ...terminal} = options
    const called = calledInOneProcess({words: args, cwd, env: environment(folder, env)}, terminal)
    return withPlainEnds(await called, options)
  }
  const run = (args: readonly string[], options?: RunOptions) =>
    (isCallable(args) ? call : alone)(args, options)
  return Object.assign(run, {start, alone, call, folder, db})
}

/** Is there no option that asks for a process of its own? */
export function isShareable({env, cwd: _, tty: __, columns: ___, rows: ____, ...own}: RunOptions): boolean {
  return Object.keys(own).length === 0 && !asksForItsOwn(env)
}

function withPlainEnds(finished: Finished, {tty}: RunOptions): Finished {
  return tty ? {...finished, stdout: finished.stdout.replaceAll('\r\n', '\n')} : finished
}

function spawned(command: readonly string[], folder: string, options: RunOptions): Started {
  const {cwd = folder, uid, tty, stdout} = options
  const spawnOptions = {
    cwd,
    env: environment(folder, options.env),
    ...(stdout === undefined ? {} : {stdio: ['pipe', stdout, 'pipe'] satisfies StdioOptions}),
    ...(uid === undefined ? {} : {uid, gid: uid}),
  }
  if (tty === undefined) return new Started(command[0]!, command.slice(1), spawnOptions)
  const {columns = 80, rows = 24} = options
  const inner = `stty cols ${columns} rows ${rows}; exec ${command.map(quoted).join(' ')}${tty === 'stdout' ? ' 2>&3' : ''}`
  return new Started(
    '/bin/sh',
    ['-c', `exec 3>&2; exec script -qefc ${quoted(inner)} /dev/null`],
    spawnOptions,
  )
}

function environment(folder: string, more: RunOptions['env'] = {}): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    HOME: folder,
    XDG_DATA_HOME: join(folder, 'data'),
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    TERM: 'xterm-256color',
    TZ: 'UTC',
    ...more,
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}
