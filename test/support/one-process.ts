/**
 * jobq's command line in processes that stay (callee.ts), for the thousands of commands that tests give only to see what they say
 * and what they leave in a database: a start of Node.js for each would take ten times as long as what it is there for.
 *
 * What is called is the built command line, as bin/run.js calls it. A call ends when Node would end the process: not when the
 * command has returned, but when nothing is left that would keep the process alive. A command that ends its process itself
 * does so here, too; so does one after which the process is not as it was before, be it by a listener, a descriptor, or a
 * module of the user's. The next call then gets another.
 *
 * What is different: standard input is empty, or a terminal on which nobody types; output goes to files, or to a terminal; and
 * there is a channel to this process.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {fstatSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync} from 'node:fs'
import type {Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {COMPILE_CACHE} from './compile-cache.ts'
import type {Finished} from './started.ts'

export interface Call {
  words: readonly string[]
  cwd: string
  env: NodeJS.ProcessEnv
}

/** A terminal for all three streams, or for all but standard error. */
export interface Terminal {
  tty?: 'all' | 'stdout' | undefined
  /** Default 80 × 24. */
  columns?: number | undefined
  rows?: number | undefined
}

/** What Node, the system and SQLite read once, or only where a process starts. */
const ITS_OWN = /^(NODE_|LD_|TMPDIR$|SQLITE_)/
/** What is read once of languages and colours: calls that want the same share a process. */
const READ_ONCE = /^(LC_|LANG|NO_COLOR$|FORCE_COLOR$|DEBUG$)/

/**
 * Can a command be called where others are? Not those that stay until they are told to go, nor what reads standard input, nor with
 * such variables on top.
 */
export function isCallable(words: readonly string[], env: NodeJS.ProcessEnv = {}): boolean {
  return !stays(words) && !asksForItsOwn(env)
}

export function asksForItsOwn(env: NodeJS.ProcessEnv = {}): boolean {
  return Object.keys(env).some(name => ITS_OWN.test(name))
}

function stays(words: readonly string[]): boolean {
  return ['work', 'web', 'top'].includes(words[0] ?? '') || words.includes('-') || words.includes('--follow')
}

/** So long that only what never happens takes it. */
const PATIENCE_MS = 120_000

const CALLEE = fileURLToPath(new URL('callee.ts', import.meta.url))
/** Behind all that a call has written to its terminal. */
export const END = '\0'

interface Callee {
  child: ChildProcess
  /** What was written since it was last asked. */
  taken(): {stdout: string; stderr: string}
  /** Resolves when all of a call that has ended is there. */
  written(): Promise<void>
}

const idle = new Map<string, Callee[]>()

/** Calls at the same time have processes of their own. */
export function calledInOneProcess(
  call: Call,
  {tty, columns = 80, rows = 24}: Terminal = {},
): Promise<Finished> {
  const env = Object.fromEntries(Object.entries(call.env).filter(([name]) => READ_ONCE.test(name)))
  const key = JSON.stringify([env, tty, columns, rows])
  const callee = idle.get(key)?.pop() ?? begun(env, {tty, columns, rows})
  const {child, taken, written} = callee
  hold(child, true)
  const {promise, resolve, reject} = Promise.withResolvers<Finished>()
  const finish = (code: number | null, signal: NodeJS.Signals | null) => {
    clearTimeout(timer)
    child.removeAllListeners()
    resolve({code, signal, ...taken()})
  }
  const timer = setTimeout(() => {
    child.removeAllListeners().kill('SIGKILL')
    const {stdout, stderr} = taken()
    reject(new Error(`expected an end, got none after\n${stdout}${stderr}`))
  }, PATIENCE_MS)
  child.once('error', reject)
  child.once('close', finish)
  child.once('message', async (code: number) => {
    await written()
    finish(code, null)
    hold(child, false)
    idle.set(key, [...(idle.get(key) ?? []), callee])
  })
  child.send(call)
  return promise
}

function begun(env: NodeJS.ProcessEnv, {tty, columns, rows}: Terminal): Callee {
  const folder = mkdtempSync(join(tmpdir(), 'jobq-test-'))
  const [stdout, stderr] = ['out', 'err'].map(name => openSync(join(folder, name), 'a+')) as [number, number]
  rmSync(folder, {recursive: true}) // they need no names
  const options = {
    env: {PATH: process.env.PATH, NODE_COMPILE_CACHE: COMPILE_CACHE, TERM: 'xterm-256color', ...env},
  }
  if (!tty) {
    const child = spawn(process.execPath, [CALLEE], {...options, stdio: ['ignore', stdout, stderr, 'ipc']})
    return {child, taken: () => ({stdout: taken(stdout), stderr: taken(stderr)}), written: async () => {}}
  }
  const inner = `stty cols ${columns} rows ${rows}; exec ${process.execPath} ${CALLEE}${tty === 'stdout' ? ' 2>&4' : ''}`
  const stdio = ['pipe', 'pipe', stderr, 'ipc', stderr] as const
  const child = spawn('script', ['-qefc', inner, '/dev/null'], {...options, stdio: [...stdio]})
  let said = ''
  let onSaid = () => {}
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    said += text
    onSaid()
  })
  return {
    child,
    taken: () => {
      const text = said.replace(END, '')
      said = ''
      return {stdout: text, stderr: taken(stderr)}
    },
    written: () =>
      new Promise(resolve => {
        onSaid = () => {
          if (said.endsWith(END)) resolve()
        }
        onSaid()
      }),
  }
}

/** Only while it is waited for does it keep this process alive. */
function hold(child: ChildProcess, isHeld: boolean): void {
  const streams = [child.stdin, child.stdout] as (Socket | null)[]
  for (const held of [child, child.channel, ...streams]) isHeld ? held?.ref() : held?.unref()
}

function taken(fd: number): string {
  const text = Buffer.alloc(fstatSync(fd).size)
  readSync(fd, text, 0, text.length, 0)
  ftruncateSync(fd)
  return text.toString()
}
