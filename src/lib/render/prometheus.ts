/** Prometheus's text exposition format 0.0.4, of what the database and the running managers tell. */
import type {FuncAttempts, FuncCounts} from '../jobs/job.ts'
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
  workersSamples,
} from '../jobs/metrics.ts'

export interface Facts {
  counts: readonly FuncCounts[]
  attempts: readonly FuncAttempts[]
  /** Null where only one function is asked for: workers are nobody's. */
  managers: readonly ManagerStatus[] | null
}

export function prometheusText({counts, attempts, managers}: Facts): string {
  return [
    ...family(METRICS.jobs, jobsSamples(counts)),
    ...family(METRICS.latency, latencySamples(counts)),
    ...(managers ? family(METRICS.workers, workersSamples(managers)) : []),
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
