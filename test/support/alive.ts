import {readFileSync} from 'node:fs'
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
