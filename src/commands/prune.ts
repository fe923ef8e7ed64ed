import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Prune extends BaseCommand {
  static override summary = 'Delete what is kept of old failed and finished attempts.'
  static override description =
    `Deletes rows of exception_log and job_status that are older than 30 days, or --older-than, and what jobq keeps beside them. Jobs in the queue are not touched. What was deleted is no longer in \`list --failed\` and \`list --finished\`, can't be retried, and does not count in \`stats\`.

Works a few rows at a time, with pauses, so that workers are disturbed little. Stopped by INT or TERM it tells what it has done; what is deleted stays deleted.

Prints how many, \`failed\` and \`finished\`, a line each with a tab between. With --json: {"failed":3,"finished":120}

Exits 0, also if there was nothing to delete, 4 for a function that was never enqueued here, 130 or 143 if it was stopped.`
  static override examples = [
    {description: 'All that is older than 30 days', command: '<%= config.bin %> prune'},
    {
      description: 'How many finished attempts are older than a week?',
      command: '<%= config.bin %> prune --finished --older-than 7d --dry-run',
    },
    {
      description: 'Each night, by cron',
      command: '0 3 * * * <%= config.bin %> prune --older-than 90d >/dev/null',
    },
  ]
  static override flags = {
    'older-than': string({summary: 'older than that: 12h, 7d; default 30d', helpValue: 'D'}),
    failed: boolean({summary: 'only failed attempts, of exception_log'}),
    finished: boolean({summary: 'only finished attempts, of job_status'}),
    func: string({summary: 'only those of a function', helpValue: 'F'}),
    'dry-run': boolean({summary: 'delete nothing, and print how many it would be'}),
  }
}
