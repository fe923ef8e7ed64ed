import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {STATS_FIELDS} from '../lib/render/stats.ts'

/** What a bare --watch stands for. */
const SECONDS = '2'

export default class Stats extends BaseCommand {
  static override summary = 'Count jobs, and tell how old, how fast and how many a minute.'
  static override description =
    `Per function and in total: jobs ready, delayed, waiting for others and running; failed attempts that were not retried yet; completed and aborted jobs; the age of the oldest ready job. From job_status, for functions that keep one, over the last hour: the median and the 95th percentile of the run times, and jobs a minute.

On a terminal this is a table. Without one, every function is a line of fields with tabs between them, without a header, and the last line is the total:
  ${STATS_FIELDS.slice(0, 8).join(', ')},
  ${STATS_FIELDS.slice(8).join(', ')}
Ages and times are seconds, and what is not known is \\N.

With --json:
  {"funcs":[{"func":"Notify","ready":1,"delayed":0,"running":0,"failed":0,
    "completed":0,"aborted":0,"oldest_ready_age":12,"run_time_median":3,
    "run_time_p95":9,"jobs_per_minute":1.5,"per_minute":[…],"paused":false}],
   "total":{…}}
per_minute has the last 60 minutes, the current one last. With --watch every look is a document on a line of its own.

Exits 0, also when a --watch is stopped by INT or TERM, and 4 for a function that was never enqueued here.`
  static override examples = [
    {description: 'How is it going?', command: '<%= config.bin %> stats'},
    {description: 'And every five seconds', command: '<%= config.bin %> stats --watch 5'},
    {
      description: 'Alarm if a job has been ready for more than a minute',
      command: `test "$(<%= config.bin %> stats --json | jq '.total.oldest_ready_age // 0')" -le 60 || mail -s 'jobs are late' ops`,
    },
    {
      description: "For the textfile collector of Prometheus's node_exporter",
      command: '<%= config.bin %> stats --prometheus > jobq.prom.new && mv jobq.prom.new jobq.prom',
    },
  ]
  static override bare = {watch: SECONDS}
  static override flags = {
    func: string({summary: 'only a function', helpValue: 'F'}),
    watch: string({
      summary: `look again every so many seconds, until it is stopped; bare: ${SECONDS}`,
      helpValue: '[SECONDS]',
    }),
    prometheus: boolean({summary: "in Prometheus's text format", exclusive: ['watch']}),
  }
}
