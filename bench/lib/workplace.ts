/** A folder with workers, and `jobq work` in it. */
import type {ChildProcess} from 'node:child_process'
import {closeSync, mkdirSync, openSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {cleanEnvironment, type Jobq} from './jobq.ts'
import {ended} from './processes.ts'

export interface Working {
  child: ChildProcess
  log: string
}

export interface Workplace {
  folder: string
  /** Starts `jobq work` with these flags. @returns it, and the file that its log goes to */
  work(db: string, ...flags: string[]): Working
  /** Of one that works until nothing is ready. @returns jobs a second, from the first line of the log to the last */
  rateOf(working: Working): Promise<number>
  /** Both. */
  drain(db: string, ...flags: string[]): Promise<number>
}

/** @param workers files of the workers folder; what begins with #! gets its run bit */
export function workplace(jobq: Jobq, folder: string, workers: Record<string, string>): Workplace {
  mkdirSync(join(folder, 'workers'))
  for (const [name, text] of Object.entries(workers))
    writeFileSync(join(folder, 'workers', name), text, {mode: text.startsWith('#!') ? 0o755 : 0o644})
  let logs = 0
  const work = (db: string, ...flags: string[]) => {
    const log = join(folder, `log-${++logs}`)
    const fd = openSync(log, 'w')
    const env = cleanEnvironment({BENCH_NOTES: join(folder, 'notes')})
    const child = jobq.start(['work', '--db', db, ...flags], {
      cwd: folder,
      env,
      stdio: ['ignore', 'ignore', fd],
    })
    closeSync(fd)
    return {child, log}
  }
  const rateOf = async ({child, log}: Working) => {
    await ended(child)
    const times = endTimes(log)
    if (child.exitCode !== 0 || times.length < 2) throw new Error(`jobq work --drain failed: ${tail(log)}`)
    return (times.length - 1) / ((times.at(-1)! - times[0]!) / 1000)
  }
  return {folder, work, rateOf, drain: (db, ...flags) => rateOf(work(db, '--drain', ...flags))}
}

/** When jobs were completed, by the log: ms since 1970. */
export function endTimes(log: string): number[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .filter(line => / completed /.test(line))
    .map(line => Date.parse(line.slice(0, 24)))
}

function tail(log: string): string {
  return readFileSync(log, 'utf8').split('\n').slice(-4).join(' ')
}
