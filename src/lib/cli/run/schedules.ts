/** `jobq schedules` once its words are known. */

import type {JobQueue} from '../../client/queue.ts'
import {DuplicateJobError, UsageError} from '../../jobs/errors.ts'
import {idOf} from '../../jobs/job.ts'
import {toJson} from '../../render/json.ts'
import {scheduleDocument, scheduleLine, schedulesTable} from '../../render/schedules.ts'
import {withQueueOf} from '../command-queue.ts'
import {columns, isTerminal} from '../output.ts'
import {complain, printer, say} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'

export interface SchedulesFlags extends QueueFlags {
  words?: string[] | undefined
  json?: boolean | undefined
}

/** @returns the document, if it is still to be shown */
export async function run(flags: SchedulesFlags): Promise<Record<string, unknown> | undefined> {
  const {words = [], json} = flags
  if (words.length === 0) return withQueueOf(flags, queue => show(queue, json ?? false))
  const [word, name, ...more] = words
  if (word !== 'run' || name === undefined || more.length > 0)
    throw new UsageError(`expected nothing, or \`run NAME\`, got ${JSON.stringify(words.join(' '))}`, {
      hint: '`jobq schedules run nightly` enqueues its job now',
    })
  return withQueueOf(
    flags,
    async queue => {
      const job = await queue.runSchedule(name).catch(inOurWords)
      const {func, uniqkey, priority, runAfter} = job
      printer(json)(String(idOf(job)))
      return {id: idOf(job), func, uniqkey, priority, run_after: runAfter, enqueued: true}
    },
    {role: 'command'},
  )
}

/** What an enqueue is told of a key that is taken is of no use here. */
function inOurWords(error: unknown): never {
  if (!(error instanceof DuplicateJobError)) throw error
  throw Object.assign(error, {hint: 'run it when that job has left the queue'})
}

async function show(queue: JobQueue, json: boolean): Promise<undefined> {
  const schedules = await queue.schedules()
  if (json) say(`${toJson(schedules.map(scheduleDocument))}\n`)
  else if (schedules.length === 0)
    complain(
      `no schedules in ${queue.settings.file ?? 'a configuration: there is none'}; docs/schedules.md tells how to write one`,
    )
  else if (isTerminal()) say(await schedulesTable(schedules, columns()))
  else say(schedules.map(scheduleLine).join(''))
  return undefined
}
