/**
 * Other queues, as bench/package.json names them. They are installed on first use, into bench/node_modules; what can't
 * be installed or has no server is left out. Imported dynamically: without them everything else still runs and compiles.
 */
import {execFileSync} from 'node:child_process'
import {existsSync, readFileSync} from 'node:fs'
import {connect} from 'node:net'
import {join} from 'node:path'
import {BENCH} from './jobq.ts'

/** No-op jobs through a queue; each method does `count` of them. */
export interface PeerQueue {
  enqueue?(count: number): Promise<void> | void
  enqueueMany?(count: number): Promise<void> | void
  /** @returns jobs a second, starting the worker left out */
  work?(count: number): Promise<number>
  close(): Promise<void> | void
}

/** Installs what is missing. Never fails: what is not there afterwards is left out. */
export function installPeers(say: (line: string) => void): void {
  const {optionalDependencies} = JSON.parse(readFileSync(join(BENCH, 'package.json'), 'utf8'))
  const missing = () => Object.keys(optionalDependencies).filter(name => !isInstalled(name))
  if (missing().length === 0) return
  say(`installing into bench/node_modules: ${missing().join(', ')}`)
  if (!npm('ci')) npm('install')
  for (const name of missing()) say(`${name} can't be installed: left out`)
}

function npm(...words: string[]): boolean {
  try {
    const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
    execFileSync('npm', [...words, ...quiet], {
      cwd: BENCH,
      stdio: 'ignore',
      timeout: 60_000,
    })
    return true
  } catch {
    return false
  }
}

function isInstalled(name: string): boolean {
  return existsSync(join(BENCH, 'node_modules', name, 'package.json'))
}

export function versionOf(name: string): string {
  return JSON.parse(readFileSync(join(BENCH, 'node_modules', name, 'package.json'), 'utf8')).version
}

/** A package of bench/node_modules, with so much of its types as is used here. @throws Unavailable */
export async function load<T>(name: string): Promise<T> {
  if (!isInstalled(name)) throw new Unavailable(`${name} is not installed`)
  return (await import(name)) as T
}

/** Left out, and why. */
export class Unavailable extends Error {}

/** @returns what use returns; where something is unavailable, says so in `leftOut` and returns null */
export async function ifAvailable<T>(
  what: string,
  leftOut: string[],
  use: () => Promise<T>,
): Promise<T | null> {
  try {
    return await use()
  } catch (error) {
    leftOut.push(`${what}: ${(error as Error).message.split('\n', 1)[0]}`)
    return null
  }
}

/** Databases of this machine's own; addresses of others can be given. */
export const SERVERS = {
  postgres: process.env.JOBQ_BENCH_POSTGRES ?? 'postgres://postgres@127.0.0.1:5432/postgres',
  mariadb: process.env.JOBQ_BENCH_MARIADB ?? 'mysql://root@127.0.0.1:3306/',
  redis: process.env.JOBQ_BENCH_REDIS ?? 'redis://127.0.0.1:6379',
}

/** @throws Unavailable if nothing listens there */
export async function needServer(url: string): Promise<void> {
  const {hostname, port} = new URL(url)
  await new Promise<void>((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    socket.setTimeout(2000, () => socket.destroy(new Error('no answer')))
    socket.once('connect', () => {
      socket.destroy()
      resolve()
    })
    socket.once('error', error =>
      reject(new Unavailable(`no server on ${hostname}:${port} (${error.message})`)),
    )
  })
}
