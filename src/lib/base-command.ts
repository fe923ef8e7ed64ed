/**
 * What all commands share: the flags that say which queue, opening it, and data out as one JSON document.
 * Errors pass through: start.ts shows them.
 */
import {Command} from '@oclif/core/command'
import {string} from '@oclif/core/flags'
import {withQueue} from './cli/command-queue.ts'
import {resolveSettings} from './config.ts'
import {EXIT} from './errors.ts'
import type {PluginContext} from './plugins.ts'
import type {JobQueue} from './queue.ts'
import type {QueueOptions} from './queue-options.ts'
import {toJson} from './render.ts'

interface OpenOptions extends Pick<QueueOptions, 'durable' | 'patient'> {
  role?: PluginContext['role'] | null
}

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
      description: 'Also JOBQ_CONFIG. Default: jobq.config.{ts,mts,js,mjs,json} in this folder or one above.',
      helpValue: 'FILE',
      helpGroup: 'GLOBAL',
    }),
  }

  /**
   * Opens the queue, hands it over, and closes it whatever happens.
   * @param role what plugins are told; null: without plugins, and without hooks
   */
  protected async withQueue<T>(
    flags: {db?: string[] | undefined; config?: string | undefined},
    use: (queue: JobQueue) => Promise<T>,
    {role = null, ...more}: OpenOptions = {},
  ): Promise<T> {
    const onTrouble = (message: string) => {
      process.exitCode = EXIT.failed // what is shown is not all there is
      process.stderr.write(`jobq: ${message}\n`)
    }
    return withQueue(await resolveSettings(flags), role, {onTrouble, ...more}, use)
  }

  /** Writes lines for people; under --json nothing. */
  protected print(text: string): void {
    if (!this.jsonEnabled()) process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
  }

  override logJson(data: unknown): void {
    process.stdout.write(`${toJson(data)}\n`)
  }

  override async catch(error: Error): Promise<never> {
    throw error
  }
}
