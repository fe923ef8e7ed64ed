/**
 * What all commands share where oclif runs them: the flags that say which queue, and the way to what is run
 * (command.ts). Errors pass through: main.ts shows them.
 */
import {Command} from '@oclif/core/command'
import {string} from '@oclif/core/flags'
import type {Config, FlagInput, LoadOptions} from '@oclif/core/interfaces'
import type {PlainFlags} from './argv.ts'
import {runCommand} from './command.ts'
import {giveBare} from './optional-value.ts'

export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true
  /** Flags whose value may be left out, and what they mean then. */
  static bare: Readonly<Record<string, string>> = {}
  static override baseFlags: FlagInput = {
    db: string({
      summary: 'database: FILE, sqlite:FILE, mysql://…, postgres://…, or a Perl dbi: DSN',
      description:
        "A server may have several hosts: postgres://h1,h2/db. Also JOBQ_DB (several: with commas). Default: the configuration's, else $XDG_DATA_HOME/jobq/jobq.db.",
      multiple: true,
      multipleNonGreedy: true, // else the words behind its value would be values, too
      helpValue: 'URL',
      helpGroup: 'GLOBAL',
    }),
    config: string({
      summary: 'configuration file',
      description:
        'Also JOBQ_CONFIG; /dev/null: none. Default: jobq.config.{ts,mts,js,mjs,json} in this folder or one above.',
      helpValue: 'FILE',
      helpGroup: 'GLOBAL',
    }),
  }

  /** oclif's own would load its whole configuration once more. */
  static override async run<T extends Command>(
    this: new (
      argv: string[],
      config: Config,
    ) => T,
    argv: string[] = [],
    config?: LoadOptions,
  ): Promise<ReturnType<T['run']>> {
    return (new this(argv, config as Config) as T & {_run(): Promise<ReturnType<T['run']>>})._run()
  }

  override async run(): Promise<void> {
    await runCommand(this.ctor.id, await this.read())
  }

  /** The flags and arguments, by their names. */
  async read(): Promise<PlainFlags> {
    const {bare} = this.ctor as typeof BaseCommand
    for (const [flag, value] of Object.entries(bare)) this.argv = giveBare(this.argv, `--${flag}`, value)
    const {args, flags} = await this.parse(this.ctor)
    return {...flags, ...args}
  }

  override async catch(error: Error): Promise<never> {
    throw error
  }
}
