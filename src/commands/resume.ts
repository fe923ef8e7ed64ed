import {string as argument} from '@oclif/core/args'
import {boolean} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Resume extends BaseCommand {
  static override summary = 'Hand out jobs again that were paused.'
  static override description =
    `A function stays paused while everything is. --all lifts every pause there is: that of everything, and those of single functions.

With --json: {"resumed":["Notify"],"paused":[]}: what was paused until now, and what still is; "" is everything.

Exits 0, also where nothing of that was paused, 2 without a function and --all.`
  static override examples = [
    {description: 'One function', command: '<%= config.bin %> resume Notify'},
    {description: 'Everything', command: '<%= config.bin %> resume --all'},
  ]
  static override usage = ['<%= command.id %> FUNC… [--json]', '<%= command.id %> --all [--json]']
  static override args = {
    func: argument({description: 'functions', multiple: true, ignoreStdin: true}),
  }
  static override flags = {
    all: boolean({summary: 'whatever is paused'}),
  }
}
