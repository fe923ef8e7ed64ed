/** `jobq copy`: the waiting jobs of one queue into another, all or none. */
import type {JobQueue} from '../../client/queue.ts'
import {UsageError} from '../../jobs/errors.ts'
import {idOf, type NewJob} from '../../jobs/job.ts'
import {textOrBytes} from '../../jobs/serializers/serializers.ts'

export interface CopyResult {
  copied: number
  /** Jobs that someone works now: they are left where they are. */
  running: number
}

/** @throws UsageError if it is the same queue; DuplicateJobError, StoreError */
export async function copyJobs(from: JobQueue, to: JobQueue, func: string | undefined): Promise<CopyResult> {
  if (from.address === to.address)
    throw new UsageError('--to: expected another queue, got the same one', {hint: 'check --db and --to'})
  let running = 0
  async function* waiting(): AsyncGenerator<NewJob> {
    for await (const job of from.eachJob({func})) {
      const {func, arg, uniqkey, priority, runAfter} = job
      if (job.state === 'running') running++
      else if (Number.isNaN(priority + runAfter))
        throw new UsageError(
          `job ${idOf(job)}: expected numbers as its priority and run_after, got what another program has written there`,
          {hint: 'mend the row, or delete it'},
        )
      else yield {func, arg: arg && textOrBytes(Buffer.from(arg)), uniqkey, priority, due: {at: runAfter}}
    }
  }
  return {copied: await to.addMany(waiting()), running}
}
