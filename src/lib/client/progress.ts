/** How far jobs are that run, put beside their rows; where none runs, nothing is asked. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Progress} from '../jobs/job.ts'
import {idOf, type ListedJob, type RowRef, rowRef} from '../jobs/job.ts'
import type {ManagerStatus, Slot} from '../jobs/manager.ts'
import type {Store} from '../store/store.ts'

/** So many jobs that run are asked for at once. */
const PORTION = 500

export async function withProgress(store: Store, jobs: ListedJob[]): Promise<ListedJob[]> {
  const running = jobs.filter(({state}) => state === 'running')
  if (running.length === 0) return jobs
  const told = new Map((await store.progress(running.map(rowRef))).map(said => [idOf(said), said]))
  return jobs.map(job => {
    const said = job.state === 'running' ? told.get(idOf(job)) : undefined
    return said ? {...job, progress: {fraction: said.fraction, text: said.text}} : job
  })
}

/** The same of what managers work. Ids of several databases are numbered as each manager knows them: of those nothing is told. */
export async function slotsWithProgress(
  store: Store,
  managers: readonly ManagerStatus[],
): Promise<ManagerStatus[]> {
  const ids = managers.flatMap(({slots}) => slots.flatMap(({id}) => (typeof id === 'number' ? {id} : [])))
  if (ids.length === 0) return [...managers]
  // What is told besides is no reason not to tell of managers: not even a right that is missing
  const said = await store.progress(ids).catch(() => [])
  const told = new Map(said.map(({id, fraction, text}) => [id, {fraction, text}]))
  const withTold = (slot: Slot) => {
    const progress = typeof slot.id === 'number' ? told.get(slot.id) : undefined
    return progress ? {...slot, progress} : slot
  }
  return managers.map(manager => ({...manager, slots: manager.slots.map(withTold)}))
}

/** Those that run come first. */
export async function* eachWithProgress(
  store: Store,
  jobs: AsyncIterable<ListedJob>,
): AsyncGenerator<ListedJob> {
  let running: ListedJob[] = []
  for await (const job of jobs) {
    if (job.state === 'running' && running.push(job) < PORTION) continue
    yield* await withProgress(store, running)
    running = []
    if (job.state !== 'running') yield job
  }
  yield* await withProgress(store, running)
}

/** How often it is asked. */
const ASK_MS = 1000

/**
 * Tells how far a job is until it has ended.
 * @param end waits for that
 * @returns what it resolves with
 */
export async function watchedProgress<End>(
  store: Store,
  job: RowRef,
  onProgress: (progress: Progress) => void,
  end: (signal: AbortSignal) => Promise<End>,
  signal?: AbortSignal,
): Promise<End> {
  const over = new AbortController()
  let last = ''
  const ask = async () => {
    // Whether the job can be waited for is told by the wait
    const [said] = await store.progress([job]).catch(() => [])
    if (!said || over.signal.aborted) return
    const {fraction, text} = said
    const now = JSON.stringify([fraction, text])
    if (now === last) return
    last = now
    onProgress({fraction, text})
  }
  const asking = (async () => {
    for (;;) {
      await ask()
      await sleep(ASK_MS, undefined, {signal: over.signal})
    }
  })()
  const failed = asking.catch(error => {
    if (over.signal.aborted) return new Promise<never>(() => {})
    throw error
  })
  try {
    const stop = signal ? AbortSignal.any([signal, over.signal]) : over.signal
    return await Promise.race([end(stop), failed])
  } finally {
    over.abort(new Error('the wait is over'))
  }
}
