/**
 * jobq's command line, called again and again in one process: for words that are only refused, of which there are
 * hundreds. It is the built one, called as bin/run.js calls it; a process for each takes ten times as long. That a
 * refusal ends its process is for those to show that have one.
 */
import {type ChildProcess, fork} from 'node:child_process'
import {EventEmitter, once} from 'node:events'
import {fstatSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync} from 'node:fs'
import {createRequire} from 'node:module'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import type {Finished} from './started.ts'

export interface Call {
  words: readonly string[]
  cwd: string
  env: NodeJS.ProcessEnv
}

const FILE = fileURLToPath(import.meta.url)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Callee {
  child: ChildProcess
  /** Files without names. */
  stdout: number
  stderr: number
}

let callee: Callee | undefined
let calls: Promise<unknown> = Promise.resolve()

/** One after the other, whoever asks. */
export function calledInOneProcess(call: Call): Promise<Finished> {
  const called = calls.then(() => callNow(call))
  calls = called.catch(() => {})
  return called
}

async function callNow(call: Call): Promise<Finished> {
  callee ??= begun()
  const {child, stdout, stderr} = callee
  hold(child, true)
  const done = new AbortController()
  const {signal} = done
  const died = once(child, 'exit', {signal}).then(([code]) =>
    Promise.reject(new Error(`it exited with ${code}`)),
  )
  child.send(call)
  const [code] = (await Promise.race([once(child, 'message', {signal}), died])) as [number]
  done.abort()
  await died.catch(() => {})
  hold(child, false)
  return {code, signal: null, stdout: taken(stdout), stderr: taken(stderr)}
}

function begun(): Callee {
  const folder = mkdtempSync(join(tmpdir(), 'jobq-test-'))
  const [stdout, stderr] = ['out', 'err'].map(name => openSync(join(folder, name), 'a+')) as [number, number]
  rmSync(folder, {recursive: true})
  const child = fork(FILE, {execArgv: [], stdio: ['ignore', stdout, stderr, 'ipc']})
  return {child, stdout, stderr}
}

/** Only while it is waited for does it keep this process alive. */
function hold(child: ChildProcess, isHeld: boolean): void {
  for (const held of [child, child.channel!]) isHeld ? held.ref() : held.unref()
}

function taken(fd: number): string {
  const text = Buffer.alloc(fstatSync(fd).size)
  readSync(fd, text, 0, text.length, 0)
  ftruncateSync(fd)
  return text.toString()
}

if (process.argv[1] === FILE) {
  const {start} = createRequire(import.meta.url)(join(ROOT, 'dist/lib/cli/main.cjs')) as {
    start(words: readonly string[], root: string): Promise<void>
  }
  EventEmitter.defaultMaxListeners = 0 // each call adds its own
  process.on('message', async ({words, cwd, env}: Call) => {
    process.chdir(cwd)
    for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name]
    Object.assign(process.env, env)
    await start(words, ROOT)
    process.removeAllListeners('uncaughtException')
    const {exitCode = 0} = process
    process.exitCode = undefined
    process.chdir('/')
    process.send!(exitCode)
  })
}
