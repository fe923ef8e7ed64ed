import {string as argument} from '@oclif/core/args'
import {boolean} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Pause extends BaseCommand {
  static override summary = 'Stop handing out jobs, of some functions or of all, on every host.'
  static override description =
    `Takes effect at once and is kept until \`<%= config.bin %> resume\`, over restarts. Enqueueing goes on; jobs that run finish. A Perl worker knows nothing of it.

A function that was never enqueued here is paused all the same, with a word on stderr that it was not. With --json: {"paused":["Notify"]}, all that is paused now; "" is everything.

Exits 0 when done, 2 without a function and --all.`
  static override examples = [
    {description: 'While the mail server is down', command: '<%= config.bin %> pause Notify Digest'},
    {description: 'Everything', command: '<%= config.bin %> pause --all'},
  ]
  static override usage = ['<%= command.id %> FUNC… [--json]', '<%= command.id %> --all [--json]']
  static override args = {
    func: argument({description: 'functions', multiple: true, ignoreStdin: true}),
  }
  static override flags = {
    all: boolean({summary: 'everything there is and will be'}),
  }
}
