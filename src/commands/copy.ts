import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {commandSettings} from '../lib/cli/command-queue.ts'
import {complain} from '../lib/cli/output-guard.ts'
import {copyJobs} from '../lib/cli/run/copy.ts'
import {JobQueue} from '../lib/client/queue.ts'
import {UsageError} from '../lib/jobs/errors.ts'

export default class Copy extends BaseCommand {
  static override summary = 'Copy the waiting jobs into another queue, to move to a server, say.'
  static override description =
    `All of them or none, in one transaction, with their arguments byte for byte, priorities, uniqkeys and times, in the order in which they are worked. What they are copied from stays as it is; jobs that run are not copied, and neither are failed attempts and statuses.

To move: stop what enqueues and works, copy, then let JOBQ_DB or the configuration name the other queue.

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

  async run(): Promise<Record<string, unknown>> {
    const {flags} = await this.parse(Copy)
    if (flags.to === undefined)
      throw new UsageError('expected the other queue, got no --to', {
        hint: 'write: jobq copy --db jobs.db --to postgres://jobq@host/jobs',
      })
    const other = await commandSettings({...flags, db: [flags.to]})
    const {copied, running} = await this.withQueue(flags, async from => {
      await using to = await JobQueue.openWith(other, null)
      return await copyJobs(from, to, flags.func)
    })
    this.print(String(copied))
    if (running > 0) complain(`jobq: ${running} jobs are running and were not copied`)
    return {copied, running}
  }
}
