/**
 * What a job writes, as it writes it: ordered of whoever runs it, who tells it through the store. The order is given again
 * while it is followed, and taken back at the end, unless someone else follows it: what is told goes with the order. Should
 * that not come to pass, it holds for half a minute.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {monotonic} from '../jobs/clock.ts'
import {NotFoundError} from '../jobs/errors.ts'
import type {JobEnd, RowRef} from '../jobs/job.ts'
import type {AttemptRow, JobHistory} from '../jobs/rows/history.ts'
import type {Followed, Told} from '../jobs/side-tables/orders.ts'
import {unframed} from '../jobs/told.ts'
import type {Store} from '../store/store.ts'
import {outputOf, unknownJob} from './logs.ts'

/** What comes of a job that is followed. */
export type FollowedOutput =
  /** What it wrote. `isCut`: something before it was left out, since it came faster than it could be told, or was not kept. */
  | {kind: 'output'; output: Uint8Array; isCut: boolean}
  /** An attempt has ended, and the job is tried again. */
  | {kind: 'attempt'; attempt: AttemptRow}
  /** It runs, but whoever runs it tells nothing: a Perl worker, an older jobq, an application's own `queue.work`. */
  | {kind: 'mute'}
  /** It has left the queue: the last of all. */
  | {kind: 'end'; end: JobEnd}

/** How often it is looked for what was told. */
const LOOK_MS = 200
/** How often its attempts are looked at. */
const HISTORY_MS = 1000
/** How often the order is given again. */
const RENEW_MS = 10_000
/** Who has not ordered it again for so long follows it no more. */
const SHARED_MS = 2.5 * RENEW_MS
/** Who runs it has heard the order by then, if ever. */
const HEARD_MS = 4000

/** @param end waits for the job's end */
export async function* followed(
  store: Store,
  ref: RowRef,
  signal: AbortSignal,
  end: (signal: AbortSignal) => Promise<JobEnd>,
): AsyncGenerator<FollowedOutput> {
  const history = await store.history(ref.id, ref.db)
  if (!history) throw unknownJob(ref)
  if (history.job) yield* whileItIsThere(store, ref, history.attempts.length, signal, end)
  else yield* asItWas(store, ref, history)
}

async function* asItWas(store: Store, ref: RowRef, history: JobHistory): AsyncGenerator<FollowedOutput> {
  const kept = await outputOf(store, ref, undefined)
  if (kept) yield {kind: 'output', output: kept.output, isCut: kept.isCut}
  yield {kind: 'end', end: endOf(ref, history)}
}

/** Where its last attempt left nothing, how it ended is not known. */
function endOf(ref: RowRef, history: JobHistory | null): JobEnd {
  const last = history?.attempts.at(-1)
  if (!last?.isLast || last.outcome === 'died') return {...ref, outcome: 'gone', message: ''}
  return {...ref, outcome: last.outcome, message: last.message}
}

async function* whileItIsThere(
  store: Store,
  ref: RowRef,
  attemptsBefore: number,
  signal: AbortSignal,
  waitForEnd: (signal: AbortSignal) => Promise<JobEnd>,
): AsyncGenerator<FollowedOutput> {
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  let order = await store.follow(ref)
  let sharedAt = order.isShared ? monotonic() : Number.NEGATIVE_INFINITY
  let left: JobEnd | null = null
  let failure: unknown
  const ending = waitForEnd(stop).then(
    end => {
      left = end
    },
    async error => {
      if (!(error instanceof NotFoundError)) failure = error
      else left = endOf(ref, await store.history(ref.id, ref.db)) // it has ended before it was waited for
    },
  )
  const pieces = new Pieces()
  let attempts = attemptsBefore
  const ended = function* (history: JobHistory | null): Generator<FollowedOutput> {
    for (const attempt of history?.attempts.slice(attempts) ?? [])
      if (!attempt.isLast) yield {kind: 'attempt', attempt}
    attempts = Math.max(attempts, history?.attempts.length ?? 0)
  }
  let [renewedAt, lookedAt, runsSince] = [monotonic(), 0, Number.NaN]
  let isMute = false
  try {
    for (;;) {
      signal.throwIfAborted()
      if (failure !== undefined) throw failure
      const end = left // before what was told is read: all of it was told before the end
      const now = monotonic()
      let history: JobHistory | null = null
      if (end || now - lookedAt > HISTORY_MS) {
        lookedAt = now
        history = await store.history(ref.id, ref.db)
      }
      for (const told of await store.told(ref, pieces.at)) {
        const isNewRun = pieces.isOfNewRun(told)
        if (isNewRun) history = await store.history(ref.id, ref.db)
        if (isNewRun) yield* ended(history)
        const piece = pieces.next(told)
        if (piece) yield {kind: 'output', ...piece}
      }
      yield* ended(history)
      if (end) {
        yield {kind: 'end', end}
        return
      }
      if (history?.job?.state === 'running') runsSince ||= now
      else if (history) runsSince = Number.NaN
      const isDoubted = !order.isHeard && !isMute && now - runsSince > HEARD_MS
      if (isDoubted || now - renewedAt > RENEW_MS) {
        order = await store.follow(ref, order.orderedAt)
        renewedAt = now
        if (order.isShared) sharedAt = now
        if (isDoubted && !order.isHeard) {
          isMute = true
          yield {kind: 'mute'}
        }
      }
      await Promise.race([sleep(LOOK_MS, undefined, {signal: stop}).catch(() => {}), ending])
    }
  } finally {
    over.abort()
    await ending
    if (monotonic() - sharedAt > SHARED_MS) await takeBack(store, ref, order)
  }
}

/** Where that fails, it ends by itself. */
async function takeBack(store: Store, ref: RowRef, {orderedAt}: Followed): Promise<void> {
  await store.unfollow(ref, orderedAt).catch(() => {})
}

/** What was told, each piece once, and whether one is missing. */
class Pieces {
  at = 0
  #run = ''
  #next = 0

  isOfNewRun({bytes}: Told): boolean {
    return this.#run !== '' && unframed(bytes).run !== this.#run
  }

  next({at, isCut, bytes: told}: Told): {
    output: Uint8Array
    isCut: boolean
  } | null {
    this.at = at
    const {run, nth, bytes} = unframed(told)
    if (run !== this.#run) [this.#run, this.#next] = [run, 0]
    if (nth < this.#next) return null
    const isMissing = nth > this.#next
    this.#next = nth + 1
    return {output: bytes, isCut: isCut || isMissing}
  }
}
