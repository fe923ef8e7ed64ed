import {string as argument} from '@oclif/core/args'
import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Edit extends BaseCommand {
  static override summary = 'Change jobs that wait.'
  static override description =
    `Their priority, when they are due, their argument, their uniqkey, when they expire; what is not named stays as it is. Who works takes notice at once. A job that is running, or has left the queue, is told on stderr and stays as it is; the others are edited.

The argument is checked and stored as \`<%= config.bin %> enqueue\` does it; of the configuration's hooks, those at serialize are called.

Prints id, function, priority, when it is due (Unix seconds) and uniqkey, a line each with tabs between. With --json:
  [{"id":7,"func":"Notify","uniqkey":null,"priority":10,"run_after":1795434634}]

Exits 4 if one was running or not there, else 3 if the uniqkey is another waiting job's.`
  static override examples = [
    {description: 'Before all others', command: '<%= config.bin %> edit 7 --priority 100'},
    {description: 'Now, instead of tonight', command: '<%= config.bin %> edit 7 --delay 0'},
    {description: 'Several, tomorrow', command: "<%= config.bin %> edit 1-5,8 --at 'tomorrow 08:30'"},
    {
      description: 'A mended argument',
      command: `<%= config.bin %> edit 7 --arg '{"to":"ada@example.com"}'`,
    },
  ]
  static override args = {
    id: argument({
      description: 'ids of jobs, as `jobq enqueue` and `jobq list` print them; 1-5,8 are six',
      multiple: true,
      ignoreStdin: true,
    }),
  }
  static override flags = {
    priority: string({summary: '0 to 4294967295, larger is sooner', helpValue: 'N'}),
    delay: string({summary: 'due so long from now: 0, 90, 90s, 5m, 1h30m, 3d, 2w', helpValue: 'D'}),
    at: string({
      summary: 'due at: ISO 8601, 22:00 (the next), tomorrow, tomorrow 08:30, @unix, or a duration from now',
      helpValue: 'T',
    }),
    arg: string({summary: 'the argument, as JSON', helpValue: 'JSON'}),
    'arg-file': string({summary: 'read the argument from a file, - for standard input', helpValue: 'FILE'}),
    serializer: string({
      summary: 'of the argument: json, msgpack or none, as of `<%= config.bin %> enqueue`; default json',
      helpValue: 'json|msgpack|none',
    }),
    uniqkey: string({summary: 'a key that no other waiting job of the function has', helpValue: 'KEY'}),
    expires: string({
      summary: 'it leaves the queue unless it has begun so long from now: 90s, 5m, 1h30m; or never',
      helpValue: 'D|never',
    }),
  }
}
