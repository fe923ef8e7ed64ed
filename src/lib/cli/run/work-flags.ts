/** The flags of `jobq work`: every one is checked before a worker is looked for or a database opened. */
import {UsageError} from '../../jobs/errors.ts'
import {absolutePath} from '../../jobs/here.ts'
import {checkFunc, parseKeepOutput, parsePort, parseRef, parseSize, parseWhole} from '../../jobs/names.ts'
import {parseDuration} from '../../jobs/time.ts'
import type {QueueFlags} from '../settings.ts'

/** What a bare --abilities stands for. */
export const ALL = '*'

export interface WorkFlags extends QueueFlags {
  abilities?: string | undefined
  workers?: string | undefined
  exec?: string[] | undefined
  once?: boolean | undefined
  drain?: boolean | undefined
  job?: string | undefined
  'max-workers'?: string | undefined
  'jobs-per-child'?: string | undefined
  'min-spare-workers'?: string | undefined
  'max-spare-workers'?: string | undefined
  'max-request-per-child'?: string | undefined
  'max-child-memory'?: string | undefined
  'keep-output'?: string | undefined
  prefetch?: string | undefined
  fair?: boolean | undefined
  durable?: boolean | undefined
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

/** @throws UsageError */
export function optionsOf(flags: WorkFlags) {
  const job = given(flags, 'job', parseRef)
  if (job && flags['max-jobs'] !== undefined && whence('max-jobs') === '--max-jobs')
    throw new UsageError('expected --job or --max-jobs, got both', {hint: '--job works one job and ends'})
  return {
    mode: flags.once || job ? 'once' : flags.drain ? 'drain' : 'forever',
    job,
    abilities: abilities(flags),
    exec: flags.exec,
    workersDir: flags.workers === undefined ? undefined : absolutePath(flags.workers),
    maxWorkers: whole(flags, 'max-workers', 1, 10_000),
    jobsPerChild: whole(flags, 'jobs-per-child', 1, 10_000),
    maxJobs: whole(flags, 'max-jobs', 1),
    maxTimeMs: milliseconds(flags, 'max-time'),
    shutdownTimeoutMs: milliseconds(flags, 'shutdown-timeout'),
    minSpareWorkers: whole(flags, 'min-spare-workers', 0, 10_000),
    maxSpareWorkers: whole(flags, 'max-spare-workers', 0, 10_000),
    maxRequestPerChild: whole(flags, 'max-request-per-child', 0),
    maxChildMemory: given(flags, 'max-child-memory', parseSize),
    keepOutput: given(flags, 'keep-output', parseKeepOutput),
    prefetch: whole(flags, 'prefetch', 0, 10_000),
    fair: flags.fair,
    adminHost: flags['admin-host'],
    adminPort: given(flags, 'admin-port', parsePort),
    workDelayMs: milliseconds(flags, 'work-delay'),
  } as const
}

function abilities(flags: WorkFlags): string[] | 'all' | undefined {
  if (flags.abilities === ALL) return 'all'
  return given(flags, 'abilities', (text, what) => [
    ...new Set(text.split(',').map(name => checkFunc(name.trim(), what))),
  ])
}

function whole(flags: WorkFlags, name: TextFlag, min: number, max?: number): number | undefined {
  return given(flags, name, (text, what) => parseWhole(text, what, min, max))
}

function milliseconds(flags: WorkFlags, name: TextFlag): number | undefined {
  return given(flags, name, (text, what) => parseDuration(text, what) * 1000)
}

type TextFlag = {
  [Name in keyof WorkFlags]-?: WorkFlags[Name] extends string | undefined ? Name : never
}[keyof WorkFlags]

function given<T>(flags: WorkFlags, name: TextFlag, parse: (text: string, what: string) => T): T | undefined {
  const text = flags[name]
  return text === undefined ? undefined : parse(text, whence(name))
}

/** Where a flag's value was written, for a message: on the command line, or in the environment. */
function whence(name: TextFlag): string {
  const isWord = process.argv.some(word => word === `--${name}` || word.startsWith(`--${name}=`))
  return isWord ? `--${name}` : `JOBQ_${name.toUpperCase().replaceAll('-', '_')}`
}
