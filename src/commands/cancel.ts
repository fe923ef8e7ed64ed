import {string as argument} from '@oclif/core/args'
import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {JOB_STATES} from '../lib/jobs/job.ts'

export default class Cancel extends BaseCommand {
  static override summary = 'Take jobs out of the queue, and stop those that run.'
  static override description =
    `A job that waits leaves the queue, and nothing is kept of it. One that runs is told to stop, on whichever host: a module's \`job.signal\` aborts, an executable's process group gets TERM, and a second later both get KILL. Unless it gets done all the same it ends as aborted, with the message "cancelled", and is not tried again. Whoever waits for a job (\`<%= config.bin %> wait\`) hears that it was aborted.

Prints id, function and what was done, a line each with tabs between: cancelled (it has left the queue) or stopping (it ran; its dispatcher has heard). With --json:
  [{"id":7,"func":"Notify","uniqkey":null,"state":"ready","result":"cancelled"}]
"state" is what it was. A dry run prints that, and "result" is null.

--func, --uniqkey, --tag (also together) and --all mean the jobs that are in the queue when it begins; printed is how many were cancelled or are stopping. With --json: {"cancelled":12,"stopping":3,"refused":0}, of a dry run {"would_cancel":15}. On a terminal --all asks first. Works some jobs at a time, so that workers are disturbed little; stopped by INT or TERM, what is done stays done.

A job that a Perl worker or an older jobq runs can't be told: after 3 s that is said on stderr, and the job goes on.

Exits 0 if all were cancelled or are stopping, 4 if one was not in the queue or could not be told; the others are done. 1 if --all was not meant, 130 or 143 if it was stopped.`
  static override examples = [
    {description: 'One that hangs', command: '<%= config.bin %> cancel 7'},
    {description: 'Several', command: '<%= config.bin %> cancel 1-5,8'},
    {
      description: 'What waits of a function; what runs may finish',
      command:
        '<%= config.bin %> cancel --func Thumbnail --state ready && <%= config.bin %> cancel --func Thumbnail --state delayed',
    },
    {description: 'How many would it be?', command: '<%= config.bin %> cancel --all --dry-run'},
  ]
  static override usage = [
    '<%= command.id %> ID… [--dry-run] [--json]',
    '<%= command.id %> [--func F] [--uniqkey K] [--tag NAME[=VALUE]] [--state S] [--dry-run] [--json]',
    '<%= command.id %> --all [--state S] [--yes] [--dry-run] [--json]',
  ]
  static override args = {
    id: argument({
      description: 'ids of jobs, as `jobq enqueue` and `jobq list` print them; 1-5,8 are six',
      multiple: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    func: string({summary: 'all jobs of a function', helpValue: 'F'}),
    uniqkey: string({summary: 'the jobs with this key, at most one of each function', helpValue: 'K'}),
    tag: string({
      summary: 'the jobs with a tag, of this value or any; given again: with all of them',
      helpValue: 'NAME[=VALUE]',
      multiple: true,
    }),
    all: boolean({summary: 'all jobs'}),
    state: string({
      summary: 'with --func, --uniqkey, --tag, --all: only those that are ready, delayed, waiting or running',
      options: [...JOB_STATES],
    }),
    'dry-run': boolean({summary: 'cancel nothing, and print what would be'}),
    yes: boolean({summary: 'with --all: do not ask', dependsOn: ['all']}),
  }
}
