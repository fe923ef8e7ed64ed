/** Prometheus's text exposition format 0.0.4, of what the database and the running managers tell. */
import {isPassing, StoreError} from '../jobs/errors.ts'
import type {ManagerStatus} from '../jobs/manager.ts'
import {
  type Distribution,
  durations,
  jobsSamples,
  latencySamples,
  METRICS,
  type Metric,
  processedSamples,
  type Sample,
  scheduleSamples,
  workersSamples,
} from '../jobs/metrics.ts'
import type {FuncAttempts, FuncCounts} from '../jobs/stats.ts'

interface Facts {
  counts: readonly FuncCounts[]
  attempts: readonly FuncAttempts[]
  /** Null where only one function is asked for, since workers are nobody's, or where they can't be known. */
  managers: readonly ManagerStatus[] | null
  /** Null there, too. */
  schedules: Parameters<typeof scheduleSamples>[0] | null
}

/** What tells them: a queue. */
export interface MetricsSource {
  counts(func?: string): Promise<FuncCounts[]>
  attempts(func?: string): Promise<FuncAttempts[]>
  managers(): Promise<ManagerStatus[]>
  schedules(): Promise<NonNullable<Facts['schedules']>>
}

/**
 * @param func only one function: then without what is nobody's
 * @param onTrouble told what is left out
 */
export async function metricsOf(
  source: MetricsSource,
  func: string | undefined,
  onTrouble: (message: string) => void,
): Promise<string> {
  return prometheusText({
    counts: await source.counts(func),
    attempts: await source.attempts(func),
    managers: func === undefined ? await managersOf(source, onTrouble) : null,
    schedules: func === undefined ? await source.schedules() : null,
  })
}

/** Without the table, or the GRANT, all else can be told. */
async function managersOf(
  source: MetricsSource,
  onTrouble: (message: string) => void,
): Promise<ManagerStatus[] | null> {
  try {
    return await source.managers()
  } catch (error) {
    if (!(error instanceof StoreError) || isPassing(error)) throw error
    onTrouble(`${(error as Error).message}: jobq_workers is left out`)
    return null
  }
}

function prometheusText({counts, attempts, managers, schedules}: Facts): string {
  return [
    ...family(METRICS.jobs, jobsSamples(counts)),
    ...family(METRICS.latency, latencySamples(counts)),
    ...(managers ? family(METRICS.workers, workersSamples(managers)) : []),
    ...(schedules
      ? [
          ...family(METRICS.scheduleNext, scheduleSamples(schedules, 'next')),
          ...family(METRICS.scheduleLast, scheduleSamples(schedules, 'last')),
        ]
      : []),
    ...family(METRICS.processed, processedSamples(attempts)),
    ...histogram(METRICS.duration, durations(attempts)),
  ].join('')
}

function family(metric: Metric, samples: readonly Sample[]): string[] {
  return [...head(metric), ...samples.map(sample => line(metric.name, sample))]
}

function histogram(metric: Metric, distributions: readonly Distribution[]): string[] {
  const {name} = metric
  const lines = distributions.flatMap(({labels, buckets, sum, count}) => [
    ...buckets.map(([le, value]) => line(`${name}_bucket`, {labels: {...labels, le: String(le)}, value})),
    line(`${name}_bucket`, {labels: {...labels, le: '+Inf'}, value: count}),
    line(`${name}_sum`, {labels, value: sum}),
    line(`${name}_count`, {labels, value: count}),
  ])
  return [...head(metric), ...lines]
}

function head({name, type, stored = ''}: Metric): string[] {
  return [`# HELP ${name} ${stored}\n`, `# TYPE ${name} ${type}\n`]
}

function line(name: string, {labels, value}: Sample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${labelValue(text)}"`)
  return `${name}{${pairs.join(',')}} ${value}\n`
}

function labelValue(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
