import {string as argument} from '@oclif/core/args'
import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Enqueue extends BaseCommand {
  static override summary = 'Store a job, to be worked soon; prints its id.'
  static override description = `An id that is printed is a job on disk.

The argument is JSON, checked and stored byte for byte as it was written. --args-from and --batch store many jobs, all or none, in one transaction, and print how many. With --each every line is a commit, and its id is printed as soon as it is on disk; a line that is refused is told on standard error, and the next goes on.

What waits for others (--after) is no worker's before they have ended: \`<%= config.bin %> list --state waiting\` shows it. Of a job that has left the queue it must be known how it ended: one that failed, or whose worker keeps a job status; else exit 4.`
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
      description: 'Once, a minute after the last change',
      command: '<%= config.bin %> enqueue Index --uniqkey site:9 --delay 1m --replace',
    },
    {
      description: 'At most once in ten minutes',
      command: '<%= config.bin %> enqueue Alert --uniqkey disk-full --uniq-for 10m --if-absent',
    },
    {
      description: 'With tags to find it by',
      command:
        '<%= config.bin %> enqueue Report --tag customer=42 && <%= config.bin %> list --tag customer=42',
    },
    {
      description: 'Of no use an hour later',
      command: `<%= config.bin %> enqueue Notify --arg '{"text":"live now"}' --expires 1h`,
    },
    {
      description: 'What its worker returns',
      command: `id=$(<%= config.bin %> enqueue Sum --arg '[1,2]' --keep-result 1h) && <%= config.bin %> wait --result "$id"`,
    },
    {
      description: 'Every line of a pipe is an argument',
      command: `find . -name '*.jpg' | <%= config.bin %> enqueue Thumbnail --args-from - --serializer none`,
    },
    {
      description: 'After two others, if both complete',
      command: `<%= config.bin %> enqueue Notify --after "$crop,$thumbnail"`,
    },
    {
      description:
        'Every line is a job; one may wait for lines before it: {"func":"Notify","after":["#1","#2"]}',
      command: '<%= config.bin %> enqueue --batch jobs.jsonl',
    },
    {
      description: 'Many, and one when all of them have ended, with how many completed and failed',
      command: `<%= config.bin %> enqueue --batch jobs.jsonl --then Report --then-arg '{"to":"ada@example.com"}'`,
    },
    {
      description: 'A coprocess of a script: an id for every line, at once',
      command: `<%= config.bin %> enqueue Notify --args-from - --each`,
    },
  ]
  static override args = {
    func: argument({description: 'function: any name of 1 to 255 characters', ignoreStdin: true}),
  }
  static override flags = {
    arg: string({summary: 'the argument, as JSON', helpValue: 'JSON'}),
    'arg-file': string({summary: 'read the argument from a file, - for standard input', helpValue: 'FILE'}),
    'args-from': string({summary: 'a job for every line of a file, - for standard input', helpValue: 'FILE'}),
    batch: string({
      summary:
        'a job for every line, an object {"func","arg","uniqkey","priority","delay"|"run_after","after","after_end","tags","expires","uniq_for","keep_result"}',
      helpValue: 'FILE',
    }),
    then: string({
      summary: 'with --batch or --args-from: a job that runs when all of these have ended; its id is printed',
      helpValue: 'FUNC',
    }),
    'then-arg': string({
      summary: 'with --then: its argument, an object, to which "batch" is added: how many ended how',
      helpValue: 'JSON',
    }),
    each: boolean({
      summary:
        'with --args-from or --batch: every line a commit; print its id, and go on behind one that is refused',
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
    after: string({
      summary:
        'not before these jobs have completed; one that fails, or is cancelled, fails this one as well',
      helpValue: 'ID[,ID…]',
    }),
    'after-end': string({
      summary: 'not before these jobs have ended, however they do',
      helpValue: 'ID[,ID…]',
    }),
    tag: string({
      summary: 'what it is chosen by, in list, cancel, retry and wait; may be given again',
      helpValue: 'NAME=VALUE',
      multiple: true,
    }),
    expires: string({
      summary:
        'if it has not begun so long from now, it leaves the queue, aborted: 90, 90s, 5m, 1h30m, 3d, 2w',
      helpValue: 'D',
    }),
    tracked: boolean({summary: 'keep how it ends until `<%= config.bin %> wait` asks'}),
    'keep-result': string({
      summary:
        'keep what its worker returns so long after it has completed: `<%= config.bin %> wait --result` prints it',
      helpValue: 'D',
    }),
    'uniq-for': string({
      summary: 'with --uniqkey: the key stays taken so long from now, even when the job has ended',
      helpValue: 'D',
    }),
    token: string({
      summary:
        'names this very enqueue: the same again within an hour stores nothing, and prints the same id',
      helpValue: 'TOKEN',
    }),
    'if-absent': boolean({
      summary: 'a job that waits under the uniqkey already is fine: print its id, exit 0',
    }),
    replace: boolean({
      summary:
        'where a job waits under the uniqkey, replace its argument, time and priority, and print its id',
    }),
  }
}
