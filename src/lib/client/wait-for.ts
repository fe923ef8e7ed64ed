/**
 * Waiting for as many jobs as there are: they are told to be kept a portion at a time, and asked for in portions whenever
 * the store rings. Only their ids are held, and the more there are, the longer it rests between two looks.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {monotonic} from '../jobs/clock.ts'
import {ClosedError, WaitTimeoutError} from '../jobs/errors.ts'
import {idOf, type JobEnd, type RowRef} from '../jobs/job.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import type {Store} from '../store/store.ts'
import {portions, slices} from './portions.ts'
import {endOf, type WaitOptions} from './wait.ts'

const PORTION = 1000
/** Looks are made besides the store's rings, in case one is missed. */
const LOOK_MS = 5000
/** A rest is so many times as long as the look before it. */
const RESTS = 19

/**
 * @param rows the jobs; one that has ended before it was read, or right then, is not waited for
 * @throws WaitTimeoutError, ClosedError, StoreError, the signal's reason
 */
export async function* endsOfAll(
  store: Store,
  rows: AsyncIterable<RowRef>,
  {timeout, signal}: WaitOptions,
  closing: AbortSignal,
): AsyncGenerator<JobEnd> {
  const until = monotonic() + (timeout ?? Number.POSITIVE_INFINITY) * 1000
  const stop = signal ? AbortSignal.any([signal, closing]) : closing
  const check = () => {
    signal?.throwIfAborted()
    if (closing.aborted) throw new ClosedError('the queue was closed while jobs were waited for')
  }
  let rung = Promise.withResolvers<void>()
  const watch = store.watch(() => rung.resolve())
  try {
    let left = await tracked(store, rows, check)
    for (;;) {
      rung = Promise.withResolvers()
      const still: RowRef[] = []
      let looked = 0
      for (const portion of slices(left, PORTION)) {
        check()
        const since = monotonic()
        const ends = await store.ends(portion)
        looked += monotonic() - since
        yield* ends.map(endOf)
        const ended = new Set(ends.map(idOf))
        still.push(...portion.filter(job => !ended.has(idOf(job))))
      }
      left = still
      if (left.length === 0) return
      if (monotonic() >= until) throw new WaitTimeoutError({left: left.length}, timeout!)
      await rest(Math.min(RESTS * looked, until - monotonic()), stop)
      await rest(Math.min(LOOK_MS, until - monotonic()), stop, rung.promise)
      check()
    }
  } finally {
    watch.close()
  }
}

/** Those that are there: from here on it is kept how they end. */
async function tracked(store: Store, rows: AsyncIterable<RowRef>, check: () => void): Promise<RowRef[]> {
  const all: RowRef[] = []
  for await (const portion of portions(rows, PORTION)) {
    check()
    all.push(...(await store.track(portion)))
  }
  return all
}

/** For so long, or until it is rung, or has to stop. */
async function rest(ms: number, stop: AbortSignal, rung?: Promise<void>): Promise<void> {
  if (ms <= 0 || stop.aborted) return
  const over = new AbortController()
  const signal = AbortSignal.any([stop, over.signal])
  const slept = sleep(Math.min(ms, MAX_TIMER_MS), undefined, {signal}).catch(() => {})
  await Promise.race(rung ? [slept, rung] : [slept])
  over.abort()
}
