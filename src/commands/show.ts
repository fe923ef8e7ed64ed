import {string as argument} from '@oclif/core/args'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Show extends BaseCommand {
  static override summary = 'Show all that is known of a job.'
  static override description =
    `Its function, argument, uniqkey, priority and times, and its attempts so far: how each ended, when and where it ran, why it failed, and whether its output is kept (\`jobq logs\` prints it). A job that has left the queue is shown as long as an attempt of it is kept: of one that failed, or whose worker sets a job status. Attempts of Perl workers are not known to be its.

With --json an object, of several ids an array:
  {"id":7,"func":"Notify","state":"failed","arg":{…},"uniqkey":null,"priority":null,…,
   "attempts":[{"attempt":1,"outcome":"failed","is_last":true,"start_time":1795434634,"end_time":1795434635,"host":"…","pid":12,
                "exception_id":3,"message":"…","retried_as":null,"output":{"bytes":812,"is_cut":false}}]}
"state" is ready, delayed, waiting (for other jobs, which "after" names) or running; of a job that has left the queue how it ended: completed, replaced, failed, aborted.

Exits 4 if one is not known; the others are shown.`
  static override examples = [
    {description: 'What has become of it?', command: '<%= config.bin %> show 7'},
    {description: 'Several', command: '<%= config.bin %> show 1-5,8'},
    {
      description: 'Why it failed last',
      command: "<%= config.bin %> show 7 --json | jq -r '.attempts[-1].message'",
    },
  ]
  static override args = {
    id: argument({
      description: 'ids of jobs, as `jobq enqueue` and `jobq list` print them; 1-5,8 are six',
      multiple: true,
      ignoreStdin: true,
    }),
  }
}
