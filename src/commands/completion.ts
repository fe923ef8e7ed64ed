import {string as argument} from '@oclif/core/args'
import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {SHELLS, VALUE_KINDS} from '../lib/cli/run/completion-words.ts'

export default class Completion extends BaseCommand {
  static override summary = 'Print what makes a shell complete commands, flags, functions and ids.'
  static override description =
    `A script for bash (3.2 or later), zsh or fish, to be kept where the shell finds it. It asks jobq for the names of functions and the ids of jobs when TAB is pressed, of the queue that --db and --config on the line name. After an update of jobq, print it anew.

With --json: {"shell":"bash","script":"…"}

Exits 0, 2 without a shell.`
  static override examples = [
    {
      description: 'bash, in ~/.bashrc',
      command: 'source <(<%= config.bin %> completion bash)',
    },
    {
      description: 'bash, where the package bash-completion is installed: not at each start of a shell',
      command:
        'mkdir -p ~/.local/share/bash-completion/completions && <%= config.bin %> completion bash > ~/.local/share/bash-completion/completions/<%= config.bin %>',
    },
    {
      description: 'zsh, in a folder of $fpath, before compinit is called',
      command: 'mkdir -p ~/.zfunc && <%= config.bin %> completion zsh > ~/.zfunc/_<%= config.bin %>',
    },
    {
      description: 'fish',
      command:
        'mkdir -p ~/.config/fish/completions && <%= config.bin %> completion fish > ~/.config/fish/completions/<%= config.bin %>.fish',
    },
  ]
  static override args = {
    shell: argument({description: SHELLS.join(', '), options: [...SHELLS], ignoreStdin: true}),
  }
  static override flags = {
    values: string({hidden: true, options: [...VALUE_KINDS], helpValue: 'KIND'}),
    prefix: string({hidden: true, helpValue: 'TEXT', dependsOn: ['values']}),
  }
}
