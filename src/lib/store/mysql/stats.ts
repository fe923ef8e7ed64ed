/** Counts and run times on MySQL, by function. */
import {
  type FinalStatus,
  type FuncAttempts,
  type FuncCounts,
  type FuncTimes,
  quantile,
} from '../../jobs/job.ts'
import {type Link, type Row, textOf} from './connection.ts'

export interface Func {
  id: number
  name: string
}

/** Every waiting job is counted once, along the index. */
export async function countsOf(link: Link, now: number, funcs: readonly Func[]): Promise<FuncCounts[]> {
  if (funcs.length === 0) return []
  const among = `func_id IN (${funcs.map(({id}) => id)})`
  const [waiting, failed, ended] = await link.batch([
    `SELECT func_id AS f, SUM(grabbed_until > ${now}) AS running,
         SUM(grabbed_until <= ${now} AND run_after <= ${now}) AS ready,
         SUM(grabbed_until <= ${now} AND run_after > ${now}) AS later,
         MIN(IF(grabbed_until <= ${now} AND run_after <= ${now}, run_after, NULL)) AS oldest
       FROM job FORCE INDEX (jobq_lane) WHERE ${among} GROUP BY func_id`,
    `SELECT func_id AS f, COUNT(*) AS n FROM exception_log WHERE ${among} AND retried = 0 GROUP BY func_id`,
    `SELECT func_id AS f, status, COUNT(*) AS n FROM job_status WHERE ${among} GROUP BY func_id, status`,
  ])
  return funcs.map(({id, name}) => {
    const jobs = waiting!.rows.find(({f}) => Number(f) === id) ?? {}
    const count = (rows: readonly Row[], status?: string) =>
      Number(rows.find(row => Number(row.f) === id && (!status || textOf(row.status) === status))?.n ?? 0)
    const {oldest = null} = jobs
    return {
      func: name,
      ready: Number(jobs.ready ?? 0),
      delayed: Number(jobs.later ?? 0),
      running: Number(jobs.running ?? 0),
      failed: count(failed!.rows),
      completed: count(ended!.rows, 'completed'),
      aborted: count(ended!.rows, 'abort'),
      oldestReadyAge: oldest === null ? null : Math.max(0, now - Number(oldest)),
    }
  })
}

export async function timesOf(link: Link, now: number, funcs: readonly Func[]): Promise<FuncTimes[]> {
  const hourAgo = (Math.floor(now / 60) - 59) * 60
  const times: FuncTimes[] = []
  for (const {id, name} of funcs) {
    const ended = `FROM job_status
        WHERE func_id = ${id} AND status IN ('completed', 'failed', 'abort') AND job_end_time >= ${hourAgo}`
    const [byTime, byMinute] = await link.batch([
      `SELECT GREATEST(job_end_time, job_start_time) - job_start_time AS took, COUNT(*) AS n ${ended}
         GROUP BY took ORDER BY took`,
      `SELECT LEAST(59, (job_end_time - ${hourAgo}) DIV 60) AS minute, COUNT(*) AS n ${ended} GROUP BY minute`,
    ])
    const took = byTime!.rows.map(({took, n}): [number, number] => [Number(took), Number(n)])
    if (took.length === 0) continue
    const perMinute = Array.from({length: 60}, () => 0)
    for (const {minute, n} of byMinute!.rows) perMinute[Number(minute)] = Number(n)
    times.push({func: name, median: quantile(took, 0.5), p95: quantile(took, 0.95), took, perMinute})
  }
  return times
}

export async function attemptsOf(link: Link, funcs: readonly Func[]): Promise<FuncAttempts[]> {
  if (funcs.length === 0) return []
  const [ended] = await link.batch([
    `SELECT func_id AS f, status, GREATEST(job_end_time, job_start_time) - job_start_time AS took, COUNT(*) AS n
       FROM job_status WHERE func_id IN (${funcs.map(({id}) => id)}) AND status IN ('completed', 'failed', 'abort')
       GROUP BY f, status, took`,
  ])
  const byFunc = Map.groupBy(ended!.rows, ({f}) => Number(f))
  return funcs.flatMap(({id, name}) => {
    const rows = byFunc.get(id) ?? []
    const ends = rows.map(({status, took, n}) => ({
      status: textOf(status) as FinalStatus,
      seconds: Number(took),
      attempts: Number(n),
    }))
    return ends.length === 0 ? [] : [{func: name, ended: ends}]
  })
}
