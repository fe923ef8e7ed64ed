import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {STATUS_FIELDS} from '../lib/render/status.ts'

export default class Status extends BaseCommand {
  static override summary =
    'Show every running `jobq work` of this database, on every host, and what it is doing.'
  static override description =
    `A table for each of them: a row for each of its slots, which are the jobs that may run at once (of more than 200 those that work first), with the process, its job and for how long, the jobs it has done, its memory. Without a terminal a line of fields with tabs between them for each slot, without a header, and \\N for nothing:
  ${STATUS_FIELDS.join(', ')}
With --json: {"managers":[{"pid":1,"host":"…","db":"…","started":1795434634,"funcs":[…],"paused":[],"jobs":7,"failed":0,"memory":1,"workers":{"working":1,"idle":0,"none":0},"seen":1795434640,"age":0,"gone":false,"slots":[{"state":"working","pid":2,"id":8,"func":"Notify","seconds":0.4,"jobs":3,"memory":1}]}]}

Each tells the database of itself: within 2 s of a change, and every 20 s. One that has not been seen for a minute is told as gone, and ten minutes later no more; one that ends takes itself away. What lasts less than a second is not shown, and Perl's workers are not.`
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
