/** Counts and run times by function. */
import {type FuncAttempts, type FuncCounts, type FuncTimes, quantile} from '../../../jobs/stats.ts'
import {atNow, type Reading, rowsOf, textOf} from './reading.ts'
import {chosen, type Func, type ReadsSql} from './sql.ts'

interface Waiting extends Record<'funcId' | 'ready' | 'delayed' | 'waiting' | 'running', number> {
  oldest: number | null
}
interface Tried {
  funcId: number
  attempts: number
  jobs: number
}
interface Counted {
  funcId: number
  status?: unknown
  value: number
  jobs: number
}

/** Every waiting job is counted once, along the index. */
export function* counts<Query>(sql: ReadsSql<Query>, only?: string): Reading<Query, FuncCounts[]> {
  const [now, funcs] = yield* atNow<Func, Query>(sql, chosen(sql, only))
  if (funcs.length === 0) return []
  const answers = yield sql.counts(idsOf(funcs), now)
  const [waiting, failed, ended, tried] = answers as [Waiting[], Counted[], Counted[], Tried[]]
  const waitingOf = new Map(waiting.map(row => [row.funcId, row]))
  const failedOf = new Map(failed.map(({funcId, jobs}) => [funcId, jobs]))
  const triedOf = new Map(tried.map(row => [row.funcId, row]))
  const endedOf = new Map(ended.map(({funcId, status, jobs}) => [`${funcId} ${textOf(status)}`, jobs]))
  return funcs.map(({id, name}) => {
    const {ready = 0, delayed = 0, waiting = 0, running = 0, oldest = null} = waitingOf.get(id) ?? {}
    return {
      func: textOf(name),
      ready,
      delayed,
      waiting,
      running,
      failed: (failedOf.get(id) ?? 0) - (triedOf.get(id)?.attempts ?? 0),
      retrying: triedOf.get(id)?.jobs ?? 0,
      completed: endedOf.get(`${id} completed`) ?? 0,
      aborted: endedOf.get(`${id} abort`) ?? 0,
      oldestReadyAge: oldest === null ? null : Math.max(0, now - oldest),
    }
  })
}

export function* times<Query>(sql: ReadsSql<Query>, only?: string): Reading<Query, FuncTimes[]> {
  const [now, funcs] = yield* atNow<Func, Query>(sql, chosen(sql, only))
  if (funcs.length === 0) return []
  const hourAgo = (Math.floor(now / 60) - 59) * 60
  const answers = (yield sql.times(idsOf(funcs), hourAgo)) as Counted[][]
  const [tooks, minutes] = answers.map(rows => Map.groupBy(rows, ({funcId}) => funcId))
  return funcs.flatMap(({id, name}) => {
    const took = (tooks!.get(id) ?? []).map(({value, jobs}): [number, number] => [value, jobs])
    if (took.length === 0) return []
    const perMinute = Array.from({length: 60}, () => 0)
    for (const {value, jobs} of minutes!.get(id) ?? []) perMinute[value] = jobs
    return [{func: textOf(name), median: quantile(took, 0.5), p95: quantile(took, 0.95), took, perMinute}]
  })
}

export function* attempts<Query>(sql: ReadsSql<Query>, only?: string): Reading<Query, FuncAttempts[]> {
  const funcs = yield* rowsOf<Func, Query>(chosen(sql, only))
  if (funcs.length === 0) return []
  type Ended = FuncAttempts['ended'][number]
  const rows = yield* rowsOf<Ended & {funcId: number}, Query>(sql.attempts(idsOf(funcs)))
  const byFunc = Map.groupBy(rows, ({funcId}) => funcId)
  return funcs.flatMap(({id, name}) => {
    const ended = byFunc.get(id)?.map(({status, seconds, attempts}) => ({
      status: textOf(status) as Ended['status'],
      seconds,
      attempts,
    }))
    return ended ? [{func: textOf(name), ended}] : []
  })
}

function idsOf(funcs: readonly Func[]): number[] {
  return funcs.map(({id}) => id)
}
