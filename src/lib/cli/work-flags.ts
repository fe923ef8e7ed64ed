/** `jobq work` once its words are known: every flag is checked before a worker is looked for or a database opened. */
import {resolve} from 'node:path'
import {checkFunc, parsePort, parseSize, parseWhole} from '../names.ts'
import {parseDuration} from '../time.ts'
import {type QueueFlags, withQueueOf} from './command-queue.ts'

/** What a bare --abilities stands for. */
export const ALL = '*'

export interface WorkFlags extends QueueFlags {
  abilities?: string | undefined
  workers?: string | undefined
  exec?: string[] | undefined
  once?: boolean | undefined
  drain?: boolean | undefined
  'max-workers'?: string | undefined
  'min-spare-workers'?: string | undefined
  'max-spare-workers'?: string | undefined
  'max-request-per-child'?: string | undefined
  'max-child-memory'?: string | undefined
  prefetch?: string | undefined
  fair?: boolean | undefined
  'work-delay'?: string | undefined
  'max-jobs'?: string | undefined
  'max-time'?: string | undefined
  'shutdown-timeout'?: string | undefined
  'admin-host'?: string | undefined
  'admin-port'?: string | undefined
  log?: string | undefined
  debug?: boolean | undefined
  json?: boolean | undefined
}

/** Sets the exit status. */
export async function runWork(flags: WorkFlags): Promise<void> {
  if (process.pid === 1) (await import('../work/supervisor.ts')).becomeInit()
  const options = optionsOf(flags)
  const {runWorkCommand} = await import('./work-run.ts')
  process.exitCode = await withQueueOf(
    flags,
    queue =>
      runWorkCommand(queue, options, {
        json: flags.json ?? false,
        debug: flags.debug ?? queue.settings.config.debug ?? false,
        logFile: flags.log,
      }),
    {durable: false, patient: options.mode === 'forever', role: 'dispatcher'},
  )
}

function optionsOf(flags: WorkFlags) {
  return {
    mode: flags.once ? 'once' : flags.drain ? 'drain' : 'forever',
    abilities: abilities(flags.abilities),
    exec: flags.exec,
    workersDir: flags.workers === undefined ? undefined : resolve(flags.workers),
    maxWorkers: whole(flags['max-workers'], '--max-workers', 1, 10_000),
    maxJobs: whole(flags['max-jobs'], '--max-jobs', 1),
    maxTimeMs: milliseconds(flags['max-time'], '--max-time'),
    shutdownTimeoutMs: milliseconds(flags['shutdown-timeout'], '--shutdown-timeout'),
    minSpareWorkers: whole(flags['min-spare-workers'], '--min-spare-workers', 0, 10_000),
    maxSpareWorkers: whole(flags['max-spare-workers'], '--max-spare-workers', 0, 10_000),
    maxRequestPerChild: whole(flags['max-request-per-child'], '--max-request-per-child', 0),
    maxChildMemory: given(flags['max-child-memory'], text => parseSize(text, '--max-child-memory')),
    prefetch: whole(flags.prefetch, '--prefetch', 0, 10_000),
    fair: flags.fair,
    adminHost: flags['admin-host'],
    adminPort: given(flags['admin-port'], text => parsePort(text, '--admin-port')),
    workDelayMs: milliseconds(flags['work-delay'], '--work-delay'),
  } as const
}

function abilities(text: string | undefined): string[] | 'all' | undefined {
  if (text === undefined) return undefined
  if (text === ALL) return 'all'
  return [...new Set(text.split(',').map(name => checkFunc(name.trim(), '--abilities')))]
}

function whole(text: string | undefined, flag: string, min: number, max?: number): number | undefined {
  return given(text, text => parseWhole(text, flag, min, max))
}

function milliseconds(text: string | undefined, flag: string): number | undefined {
  return given(text, text => parseDuration(text, flag) * 1000)
}

function given<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined ? undefined : parse(text)
}
