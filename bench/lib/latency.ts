/** From an enqueue's commit in this process to the job's start in another one, which waits idle. */
import type {ChildProcess} from 'node:child_process'
import {existsSync, readFileSync, writeFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {ARG, FUNC} from './floor.ts'
import type {Jobq} from './jobq.ts'
import {quantile, type Series} from './measure.ts'
import {terminate, until} from './processes.ts'

/** The first ones meet code that was never run before. */
const WARM = 10

export interface LatencyOptions {
  db: string
  count: number
  /** Where the worker writes `ID NANOSECONDS`, a line a job, by CLOCK_MONOTONIC. */
  notes: string
  start(): ChildProcess
}

/** @returns ms, one for each job */
export async function latencies(jobq: Jobq, {db, count, notes, start}: LatencyOptions): Promise<number[]> {
  writeFileSync(notes, '')
  const worker = start()
  const queue = await jobq.queue.JobQueue.open({db})
  const times: number[] = []
  try {
    for (let i = 0; i < count + WARM; i++) {
      const {id} = await queue.enqueue(FUNC, {arg: ARG})
      const committed = process.hrtime.bigint()
      await until(() => readNotes(notes).has(id), `job ${id} to start`, worker)
      if (i >= WARM) times.push(Number(readNotes(notes).get(id)! - committed) / 1e6)
      await sleep(20 + Math.random() * 20)
    }
  } finally {
    await queue.close()
    await terminate(worker)
  }
  return times
}

export function latencySeries(name: string, times: number[]): Series[] {
  return [
    {name: `${name}, p50`, unit: 'ms', values: [quantile(times, 0.5)]},
    {name: `${name}, p99`, unit: 'ms', values: [quantile(times, 0.99)]},
    {name: `${name}, all ${times.length}`, unit: 'ms', values: times},
  ]
}

/** When each job started. */
function readNotes(path: string): Map<number, bigint> {
  if (!existsSync(path)) return new Map()
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return new Map(
    lines.map(line => {
      const [id = '', at = ''] = line.split(' ')
      return [Number(id), BigInt(at)]
    }),
  )
}
