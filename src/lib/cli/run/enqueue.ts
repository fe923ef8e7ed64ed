/**
 * `jobq enqueue` once its words are known: stores, and says what was stored. Scripts call it in loops, and its start is
 * most of what it costs: so where there is no configuration file, a job goes straight into its store, and the client is
 * not loaded.
 */
import type {JobQueue} from '../../client/queue.ts'
import type {Settings} from '../../config/settings.ts'
import {Events} from '../../hooks/events.ts'
import {DuplicateJobError} from '../../jobs/errors.ts'
import {type EnqueuedJob, idOf, type JobRow, type NewJob} from '../../jobs/job.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import {openStores} from '../../store/open.ts'
import {type EnqueueRequest, readJob, serializerOf} from '../enqueue/request.ts'
import {complain, noteDone, say} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'

export interface EnqueueFlags extends EnqueueRequest, QueueFlags {
  json?: boolean | undefined
}

type Document = Record<string, unknown>

/** A JobQueue, or a store. */
interface Target {
  add(job: NewJob): Promise<EnqueuedJob>
  find(id: number, db?: number): Promise<JobRow | null>
}

export async function run(flags: EnqueueFlags): Promise<Document> {
  const settings = await commandSettings(flags)
  const request = {...flags, defaultSerializer: settings.config.serializer}
  const isMany = flags['args-from'] !== undefined || flags.batch !== undefined
  const document = isMany ? await enqueueMany(request, settings) : await enqueue(request, settings)
  if (!flags.json) say(`${document.id ?? document.enqueued}\n`)
  return document
}

async function enqueue(request: EnqueueRequest, settings: Settings): Promise<Document> {
  const job = await readJob(request)
  const ifAbsent = request['if-absent'] ?? false
  if (settings.file === null) return intoStore(settings, job, ifAbsent)
  const {withQueue} = await import('../command-queue.ts')
  return withQueue(settings, 'command', {}, async queue =>
    enqueueOne(await target(queue, serializerOf(request)), job, ifAbsent),
  )
}

async function intoStore({databases}: Settings, job: NewJob, ifAbsent: boolean): Promise<Document> {
  const store = await openStores(databases, {brief: true, onTrouble: what => complain(`jobq: ${what}`)})
  const add = async () => {
    const stored = await store.enqueue(job)
    new Events().tell('enqueue', () => stored)
    return stored
  }
  try {
    return await enqueueOne({add, find: store.find.bind(store)}, job, ifAbsent)
  } finally {
    await store.close()
  }
}

/** @param ifAbsent a job that waits under the uniqkey stands for this one. @throws DuplicateJobError otherwise */
async function enqueueOne(target: Target, job: NewJob, ifAbsent: boolean): Promise<Document> {
  for (;;) {
    try {
      const row = await target.add(job)
      noteDone(`job ${idOf(row)} is stored all the same`)
      return {...shown(row), enqueued: true}
    } catch (error) {
      if (!(ifAbsent && error instanceof DuplicateJobError)) throw error
      const waiting = error.existingId === null ? null : await target.find(error.existingId, error.existingDb)
      if (waiting) return {...shown(waiting), enqueued: false}
      // It left the queue in between: the key is free again
    }
  }
}

function shown(row: JobRow | EnqueuedJob): Document {
  const {func, uniqkey, priority, runAfter} = row
  return {id: idOf(row), func, uniqkey, priority, run_after: runAfter}
}

async function enqueueMany(flags: EnqueueFlags, settings: Settings): Promise<Document> {
  const {openJobs} = await import('../enqueue/bulk.ts')
  const {withQueue} = await import('../command-queue.ts')
  using source = await openJobs(flags)
  const place = (nth = source.line()) => `line ${nth}`
  return await withQueue(settings, 'command', {}, async queue => {
    const jobs = await hooked(queue, source.jobs, serializerOf(flags), place)
    const count = await queue.addMany(jobs, place)
    noteDone(`${count} jobs are stored all the same`)
    return {enqueued: count}
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
