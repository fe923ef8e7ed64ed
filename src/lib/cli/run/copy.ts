/**
 * `jobq copy`: the waiting jobs of one queue into another, all or none. They are spooled to a temporary file first:
 * reading them takes pages, and the other queue's transaction must not wait for that.
 */
import {closeSync} from 'node:fs'
import {Readable} from 'node:stream'
import type {JobQueue} from '../../client/queue.ts'
import {UsageError} from '../../jobs/errors.ts'
import {idOf, type ListedJob, type NewJob} from '../../jobs/job.ts'
import {textOrBytes} from '../../jobs/serializers/serializers.ts'
import {spool} from '../enqueue/line-source.ts'
import {readLines} from '../enqueue/lines.ts'

/** An argument has at most 16 MB, and base64 makes a third more of it. */
const MAX_LINE = 32 << 20

export interface CopyResult {
  copied: number
  /** Jobs that someone works now: they are left where they are. */
  running: number
}

/** @throws UsageError if it is the same queue; DuplicateJobError, StoreError */
export async function copyJobs(from: JobQueue, to: JobQueue, func: string | undefined): Promise<CopyResult> {
  if (from.address === to.address)
    throw new UsageError('--to: expected another queue, got the same one', {hint: 'check --db and --to'})
  const tally = {running: 0}
  const fd = await spool(Readable.from(linesOf(from, func, tally)))
  try {
    return {copied: await to.addMany(jobsIn(fd)), running: tally.running}
  } finally {
    closeSync(fd)
  }
}

async function* linesOf(
  from: JobQueue,
  func: string | undefined,
  tally: {running: number},
): AsyncGenerator<string> {
  for await (const job of from.eachJob({func})) {
    if (job.state === 'running') tally.running++
    else if (Number.isNaN(job.priority + job.runAfter))
      throw new UsageError(
        `job ${idOf(job)}: expected numbers as its priority and run_after, got what another program has written there`,
        {hint: 'mend the row, or delete it'},
      )
    else yield `${JSON.stringify(spooled(job))}\n`
  }
}

type Spooled = [func: string, arg: string | null, uniqkey: string | null, priority: number, runAfter: number]

function spooled({func, arg, uniqkey, priority, runAfter}: ListedJob): Spooled {
  return [func, arg && Buffer.from(arg).toString('base64'), uniqkey, priority, runAfter]
}

function* jobsIn(fd: number): Generator<NewJob> {
  for (const line of readLines(fd, MAX_LINE)) {
    const [func, arg, uniqkey, priority, runAfter] = JSON.parse(String(line)) as Spooled
    const bytes = arg === null ? null : textOrBytes(Buffer.from(arg, 'base64'))
    yield {func, arg: bytes, uniqkey, priority, due: {at: runAfter}}
  }
}
