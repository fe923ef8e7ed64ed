import {string as argument} from '@oclif/core/args'
import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Retry extends BaseCommand {
  static override summary = 'Enqueue failed jobs again; prints the new ids.'
  static override description =
    `Takes the ids of exceptions that \`jobq list --failed\` shows, with --job those of jobs, or with --all those of all jobs that were given up and not retried yet, oldest first. Each job is enqueued and its exception marked retried in one transaction, with the argument, uniqkey and tags it had; all else is as for a new job.

exception_log has a row for every failed attempt. --all takes those with which jobs were given up, so that a job that failed three times is enqueued once; what was cancelled is left. An attempt whose job still waits for its next try is refused, with --all skipped and counted; --again enqueues it all the same.

An exception that was retried before, or whose uniqkey is waiting again, is told on stderr; the others go on. Stopped by INT or TERM, it finishes the one it is at; what is done stays done.

With --json:
  {"retried":[{"exception_id":3,"id":12,"func":"Notify","uniqkey":null,…}],
   "refused":[{"exception_id":4,"code":"ALREADY_RETRIED","message":"…"}]}
A dry run prints exception id, function and uniqkey of what would be retried; in JSON, "id" is null.

Exits 0 if all were retried, 4 if one was not there or retried before, else 3 if a uniqkey or a job's next try was waiting, 130 or 143 if it was stopped.`
  static override examples = [
    {description: 'Two exceptions', command: '<%= config.bin %> retry 3 4'},
    {description: 'The job that an enqueue has printed', command: '<%= config.bin %> retry --job 7'},
    {
      description: 'It, and what it returns this time',
      command: `id=$(<%= config.bin %> retry --job 7 --keep-result 1h) && <%= config.bin %> wait --result "$id"`,
    },
    {
      description: 'What would be retried of the last two hours',
      command: '<%= config.bin %> retry --all --since 2h --dry-run',
    },
    {
      description: 'All of a function, behind the other jobs and not at once',
      command: '<%= config.bin %> retry --all --func Thumbnail --delay 10m',
    },
  ]
  static override usage = [
    '<%= command.id %> EXCEPTION_ID… [--again] [--dry-run] [--priority N] [--delay D] [--tracked] [--keep-result D] [--json]',
    '<%= command.id %> --job ID… [--again] [--dry-run] [--priority N] [--delay D] [--tracked] [--keep-result D] [--json]',
    '<%= command.id %> --all [--func F] [--tag NAME[=VALUE]] [--since T] [--again] [--dry-run] [--priority N] [--delay D] [--tracked] [--keep-result D] [--json]',
  ]
  static override args = {
    exception_id: argument({
      description: 'ids of exceptions, as `jobq list --failed` shows them',
      multiple: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    job: string({
      summary: 'the last failed attempt of this job, by the id that enqueue has printed; may be given again',
      helpValue: 'ID',
      multiple: true,
    }),
    all: boolean({summary: 'all jobs that were given up and not retried yet'}),
    func: string({summary: 'with --all: only those of a function', helpValue: 'F', dependsOn: ['all']}),
    tag: string({
      summary:
        'with --all: only those of jobs with a tag, of this value or any; given again: with all of them',
      helpValue: 'NAME[=VALUE]',
      multiple: true,
      dependsOn: ['all'],
    }),
    since: string({
      summary:
        'with --all: only those since then: ISO 8601, 22:00 (the last), yesterday, yesterday 08:30, @unix, or a duration back from now (2h: the last two hours)',
      helpValue: 'T',
      dependsOn: ['all'],
    }),
    again: boolean({summary: 'also attempts whose job still waits for its next try: one more of it'}),
    'dry-run': boolean({summary: 'change nothing, and print what would be retried'}),
    priority: string({summary: 'of the new jobs; default 0', helpValue: 'N'}),
    delay: string({
      summary: 'the new jobs are due so long from now: 90, 90s, 5m, 1h30m, 3d, 2w',
      helpValue: 'D',
    }),
    tracked: boolean({summary: 'keep how the new jobs end until `<%= config.bin %> wait` asks'}),
    'keep-result': string({
      summary:
        'keep what their workers return so long after they have completed: `<%= config.bin %> wait --result` prints it',
      helpValue: 'D',
    }),
  }
}
