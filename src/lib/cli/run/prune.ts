/** `jobq prune` once its words are known. */
import {parseDuration} from '../../jobs/time.ts'
import {withQueueOf} from '../command-queue.ts'
import {printer} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'
import {Stop} from '../stop.ts'

export interface PruneFlags extends QueueFlags {
  'older-than'?: string | undefined
  failed?: boolean | undefined
  finished?: boolean | undefined
  func?: string | undefined
  'dry-run'?: boolean | undefined
  json?: boolean | undefined
}

/** Stopped by a signal it tells what it has done so far. */
export async function run(flags: PruneFlags): Promise<Record<string, unknown>> {
  const {failed, finished, func, 'dry-run': dryRun, 'older-than': older = '30d'} = flags
  const olderThan = parseDuration(older, '--older-than')
  using stop = new Stop()
  let pruned = {failed: 0, finished: 0}
  await withQueueOf(flags, async queue => {
    for await (const soFar of queue.prune({olderThan, failed, finished, func, dryRun})) {
      pruned = soFar
      if (stop.signal.aborted) break
    }
  })
  if (stop.exitCode !== null) process.exitCode = stop.exitCode
  const print = printer(flags.json)
  if (failed || !finished) print(`failed\t${pruned.failed}`)
  if (finished || !failed) print(`finished\t${pruned.finished}`)
  return pruned
}
