import {string as argument} from '@oclif/core/args'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {FIELDS} from '../lib/render/schedules.ts'

export default class Schedules extends BaseCommand {
  static override summary = "Show the configuration's schedules, or run one now."
  static override description =
    `Any \`<%= config.bin %> work\` of the database enqueues the job of each tick, exactly once over all processes and hosts; no scheduler runs beside it. Schedules stand in the configuration: schedules: {nightly: {cron: '0 22 * * *', timeZone: 'Asia/Seoul', func: 'Report'}}

Without a terminal a line has these fields, with tabs between: ${FIELDS.join(', ')}. Times are Unix seconds; what is not there is \\N. With --json, an array with these keys.

\`run NAME\` enqueues the job of a schedule now, and prints its id; the schedule's ticks stay as they are. With --json, as \`enqueue\`.

Exits 0, also if there are none, 2 if a schedule can't be used, 3 if the uniqkey of the job to run is waiting, 4 for a schedule that is not there.`
  static override examples = [
    {description: 'When does which one tick?', command: '<%= config.bin %> schedules'},
    {description: 'Without waiting for tonight', command: '<%= config.bin %> schedules run nightly'},
  ]
  static override usage = ['<%= command.id %> [--json]', '<%= command.id %> run NAME [--json]']
  static override args = {
    words: argument({
      description: 'run, and the name of a schedule',
      multiple: true,
      ignoreStdin: true,
    }),
  }
}
