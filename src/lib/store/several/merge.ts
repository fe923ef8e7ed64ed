/** What several databases list and count, made one: rows in one order, functions added up. */

import {JOB_STATES, type ListedJob, type RowRef} from '../../jobs/job.ts'
import type {ManagerRow} from '../../jobs/manager.ts'
import {addUp, type FuncAttempts, type FuncCounts, type FuncTimes, quantile} from '../../jobs/stats.ts'

/** Rows of sources that are each in order, in that order. */
export async function* merged<Row>(
  sources: readonly AsyncGenerator<Row>[],
  order: (a: Row, b: Row) => number,
): AsyncGenerator<Row> {
  const heads = await Promise.all(sources.map(async source => ({source, next: await source.next()})))
  for (;;) {
    let first: {source: AsyncGenerator<Row>; next: IteratorResult<Row>} | null = null
    for (const head of heads) {
      if (head.next.done) continue
      if (first === null || order(head.next.value, first.next.value) < 0) first = head
    }
    if (first === null) return
    yield first.next.value
    first.next = await first.source.next()
  }
}

/** The order of a listing: running, ready by priority, delayed by their time; then by database and id. */
export function byWork(a: ListedJob, b: ListedJob): number {
  const [stateA, stateB] = [rank(a), rank(b)]
  if (stateA !== stateB) return stateA - stateB
  const priority = b.priority - a.priority
  const due = a.runAfter - b.runAfter
  if (a.state === 'running') return byPlace(a, b)
  return a.state === 'ready' ? priority || due || byPlace(a, b) : due || priority || byPlace(a, b)
}

function rank({state}: ListedJob): number {
  return ['running', ...JOB_STATES.filter(name => name !== 'running')].indexOf(state)
}

/** Logs are listed by id, which within one database is by time. */
export function byAge<Row extends RowRef>(time: (row: Row) => number, oldestFirst = false) {
  const sign = oldestFirst ? 1 : -1
  return (a: Row, b: Row) =>
    a.db === b.db ? sign * (a.id - b.id) : sign * (time(a) - time(b)) || byPlace(a, b)
}

function byPlace(a: RowRef, b: RowRef): number {
  return a.db === b.db ? a.id - b.id : (a.db ?? 0) - (b.db ?? 0)
}

export function mergedCounts(parts: readonly FuncCounts[]): FuncCounts[] {
  return byFunc(parts).map(same =>
    same.reduce((a, b) => ({
      func: a.func,
      ready: a.ready + b.ready,
      delayed: a.delayed + b.delayed,
      waiting: a.waiting + b.waiting,
      running: a.running + b.running,
      failed: a.failed + b.failed,
      retrying: a.retrying + b.retrying,
      completed: a.completed + b.completed,
      aborted: a.aborted + b.aborted,
      oldestReadyAge:
        a.oldestReadyAge === null ? b.oldestReadyAge : Math.max(a.oldestReadyAge, b.oldestReadyAge ?? 0),
    })),
  )
}

export function mergedTimes(parts: readonly FuncTimes[]): FuncTimes[] {
  return byFunc(parts).map(same => {
    const took = addUp(same.map(times => times.took))
    return {
      func: same[0]!.func,
      median: quantile(took, 0.5),
      p95: quantile(took, 0.95),
      took,
      perMinute: same[0]!.perMinute.map((_, i) => same.reduce((sum, times) => sum + times.perMinute[i]!, 0)),
    }
  })
}

export function mergedAttempts(parts: readonly FuncAttempts[]): FuncAttempts[] {
  return byFunc(parts).map(same => {
    const all = same.flatMap(({ended}) => ended)
    const equals = Map.groupBy(all, ({status, seconds}) => `${status} ${seconds}`)
    const ended = [...equals.values()].map(equal => ({
      ...equal[0]!,
      attempts: equal.reduce((sum, {attempts}) => sum + attempts, 0),
    }))
    return {func: same[0]!.func, ended}
  })
}

/** A manager works all of them, and has a row in each: the one that was written last, by that database's clock. */
export function mergedManagers(rows: readonly ManagerRow[]): ManagerRow[] {
  const age = ({now, seenAt}: ManagerRow) => now - seenAt
  return [...Map.groupBy(rows, ({id}) => id).values()]
    .map(same => same.reduce((a, b) => (age(b) < age(a) ? b : a)))
    .sort((a, b) => a.startedAt - b.startedAt || a.id - b.id)
}

function byFunc<T extends {func: string}>(parts: readonly T[]): T[][] {
  return [...Map.groupBy(parts, ({func}) => func).entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, same]) => same)
}
