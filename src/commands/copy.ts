import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Copy extends BaseCommand {
  static override summary = 'Copy the waiting jobs into another queue, to move to a server, say.'
  static override description =
    `All of them or none, in one transaction, with their arguments byte for byte, contexts, tags, priorities, uniqkeys and times, in the order in which they are worked. What they are copied from stays as it is. Not copied are jobs that run, or have expired, failed attempts, statuses and pauses, how often a job has been tried (it has all its retries again), when it was enqueued, and that its end is waited for.

To move: stop what enqueues and works, copy, then let JOBQ_DB or the configuration name the other queue.

Exits 1 if there is a job whose id is beyond 9007199254740991, which only another program can have written: it is told and stays behind, all others are copied.

Exits 3 if one of the uniqkeys is waiting there already: then nothing was copied.`
  static override examples = [
    {
      description: 'From a file to a server',
      command:
        '<%= config.bin %> init --db postgres://jobq@db/jobs && <%= config.bin %> copy --db jobs.db --to postgres://jobq@db/jobs',
    },
  ]
  static override flags = {
    to: string({summary: 'the other queue, as --db names one', helpValue: 'URL'}),
    func: string({summary: 'only the jobs of a function', helpValue: 'F'}),
  }
}
