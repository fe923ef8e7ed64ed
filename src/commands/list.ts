import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {JOB_STATES} from '../lib/jobs/job.ts'
import {EXCEPTIONS, JOBS, STATUSES} from '../lib/render/listing.ts'

export default class List extends BaseCommand {
  static override summary = 'Show waiting, failed or finished jobs.'
  static override description =
    `Waiting jobs come in the order in which they would be worked: the running ones, the ready by priority, the delayed by their time, and those that wait for others. --failed shows exception_log, with a row for every failed attempt, and --finished shows job_status, both newest first. Each has ids of its own: \`wait\` takes those of jobs, \`retry\` those of --failed.

On a terminal this is a table of the first 50, and a line on standard error that says how many more there are; --limit shows as many as it says. Without one it is all there are: every row is a line of fields with tabs between them, without a header:
  jobs        ${JOBS.fields.join(', ')}
  --failed    ${EXCEPTIONS.fields.join(', ')}
  --finished  ${STATUSES.fields.join(', ')}
Times are Unix seconds, retried is 0 or 1, nothing is \\N. An arg that is JSON is JSON on one line; in other text a tab is \\t, a line break \\n, a backslash \\\\, and any other byte that is not shown as itself \\xHH (printf %b reads it back).

With --json it is an array of rows with the columns' own names and values, and func, and state. arg is JSON where it parses, digit by digit as it was stored, else a string, else {"base64":"…"}.

Exits 0, also where there is nothing to show; 1 where there is more than can be shown, such as a job whose id is beyond 9007199254740991, which is told; and 4 for a function that was never enqueued here.`
  static override examples = [
    {description: 'What is next', command: '<%= config.bin %> list'},
    {
      description: 'All delayed jobs of a function',
      command: '<%= config.bin %> list --func Report --state delayed --json',
    },
    {description: 'Is it still waiting?', command: '<%= config.bin %> list --uniqkey photo:9'},
    {
      description: 'What went wrong, and was not retried',
      command: `<%= config.bin %> list --failed --json | jq '.[] | select(.retried == 0)'`,
    },
    {
      description: 'How long the last jobs took',
      command: `<%= config.bin %> list --finished | awk -F'\\t' '{print $1, $6 - $5}'`,
    },
  ]
  static override flags = {
    func: string({summary: 'only those of a function', helpValue: 'F'}),
    state: string({
      summary: 'only jobs in a state',
      options: [...JOB_STATES],
      helpValue: JOB_STATES.join('|'),
      exclusive: ['failed', 'finished'],
    }),
    uniqkey: string({summary: 'only those with this key', helpValue: 'K'}),
    tag: string({
      summary: 'only those with a tag, of this value or any; given again: with all of them',
      helpValue: 'NAME[=VALUE]',
      multiple: true,
    }),
    failed: boolean({summary: 'failed attempts, newest first', exclusive: ['finished']}),
    finished: boolean({summary: 'finished jobs of functions that keep a job status, newest first'}),
    limit: string({summary: 'at most so many; default all, on a terminal the first 50', helpValue: 'N'}),
    offset: string({summary: 'after skipping so many; default 0', helpValue: 'N'}),
  }
}
