/** `jobq stats` once its words are known: once or again and again, in the form that its reader wants. */

import type {JobQueue} from '../../client/queue.ts'
import {databasesName} from '../../config/settings.ts'
import {UsageError} from '../../jobs/errors.ts'
import type {Stats} from '../../jobs/stats.ts'
import {toJson} from '../../render/json.ts'
import {statsDocument, statsLines, statsTable} from '../../render/stats.ts'
import {withQueueOf} from '../command-queue.ts'
import {parseWatch} from '../optional-value.ts'
import {complain} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'
import {watch} from '../watch.ts'

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
  const form = json ? 'json' : prometheus ? 'prometheus' : process.stdout.isTTY ? 'table' : 'lines'
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
    process.stdout.write(await metrics(queue, func))
    return undefined
  }
  if (seconds !== null) {
    await watch(seconds, async () => shown(await queue.stats(func), form), form === 'table')
    return undefined
  }
  const stats = await queue.stats(func)
  if (form === 'json') return statsDocument(stats)
  if (form === 'table' && stats.funcs.length === 0)
    complain('no job was ever enqueued here; `jobq enqueue --help` tells how')
  else process.stdout.write(await shown(stats, form))
  return undefined
}

async function metrics(queue: JobQueue, func: string | undefined): Promise<string> {
  const {prometheusText} = await import('../../render/prometheus.ts')
  const {findManagers} = await import('../../work/status/managers.ts')
  const tell = (message: string) => complain(`jobq: ${message}`)
  return prometheusText({
    counts: await queue.counts(func),
    attempts: await queue.attempts(func),
    managers: func === undefined ? await findManagers(databasesName(queue.settings), tell) : null,
  })
}

async function shown(stats: Stats, form: Exclude<StatsForm, 'prometheus'>): Promise<string> {
  switch (form) {
    case 'json':
      return `${toJson(statsDocument(stats))}\n`
    case 'lines':
      return statsLines(stats)
    case 'table':
      return statsTable(stats, process.stdout.columns || 80)
  }
}
