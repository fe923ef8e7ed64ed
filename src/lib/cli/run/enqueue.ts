/** `jobq enqueue` once its words are known: opens the queue, stores, says what was stored. */

import type {JobQueue} from '../../client/queue.ts'
import type {Settings} from '../../config/settings.ts'
import type {NewJob} from '../../jobs/job.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import {commandSettings, type QueueFlags, withQueue} from '../command-queue.ts'
import {type EnqueueResult, enqueueOne, result} from '../enqueue/one.ts'
import {type EnqueueRequest, readJob, serializerOf} from '../enqueue/request.ts'
import {noteDone, say} from '../output-guard.ts'

export interface EnqueueFlags extends EnqueueRequest, QueueFlags {
  json?: boolean | undefined
}

/** @returns what --json shows */
export async function runEnqueue(flags: EnqueueFlags): Promise<Record<string, unknown>> {
  const {line, document} = await enqueue(flags)
  if (!flags.json) say(`${line}\n`)
  return document
}

async function enqueue(flags: EnqueueFlags): Promise<EnqueueResult> {
  const settings = await commandSettings(flags)
  const request = {...flags, defaultSerializer: settings.config.serializer}
  if (flags['args-from'] !== undefined || flags.batch !== undefined) return enqueueMany(request, settings)
  const job = await readJob(request)
  return withQueue(settings, 'command', {}, async queue =>
    enqueueOne(await target(queue, serializerOf(request)), job, flags['if-absent'] ?? false),
  )
}

async function enqueueMany(flags: EnqueueFlags, settings: Settings): Promise<EnqueueResult> {
  const {openJobs} = await import('../enqueue/bulk.ts')
  using source = await openJobs(flags)
  const place = () => `line ${source.line()}`
  return await withQueue(settings, 'command', {}, async queue => {
    const jobs = await hooked(queue, source.jobs, serializerOf(flags), place)
    const count = await queue.addMany(jobs, place)
    noteDone(`${count} jobs are stored all the same`)
    return result(count, {enqueued: count})
  })
}

/** Where there is nothing around an enqueue, the job goes in as it was read. */
async function target(queue: JobQueue, serializer: SerializerName) {
  if (queue.isPlain) return queue
  const {callOfJob} = await import('../enqueue/hooked-call.ts')
  return {
    add: async (job: NewJob) => {
      const {call, toJob} = await callOfJob(job, serializer)
      return queue.enqueueCall(call, toJob)
    },
    find: queue.find.bind(queue),
  }
}

async function hooked(
  queue: JobQueue,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
  serializer: SerializerName,
  place: () => string,
): Promise<Iterable<NewJob> | AsyncIterable<NewJob>> {
  if (queue.hooks.isEmpty) return jobs
  const {callOfJob} = await import('../enqueue/hooked-call.ts')
  return (async function* () {
    for await (const job of jobs) {
      const {call, toJob} = await callOfJob(job, serializer)
      yield await queue.hookedJob(call, `${place()}: `, toJob)
    }
  })()
}
