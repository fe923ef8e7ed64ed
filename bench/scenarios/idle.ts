/** What `jobq work` costs while nothing is to be done. */
import {type ChildProcess, spawn} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {FUNC, makeDatabase} from '../lib/floor.ts'
import {cleanEnvironment, program} from '../lib/jobq.ts'
import {median, named, ratio, type Series} from '../lib/measure.ts'
import {cpuTime, family, memory, terminate, until} from '../lib/processes.ts'
import type {Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

const BARE = program('bare-idle.cjs')

export const idle: Scenario = {
  name: 'idle',
  title: 'Idle',
  about: `\`jobq work\` with its defaults and one child, once it has worked a job and waits: CPU time of both processes
over some seconds (/proc/PID/task/*/schedstat), and their memory, beside a bare Node that has better-sqlite3 and
the database open. The CPU time is also that of such a Node which reads an empty table every 5 s, as often as \`jobq work\` looks for
jobs: on some machines what runs so seldom costs milliseconds. RSS counts pages that processes share (Node's own code)
once for each, PSS by their share.`,
  async run({jobq, folder, pick, defer}) {
    const seconds = pick(20, 3)
    const rounds = pick(5, 2)
    const cpu: Series = {name: 'jobq work, idle: CPU', unit: '%', values: []}
    const bareCpu: Series = {name: 'bare Node + better-sqlite3, a read every 5 s: CPU', unit: '%', values: []}
    const measured: Series[] = [cpu, bareCpu]
    const values = (name: string) => {
      const found = measured.find(series => series.name === name)
      if (found) return found.values
      const series: Series = {name, unit: 'MB', values: []}
      measured.push(series)
      return series.values
    }
    for (let round = 0; round < rounds; round++) {
      const place = workplace(jobq, folder(), {[`${FUNC}.mjs`]: 'export default {work() {}}\n'})
      const db = await makeDatabase(jobq, place.folder)
      const [bare, looking] = [[], ['5000']].map(words => {
        const program = spawn(process.execPath, [BARE, db, ...words], {
          env: cleanEnvironment(),
          stdio: 'pipe',
        })
        defer(() => terminate(program))
        return program
      }) as [ChildProcess, ChildProcess]
      const {child: work, log} = place.work(db)
      defer(() => terminate(work))
      const queue = await jobq.queue.JobQueue.open({db})
      await queue.enqueue(FUNC)
      await queue.close()
      await until(() => / completed /.test(readFileSync(log, 'utf8')), 'the first job', work)
      await sleep(6000) // what the commit has set off has calmed down
      const pids = family(work.pid!)
      const before = [sum(pids, cpuTime), cpuTime(looking.pid!)] as const
      await sleep(seconds * 1000)
      const share = (spent: number) => (spent / (seconds * 1000)) * 100
      cpu.values.push(share(sum(pids, cpuTime) - before[0]))
      bareCpu.values.push(share(cpuTime(looking.pid!) - before[1]))
      await terminate(looking) // it has pages in common with those whose memory is looked at
      for (const [field, label] of [
        ['VmRSS', 'RSS'],
        ['Pss', 'PSS'],
      ] as const) {
        values(`bare Node + better-sqlite3: ${label}`).push(memory(bare.pid!, field))
        values(`jobq work with one child: ${label}`).push(sum(pids, pid => memory(pid, field)))
        values(`– of that the dispatcher: ${label}`).push(memory(work.pid!, field))
      }
      await terminate(work)
      await terminate(bare)
    }
    return {
      series: measured,
      goals: [
        {what: 'idle `jobq work`: CPU', ratio: median(cpu.values), unit: '%', is: '<=', bound: 0.2},
        ...['RSS', 'PSS'].map(label => ({
          what: `idle \`jobq work\` with one child / bare Node + better-sqlite3, ${label}`,
          ...ratio(
            named(measured, `jobq work with one child: ${label}`),
            named(measured, `bare Node + better-sqlite3: ${label}`),
          ),
          is: '<=' as const,
          bound: 2.2,
        })),
      ],
    }
  },
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.map(of).reduce((total, one) => total + one, 0)
}
