import {string as argument} from '@oclif/core/args'
import {BaseCommand} from '../lib/base-command.ts'

export default class Resume extends BaseCommand {
  static override summary = 'Hand out jobs again that were paused.'
  static override description =
    `Without a function, lifts every pause there is. A function stays paused while everything is.`
  static override examples = [
    {description: 'Everything', command: '<%= config.bin %> resume'},
    {description: 'One function', command: '<%= config.bin %> resume Notify'},
  ]
  static override strict = false
  static override args = {
    func: argument({description: 'functions; none: all of them', ignoreStdin: true}),
  }

  async run(): Promise<{resumed: string[]; paused: string[]}> {
    const {argv, flags} = await this.parse(Resume)
    return this.withQueue(flags, async queue => {
      const resumed = await queue.resume(argv as string[])
      const paused = await queue.paused()
      this.print(resumed.length === 0 ? 'nothing of that was paused' : `resumed: ${names(resumed)}`)
      if (paused.length > 0) this.print(`still paused: ${names(paused)}`)
      return {resumed, paused}
    })
  }
}

function names(funcs: readonly string[]): string {
  return funcs.map(func => func || 'everything').join(', ')
}
