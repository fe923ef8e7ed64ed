/** `jobq stats` once its words are known: once or again and again, in the form that its reader wants. */

import type {JobQueue} from '../../client/queue.ts'
import {UsageError} from '../../jobs/errors.ts'
import type {Stats} from '../../jobs/stats.ts'
import {toJson} from '../../render/json.ts'
import {statsDocument, statsLines, statsTable} from '../../render/stats.ts'
import {withQueueOf} from '../command-queue.ts'
import {parseWatch} from '../optional-value.ts'
import {columns, isTerminal} from '../output.ts'
import {complain, say} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'

type StatsForm = 'json' | 'prometheus' | 'table' | 'lines'

export interface StatsFlags extends QueueFlags {
  func?: string | undefined
  watch?: string | undefined
  prometheus?: boolean | undefined
  json?: boolean | undefined
}

/** @returns the document, if it is still to be shown */
export async function run(flags: StatsFlags): Promise<Record<string, unknown> | undefined> {
  const {func, json, prometheus} = flags
  if (json && prometheus)
    throw new UsageError('expected one of --json, --prometheus, got both', {hint: 'give only one of them'})
  const form = json ? 'json' : prometheus ? 'prometheus' : isTerminal() ? 'table' : 'lines'
  const seconds = flags.watch === undefined ? null : parseWatch(flags.watch)
  return withQueueOf(flags, queue => showStats(queue, func, form, seconds))
}

async function showStats(
  queue: JobQueue,
  func: string | undefined,
  form: StatsForm,
  seconds: number | null,
): Promise<Record<string, unknown> | undefined> {
  if (form === 'prometheus') {
    say(await metrics(queue, func))
    return undefined
  }
  if (seconds !== null) {
    const {watch} = await import('../watch.ts')
    await watch(seconds, async () => shown(await queue.stats(func), form), form === 'table')
    return undefined
  }
  const stats = await queue.stats(func)
  if (form === 'json') return statsDocument(stats)
  if (form === 'table' && stats.funcs.length === 0)
    complain('no job was ever enqueued here; `jobq enqueue --help` tells how')
  else say(await shown(stats, form))
  return undefined
}

async function metrics(queue: JobQueue, func: string | undefined): Promise<string> {
  const {metricsOf} = await import('../../render/prometheus.ts')
  return metricsOf(queue, func, message => complain(`jobq: ${message}`))
}

async function shown(stats: Stats, form: Exclude<StatsForm, 'prometheus'>): Promise<string> {
  switch (form) {
    case 'json':
      return `${toJson(statsDocument(stats))}\n`
    case 'lines':
      return statsLines(stats)
    case 'table':
      return statsTable(stats, columns())
  }
}
