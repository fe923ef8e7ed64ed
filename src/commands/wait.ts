import {string as argument} from '@oclif/core/args'
import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Wait extends BaseCommand {
  static override summary = 'Wait until jobs have left the queue, and tell how.'
  static override description =
    `Prints a line for each job as it ends: its id, the outcome (completed, replaced, failed, aborted, gone) and why, with tabs between them. A job that is tried again has not ended. Gone is one that was taken away by someone who did not say how it ended, a Perl worker say.

Any job in the queue can be waited for. One that may end before that is to be enqueued with --tracked: how it ends is kept then for a day, or for a minute once someone has asked.

With --result it prints what their workers returned, as JSON, in the order of the ids: of jobs that were enqueued with --keep-result, or whose worker keeps results, as long as these are kept. Of a job that has failed it prints nothing; why is told on standard error.

With --func, --tag or --all all jobs that are in the queue now are waited for, running and delayed ones among them; what is enqueued meanwhile is not. An empty queue is no error.

Exits 0, 5 if a job failed or was aborted, 4 if a job is not there, no result of it is kept, or the function was never enqueued here, 1 if the time was up; what was not waited for goes on.`
  static override examples = [
    {
      description: 'Enqueue, and go on when it is done',
      command:
        'id=$(<%= config.bin %> enqueue Report --tracked) && <%= config.bin %> wait "$id" && open report.pdf',
    },
    {
      description: 'What its worker returned',
      command:
        'id=$(<%= config.bin %> enqueue Sum --arg "[1,2]" --keep-result 1h) && <%= config.bin %> wait --result "$id"',
    },
    {description: 'Several, for five minutes at most', command: '<%= config.bin %> wait 7 8 9 --timeout 5m'},
    {
      description: 'All pages, then what is made of them',
      command:
        '<%= config.bin %> enqueue Page --args-from pages && <%= config.bin %> wait --func Page >/dev/null && make index',
    },
    {
      description: 'An empty queue before a new version is put in place',
      command: '<%= config.bin %> wait --all --timeout 10m',
    },
  ]
  static override args = {
    id: argument({
      description: 'ids of jobs, as `jobq enqueue` and `jobq list` print them',
      multiple: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    func: string({summary: 'all jobs of a function', helpValue: 'F', exclusive: ['all']}),
    tag: string({
      summary: 'the jobs with a tag, of this value or any; given again: with all of them',
      helpValue: 'NAME[=VALUE]',
      multiple: true,
    }),
    all: boolean({summary: 'all jobs'}),
    result: boolean({
      summary: 'print what the workers of these jobs returned, a line of JSON each, and nothing else',
    }),
    timeout: string({
      summary: 'give up after so long: 90, 90s, 5m, 1h30m, 3d, 2w; default never',
      helpValue: 'D',
    }),
  }
}
