/**
 * `jobq enqueue` once its words are known: stores, and says what was stored. Scripts call it in loops, and its start is
 * most of what it costs: so where there is no configuration file, a job goes straight into its store, and the client is
 * not loaded.
 */
import type {JobQueue} from '../../client/queue.ts'
import type {Settings} from '../../config/settings.ts'
import {Events} from '../../hooks/events.ts'
import {checkOneDatabase, DuplicateJobError} from '../../jobs/errors.ts'
import {type EnqueuedJob, idOf, type JobRow, type NewJob, rowRef} from '../../jobs/job.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import {openStores} from '../../store/open.ts'
import type {Store} from '../../store/store.ts'
import {type EnqueueRequest, readJob, serializerOf} from '../enqueue/request.ts'
import type {Stored} from '../enqueue/stream.ts'
import {complain, noteDone, say} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'

export interface EnqueueFlags extends EnqueueRequest, QueueFlags {
  json?: boolean | undefined
}

type Document = Record<string, unknown>

/** A JobQueue, or a store. */
interface Target {
  /** @param replace what waits under its key */
  add(job: NewJob, replace: boolean): Promise<EnqueuedJob>
  find(id: number, db?: number): Promise<JobRow | null>
}

/** @returns nothing where every line was answered by itself */
export async function run(flags: EnqueueFlags): Promise<Document | undefined> {
  const settings = await commandSettings(flags)
  const request = {...flags, defaultSerializer: settings.config.serializer}
  const isMany = flags['args-from'] !== undefined || flags.batch !== undefined
  if (isMany && flags.each) return enqueueEach(request, settings)
  const document = isMany ? await enqueueMany(request, settings) : await enqueue(request, settings)
  const then = document.then as Document | undefined
  if (!flags.json) say(`${document.id ?? then?.id ?? document.enqueued}\n`)
  return document
}

async function enqueue(request: EnqueueRequest, settings: Settings): Promise<Document> {
  const job = await readJob(request)
  checkOneDatabase(job.token, settings.databases.length)
  if (settings.file === null) return intoStore(settings, job, request)
  const {withQueue} = await import('../command-queue.ts')
  return withQueue(settings, 'command', {oneJob: true}, async queue =>
    told(await enqueueOne(await target(queue, serializerOf(request)), job, request)),
  )
}

async function intoStore({databases}: Settings, job: NewJob, request: EnqueueRequest): Promise<Document> {
  const onTrouble = (what: string) => complain(`jobq: ${what}`)
  const store = await openStores(databases, {brief: true, oneJob: true, onTrouble})
  const add = async (job: NewJob, replace: boolean) => {
    const stored = await (replace ? replaceIn(store, job, databases.length) : store.enqueue(job))
    if (!stored.isReplaced) new Events().tell('enqueue', () => stored)
    return stored
  }
  try {
    return told(await enqueueOne({add, find: store.find.bind(store)}, job, request))
  } finally {
    await store.close()
  }
}

async function replaceIn(store: Store, job: NewJob, databases: number): Promise<EnqueuedJob> {
  const {enqueueOrReplace} = await import('../../client/replace.ts')
  return enqueueOrReplace(store, job, databases)
}

/** @throws DuplicateJobError where a job waits under the uniqkey, unless it may stand for this one, or be replaced */
async function enqueueOne(
  target: Target,
  job: NewJob,
  {'if-absent': ifAbsent = false, replace = false}: EnqueueRequest,
): Promise<Stored> {
  for (;;) {
    try {
      const row = await target.add(job, replace)
      const {isReplaced = false} = row
      return {
        ref: rowRef(row),
        document: {...shown(row), enqueued: !isReplaced, ...(replace ? {replaced: isReplaced} : {})},
      }
    } catch (error) {
      if (!(ifAbsent && error instanceof DuplicateJobError)) throw error
      const waiting = error.existingId === null ? null : await target.find(error.existingId, error.existingDb)
      if (waiting) return {ref: rowRef(waiting), document: {...shown(waiting), enqueued: false}}
      if (error.takenUntil !== null) return ended(error)
      // It left the queue in between: the key is free again
    }
  }
}

/** The job has left the queue, and its key is taken all the same. */
function ended({existingId, existingDb: db, func, uniqkey}: DuplicateJobError): Stored {
  const ref = rowRef({id: existingId!, db})
  return {ref, document: {id: idOf(ref), func, uniqkey, priority: null, run_after: null, enqueued: false}}
}

function told({document}: Stored): Document {
  noteDone(`job ${document.id} is stored all the same`)
  return document
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
    if (flags.then !== undefined || flags['then-arg'] !== undefined)
      return addBatch(queue, jobs, flags, place)
    const count = await queue.addMany(jobs, place)
    noteDone(`${count} jobs are stored all the same`)
    return {enqueued: count}
  })
}

/** The id of what runs in the end is what is waited for. */
async function addBatch(
  queue: JobQueue,
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>,
  flags: EnqueueFlags,
  place: (nth?: number) => string,
): Promise<Document> {
  const {lastsOf} = await import('../enqueue/then.ts')
  const {jobs: count, thenJob: then} = await queue.addBatch(jobs, await lastsOf(flags), place)
  noteDone(`${count} jobs are stored all the same`)
  return {enqueued: count, then: then && {id: idOf(then), func: then.func}}
}

async function enqueueEach(flags: EnqueueFlags, settings: Settings): Promise<undefined> {
  const {openRequest} = await import('../enqueue/bulk.ts')
  const {enqueueEach} = await import('../enqueue/stream.ts')
  const {withQueue} = await import('../command-queue.ts')
  if (flags.then !== undefined) await (await import('../enqueue/then.ts')).lastsOf(flags)
  const {lines, toJob} = await openRequest(flags)
  using _ = lines
  await withQueue(settings, 'command', {}, async queue => {
    const to = await target(queue, serializerOf(flags))
    await enqueueEach({lines, toJob}, job => enqueueOne(to, job, flags), flags.json)
  })
}

/** Where there is nothing around an enqueue, the job goes in as it was read. */
async function target(queue: JobQueue, serializer: SerializerName) {
  const find = queue.store.find.bind(queue.store)
  if (queue.isPlain) return {add: (job: NewJob, replace: boolean) => queue.add(job, {replace}), find}
  const {callOfJob} = await import('../enqueue/hooked-call.ts')
  return {
    add: async (job: NewJob, replace: boolean) => {
      const {call, toJob} = await callOfJob(job, serializer)
      return queue.enqueueCall(call, toJob, {replace})
    },
    find,
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
