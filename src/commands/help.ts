import {string as argument} from '@oclif/core/args'
import type {FlagInput} from '@oclif/core/interfaces'
import {BaseCommand} from '../lib/cli/base-command.ts'

/** What there is to know of `jobq help`: cli/oclif.ts does it, as it does --help. */
export default class Help extends BaseCommand {
  static override enableJsonFlag = false
  static override baseFlags: FlagInput = {}
  static override summary = 'Show the commands, or all about one of them.'
  static override description = `The same as --help behind a command.

Exits 0, 2 for what is no command.`
  static override examples = [
    {description: 'Which commands are there?', command: '<%= config.bin %> help'},
    {description: 'What can be said to one?', command: '<%= config.bin %> help work'},
  ]
  static override args = {
    command: argument({description: 'a command', ignoreStdin: true}),
  }
}
