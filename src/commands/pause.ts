import {string as argument} from '@oclif/core/args'
import {BaseCommand} from '../lib/base-command.ts'

export default class Pause extends BaseCommand {
  static override summary = 'Stop handing out jobs, of some functions or of all, on every host.'
  static override description =
    `Takes effect at once and is kept until \`<%= config.bin %> resume\`, over restarts. Enqueueing goes on; jobs that run finish. A Perl worker knows nothing of it.`
  static override examples = [
    {description: 'Everything', command: '<%= config.bin %> pause'},
    {description: 'While the mail server is down', command: '<%= config.bin %> pause Notify Digest'},
  ]
  static override strict = false
  static override args = {
    func: argument({description: 'functions; none: all of them', ignoreStdin: true}),
  }

  async run(): Promise<{paused: string[]}> {
    const {argv, flags} = await this.parse(Pause)
    return this.withQueue(flags, async queue => {
      await queue.pause(argv as string[])
      const paused = await queue.paused()
      this.print(`paused: ${paused.map(func => func || 'everything').join(', ')}`)
      return {paused}
    })
  }
}
