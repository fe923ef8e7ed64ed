/** `jobq copy`: the waiting jobs of one queue into another, all or none. */
import {JobQueue} from '../../client/queue.ts'
import {UsageError} from '../../jobs/errors.ts'
import {idOf, type ListedJob, type NewJob, type Tags} from '../../jobs/job.ts'
import {textOrBytes} from '../../jobs/serializers/serializers.ts'
import {tellPassedOver, withQueueOf} from '../command-queue.ts'
import {complain, noteDone, printer} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'

export interface CopyFlags extends QueueFlags {
  to?: string | undefined
  func?: string | undefined
  json?: boolean | undefined
}

export interface CopyResult {
  copied: number
  /** Jobs that someone works now: they are left where they are. */
  running: number
  /** Jobs that wait for others: likewise, since those have other ids there. */
  waiting: number
  /** Jobs that no one may begin any more, though they are still there: nobody works that queue. */
  expired: number
}

export async function run(flags: CopyFlags): Promise<CopyResult> {
  if (flags.to === undefined)
    throw new UsageError('expected the other queue, got no --to', {
      hint: 'write: jobq copy --db jobs.db --to postgres://jobq@host/jobs',
    })
  const other = await commandSettings({...flags, db: [flags.to]}, '--to')
  const copy = async (from: JobQueue) => {
    await using to = await JobQueue.openWith(other, null)
    await tellPassedOver(from, 'copied') // before: what fails behind a copy looks as if there were none
    const copied = await copyJobs(from, to, flags.func)
    noteDone(`${copied.copied} jobs are copied all the same`)
    return copied
  }
  const result = await withQueueOf(flags, copy, {mustBeThere: true})
  printer(flags.json)(String(result.copied))
  if (result.running > 0) complain(`jobq: running, and not copied: ${result.running}`)
  if (result.waiting > 0) complain(`jobq: waiting for others, and not copied: ${result.waiting}`)
  if (result.expired > 0) complain(`jobq: expired, and not copied: ${result.expired}`)
  return result
}

function tagged(tags: Tags): Pick<NewJob, 'tags'> {
  const pairs = Object.entries(tags)
  return pairs.length > 0 ? {tags: pairs} : {}
}

/** It expires when it would have. */
function expiring({expiresAt}: ListedJob, now: number): Pick<NewJob, 'expires'> {
  return expiresAt === null ? {} : {expires: expiresAt - now}
}

/** Why it is not copied; null: it is. */
function leftAs(
  {state, parked, expiresAt}: ListedJob,
  now: number,
): Exclude<keyof CopyResult, 'copied'> | null {
  if (state === 'running') return 'running'
  if (state === 'waiting' && !parked) return 'waiting'
  return expiresAt !== null && expiresAt <= now ? 'expired' : null
}

/** @throws UsageError if it is the same queue; DuplicateJobError, StoreError */
async function copyJobs(from: JobQueue, to: JobQueue, func: string | undefined): Promise<CopyResult> {
  const places = await to.store.places()
  if ((await from.store.places()).some(place => places.includes(place)))
    throw new UsageError('--to: expected another queue, got the same one', {hint: 'check --db and --to'})
  const now = Math.floor(Date.now() / 1000) // a clock that is near both databases'
  const left = {running: 0, waiting: 0, expired: 0}
  async function* waiting(): AsyncGenerator<NewJob> {
    for await (const job of from.eachJob({func, contexts: true})) {
      const {func, arg, uniqkey, priority, context, parked, tags} = job
      const runAfter = parked?.runAfter ?? job.runAfter
      const why = leftAs(job, now)
      if (why !== null) left[why]++
      else if (Number.isNaN(priority + runAfter))
        throw new UsageError(
          `job ${idOf(job)}: expected numbers as its priority and run_after, got what another program has written there`,
          {hint: 'mend the row, or delete it'},
        )
      else {
        const bytes = arg && textOrBytes(Buffer.from(arg))
        yield {
          func,
          arg: bytes,
          uniqkey,
          priority,
          due: {at: runAfter},
          context,
          ...tagged(tags),
          ...expiring(job, now),
        }
      }
    }
  }
  /** The refused one's id is not remembered: a second look finds it. */
  const at = async (nth = 0) => {
    let n = 0
    for await (const job of from.eachJob({func, contexts: true}))
      if (leftAs(job, now) === null && ++n === nth) return `job ${idOf(job)}`
    return 'a job'
  }
  return {copied: await to.addMany(waiting(), at), ...left}
}
