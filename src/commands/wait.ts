import {string as argument} from '@oclif/core/args'
import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Wait extends BaseCommand {
  static override summary = 'Wait until jobs have left the queue, and tell how.'
  static override description =
    `Prints a line for each job as it ends: its id, the outcome (completed, replaced, failed, aborted, gone) and why, with tabs between them. A job that is tried again has not ended. Gone is one that was taken away by someone who did not say how it ended, a Perl worker say.

Any job in the queue can be waited for. One that may end before that is to be enqueued with --tracked: how it ends is kept then for a day, or for a minute once someone has asked.

Exits 0, 5 if a job failed or was aborted, 4 if a job is not there, 1 if the time was up; what was not waited for goes on.`
  static override examples = [
    {
      description: 'Enqueue, and go on when it is done',
      command:
        'id=$(<%= config.bin %> enqueue Report --tracked) && <%= config.bin %> wait "$id" && open report.pdf',
    },
    {description: 'Several, for five minutes at most', command: '<%= config.bin %> wait 7 8 9 --timeout 5m'},
  ]
  static override args = {
    id: argument({
      description: 'ids of jobs, as `jobq enqueue` and `jobq list` print them',
      multiple: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    timeout: string({
      summary: 'give up after so long: 90, 90s, 5m, 1h30m, 3d, 2w; default never',
      helpValue: 'D',
    }),
  }
}
