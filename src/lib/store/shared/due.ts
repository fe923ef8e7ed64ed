/** When a job can be due where the column holds what 32 bits do. */
import {ArgumentError} from '../../jobs/errors.ts'
import {LAST_DUE} from '../../jobs/job.ts'

/** @throws ArgumentError */
export function checkRunAfter(runAfter: number): number {
  if (runAfter <= LAST_DUE) return runAfter
  throw new ArgumentError(`run_after: expected a time before 2106-02-07T06:28:15Z, got ${runAfter}`)
}
