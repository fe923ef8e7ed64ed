import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {STATUS_FIELDS} from '../lib/render/status.ts'

export default class Status extends BaseCommand {
  static override summary =
    'Show every running `jobq work` of this database on this host, and what it is doing.'
  static override description =
    `A table for each of them: a row for each of its --max-workers slots, with the process, its job and for how long, the jobs it has done, its memory. Without a terminal a line of fields with tabs between them for each slot, without a header, and \\N for nothing:
  ${STATUS_FIELDS.join(', ')}
With --json: {"managers":[{"pid":1,"host":"…","db":"…","started":1795434634,"funcs":[…],"paused":[],"jobs":7,"failed":0,"memory":1,"slots":[{"state":"working","pid":2,"id":8,"func":"Notify","seconds":0.4,"jobs":3,"memory":1}]}]}

Shows the processes of this user. Other hosts, and the number of jobs that run there, are in \`<%= config.bin %> stats\`.`
  static override examples = [
    {description: 'What is running?', command: '<%= config.bin %> status'},
    {description: 'And every second', command: '<%= config.bin %> status --watch 1'},
  ]
  static override bare = {watch: '2'}
  static override flags = {
    watch: string({
      summary: 'look again every so many seconds, until it is stopped; bare: 2',
      helpValue: '[SECONDS]',
    }),
  }
}
