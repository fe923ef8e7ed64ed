/** What other processes do: waits for what they print, and /proc's word on their time and memory (Linux only). */
import type {ChildProcess} from 'node:child_process'
import {readdirSync, readFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'

const PATIENCE_MS = 300_000

/** @throws if it is not so within minutes, or the process ends before */
export async function until(
  isSo: () => boolean,
  what: string,
  child?: ChildProcess,
  pauseMs = 5,
): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS
  while (!isSo()) {
    if (child && (child.exitCode !== null || child.signalCode !== null) && !isSo())
      throw new Error(`ended (${child.exitCode ?? child.signalCode}) before ${what}`)
    if (performance.now() > giveUpAt) throw new Error(`waited for ${what} in vain`)
    await sleep(pauseMs)
  }
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise(resolve => child.once('exit', resolve))
}

/** Ends it as an administrator would, and waits. */
export async function terminate(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
  await ended(child)
}

/** A process and all that it has started. */
export function family(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      parents.set(Number(name), Number(statFields(Number(name))[1]))
    } catch {} // gone meanwhile
  }
  const found = [pid]
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child)
  return found
}

/** CPU time used so far by all its threads, in ms. */
export function cpuTime(pid: number): number {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    const nanoseconds = threads.map(id =>
      Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]),
    )
    return nanoseconds.reduce((sum, one) => sum + one, 0) / 1e6
  } catch {
    const fields = statFields(pid)
    return (Number(fields[11]) + Number(fields[12])) * 10 // in ticks of 10 ms
  }
}

/** In MB. VmRSS, VmHWM (the most so far); Pss counts what is shared by its share. */
export function memory(pid: number, field: 'VmRSS' | 'VmHWM' | 'Pss'): number {
  const text = readFileSync(`/proc/${pid}/${field === 'Pss' ? 'smaps_rollup' : 'status'}`, 'utf8')
  const [, kib] = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text) ?? []
  return Number(kib) / 1024
}

/** The most memory that a process has had, in MB, looked at until it ends. */
export async function peakMemory(child: ChildProcess): Promise<number> {
  let peak = 0
  const look = () => {
    try {
      peak = Math.max(peak, memory(child.pid!, 'VmHWM') || 0)
    } catch {} // it is ending, or this is no Linux
  }
  const timer = setInterval(look, 10)
  look()
  await ended(child)
  clearInterval(timer)
  return peak
}

/** The most that it and all that it has started have had at a time, in MB; what they share is counted for each. */
export async function familyMemory(child: ChildProcess): Promise<number> {
  let peak = 0
  const timer = setInterval(() => {
    let sum = 0
    for (const pid of family(child.pid!))
      try {
        sum += memory(pid, 'VmRSS') || 0 // it is ending
      } catch {} // it has ended
    peak = Math.max(peak, sum)
  }, 50)
  await ended(child)
  clearInterval(timer)
  return peak
}

/** The fields of /proc/PID/stat behind the name, which may hold anything. */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}
