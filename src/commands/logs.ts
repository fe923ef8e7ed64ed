import {string as argument} from '@oclif/core/args'
import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Logs extends BaseCommand {
  static override summary = 'Print what a job has written to standard output and standard error.'
  static override description =
    `Of the last attempt of which something was kept, as it was written; on a terminal, what that would obey is shown as \\u001b. By default the last 16 KiB of a failed attempt are kept: --keep-output of jobq work, keepOutput in the configuration or a worker, and a line "# jobq: keep-output=64k" in an executable say otherwise. It is kept in the database: any host can read it.

With --json: {"job_id":7,"attempt":2,"is_cut":false,"output":"…"}; where nothing was kept, "attempt" is null, unless it was named, and so is "output".

--follow prints it as it comes, on whichever host the job runs, also of one that has not started yet, and ends with the job; between two attempts standard error says so. What comes faster than it can be told is left out, and standard error says that. Of a job that a Perl worker or an application runs (queue.work) only the end is told. With --json each piece is a line, {"job_id":7,"output":"…","is_cut":false}, and the last one {"job_id":7,"outcome":"failed","message":"…"}.

Exits 0, also where no output was kept, which is said on standard error; 4 if the job is not known, or has no such attempt. With --follow as \`jobq wait\` does: 5 if it failed or was aborted, 130 at Ctrl-C.`
  static override examples = [
    {description: 'What did it say before it failed?', command: '<%= config.bin %> logs 7'},
    {description: 'What does it say now?', command: '<%= config.bin %> logs 7 --follow'},
    {description: 'And at its first attempt?', command: '<%= config.bin %> logs 7 --attempt 1'},
    {
      description: 'Into a file, byte by byte as it was written',
      command: '<%= config.bin %> logs 7 > 7.log',
    },
  ]
  static override args = {
    id: argument({
      description: 'id of a job, as `jobq enqueue` and `jobq list` print it',
      ignoreStdin: true,
    }),
  }
  static override flags = {
    follow: boolean({summary: 'print what it writes as it comes, until it ends', exclusive: ['attempt']}),
    attempt: string({
      summary: 'of this attempt, as `jobq show` numbers them; default: the last one that has some',
      helpValue: 'N',
    }),
  }
}
