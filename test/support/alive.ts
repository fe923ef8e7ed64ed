import {readdirSync, readFileSync} from 'node:fs'
import {until} from './until.ts'

/** Is there such a process, and not only what is left of it for its parent to collect? */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

export async function untilGone(...pids: number[]): Promise<void> {
  for (const pid of pids) await until(`process ${pid} is gone`, () => !isAlive(pid))
}

/** The living processes with this in their environment, NAME=VALUE, by whomever they were started. */
export function processesWith(variable: string): number[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  return pids.map(Number).filter(pid => readOf(pid, 'environ').includes(`${variable}\0`) && isAlive(pid))
}

/** The processes that this one has started. */
export function childrenOf(pid: number): number[] {
  return readOf(pid, `task/${pid}/children`).split(' ').filter(Boolean).map(Number)
}

/** Its words, each with a NUL behind it; empty if it is gone. */
export function commandLineOf(pid: number): string {
  return readOf(pid, 'cmdline')
}

function readOf(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1')
  } catch {
    return '' // gone
  }
}
