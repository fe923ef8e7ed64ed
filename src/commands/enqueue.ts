import {string as argument} from '@oclif/core/args'
import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Enqueue extends BaseCommand {
  static override summary = 'Store a job, to be worked soon; prints its id.'
  static override description = `An id that is printed is a job on disk.

The argument is JSON, checked and stored byte for byte as it was written. --args-from and --batch store many jobs, all or none, in one transaction, and print how many.`
  static override examples = [
    {description: 'A job', command: `<%= config.bin %> enqueue Notify --arg '{"to":"ada@example.com"}'`},
    {
      description: 'Sooner than others, and only once while it waits',
      command: '<%= config.bin %> enqueue Thumbnail --arg-file photo.json --priority 10 --uniqkey photo:9',
    },
    {
      description: 'Tonight, from a cron job that may run twice',
      command: '<%= config.bin %> enqueue Report --at 2026-12-24T22:00 --uniqkey report --if-absent',
    },
    {
      description: 'Every line of a pipe is an argument',
      command: `find . -name '*.jpg' | <%= config.bin %> enqueue Thumbnail --args-from - --serializer none`,
    },
    {description: 'Every line is a job', command: '<%= config.bin %> enqueue --batch jobs.jsonl'},
  ]
  static override args = {
    func: argument({description: 'function: any name of 1 to 255 characters', ignoreStdin: true}),
  }
  static override flags = {
    arg: string({summary: 'the argument, as JSON', helpValue: 'JSON'}),
    'arg-file': string({summary: 'read the argument from a file, - for standard input', helpValue: 'FILE'}),
    'args-from': string({summary: 'a job for every line of a file, - for standard input', helpValue: 'FILE'}),
    batch: string({
      summary: 'a job for every line, an object {"func","arg","uniqkey","priority","delay"|"run_after"}',
      helpValue: 'FILE',
    }),
    serializer: string({
      summary:
        'json (checked), msgpack (JSON, stored as MessagePack) or none (any text or bytes); default json',
      helpValue: 'json|msgpack|none',
    }),
    uniqkey: string({
      summary: 'refuse the job while one of FUNC with this key is waiting (exit 3)',
      helpValue: 'KEY',
    }),
    priority: string({summary: '0 to 4294967295, larger is sooner; default 0', helpValue: 'N'}),
    delay: string({summary: 'not before so long from now: 90, 90s, 5m, 1h30m, 3d, 2w', helpValue: 'D'}),
    at: string({
      summary:
        'not before: ISO 8601, 22:00 (the next), tomorrow, tomorrow 08:30, @unix, or a duration from now',
      helpValue: 'T',
    }),
    tracked: boolean({summary: 'keep how it ends until `<%= config.bin %> wait` asks'}),
    'if-absent': boolean({
      summary: 'a job that waits under the uniqkey already is fine: print its id, exit 0',
    }),
  }
}
