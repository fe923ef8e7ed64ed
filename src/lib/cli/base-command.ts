/**
 * What all commands share: the flags that say which queue, opening it, and data out as one JSON document.
 * Errors pass through: main.ts shows them.
 */
import {Command} from '@oclif/core/command'
import {string} from '@oclif/core/flags'
import type {Config, LoadOptions} from '@oclif/core/interfaces'
import type {JobQueue} from '../client/queue.ts'
import {printableLines} from '../jobs/printable.ts'
import {toJson} from '../render/json.ts'
import {type QueueFlags, withQueueOf} from './command-queue.ts'

export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true
  static override baseFlags = {
    db: string({
      summary: 'database: FILE, sqlite:FILE, mysql://…, postgres://…, or a Perl dbi: DSN',
      description:
        "Also JOBQ_DB (several: with commas). Default: the configuration's, else $XDG_DATA_HOME/jobq/jobq.db.",
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

  /** Opens the queue, without plugins and hooks, hands it over, and closes it whatever happens. */
  protected withQueue<T>(flags: QueueFlags, use: (queue: JobQueue) => Promise<T>): Promise<T> {
    return withQueueOf(flags, use)
  }

  /** Writes lines for people; under --json nothing. */
  protected print(text: string): void {
    if (!this.jsonEnabled()) process.stdout.write(printableLines(text.endsWith('\n') ? text : `${text}\n`))
  }

  override logJson(data: unknown): void {
    process.stdout.write(`${toJson(data)}\n`)
  }

  override async catch(error: Error): Promise<never> {
    throw error
  }
}
