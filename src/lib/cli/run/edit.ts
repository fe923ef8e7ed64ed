/** `jobq edit` once its words are known: each job is edited, or it is told why not. */
import {type ArgFor, endOf} from '../../client/edit.ts'
import type {JobQueue} from '../../client/queue.ts'
import {
  ArgumentError,
  DuplicateJobError,
  EXIT,
  isElsewhere,
  JobqError,
  UsageError,
} from '../../jobs/errors.ts'
import {idOf, type JobChanges, type RowRef, type StoredArg} from '../../jobs/job.ts'
import {checkUniqkey, parseRefs, parseWhole} from '../../jobs/names.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import {parseDelay, parseTime} from '../../jobs/time.ts'
import {line} from '../../render/listing.ts'
import {withQueue} from '../command-queue.ts'
import {type EnqueueRequest, only, readArg, serializerOf} from '../enqueue/request.ts'
import {complain, printer} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'

type Requested = 'arg' | 'arg-file' | 'serializer' | 'uniqkey' | 'priority' | 'delay' | 'at' | 'expires'

export interface EditFlags extends QueueFlags, Pick<EnqueueRequest, Requested> {
  id?: string[] | undefined
  json?: boolean | undefined
}

export async function run(flags: EditFlags): Promise<Record<string, unknown>[]> {
  const refs = refsOf(flags)
  only(flags, 'arg', 'arg-file')
  const changes = changesOf(flags)
  const settings = await commandSettings(flags)
  const serializer = serializerOf({...flags, defaultSerializer: settings.config.serializer})
  const hasArg = flags.arg !== undefined || flags['arg-file'] !== undefined
  if (!hasArg && Object.keys(changes).length === 0)
    throw new UsageError('expected something to change, got nothing', {
      hint: 'give --priority, --delay, --at, --arg, --arg-file, --uniqkey or --expires',
    })
  const arg = hasArg ? await readArg(flags, serializer) : undefined
  const print = printer(flags.json)
  // Hooks are for arguments
  return withQueue(settings, arg === undefined ? null : 'command', {}, async queue => {
    const argFor = arg === undefined ? null : hooked(queue, arg, serializer)
    const edited: Record<string, unknown>[] = []
    for (const ref of refs) {
      const job = await queue.editStored(ref, changes, argFor).catch(error => {
        if (refs.length === 1) throw inOurWords(error)
        return refuse(ref, error)
      })
      if (!job) continue
      const {func, uniqkey, priority, runAfter} = job
      print(line([idOf(job), func, priority, runAfter, uniqkey]))
      edited.push({id: idOf(job), func, uniqkey, priority, run_after: runAfter})
    }
    return edited
  })
}

function refsOf({id: words = []}: EditFlags): RowRef[] {
  if (words.length > 0) return parseRefs(words, 'ID')
  throw new UsageError('expected ids of jobs, got none', {
    hint: 'write: jobq edit 7 --priority 10; `jobq list` shows the jobs in the queue',
  })
}

function changesOf(flags: EditFlags): JobChanges {
  only(flags, 'delay', 'at')
  const {priority, delay, at, uniqkey, expires} = flags
  const due =
    at === undefined ? {in: delay === undefined ? 0 : parseDelay(delay, '--delay')} : parseTime(at, '--at')
  return {
    ...(priority === undefined ? {} : {priority: parseWhole(priority, '--priority')}),
    ...(uniqkey === undefined ? {} : {uniqkey: checkUniqkey(uniqkey, '--uniqkey')}),
    ...(delay === undefined && at === undefined ? {} : {due}),
    ...(expires === undefined
      ? {}
      : endOf(expires === 'never' ? null : expires, due, [
          '--expires',
          at === undefined ? '--delay' : '--at',
        ])),
  }
}

/** The others are edited all the same. @throws what is no job's affair */
function refuse(ref: RowRef, error: unknown): null {
  const isAway = isElsewhere(ref, error)
  const isTold = isAway || error instanceof ArgumentError || TOLD.includes((error as JobqError).exitCode)
  if (!(error instanceof JobqError) || !isTold) throw error
  const {message, hint, exitCode} = inOurWords(error)
  complain(
    `jobq: ${isAway || error instanceof DuplicateJobError ? `job ${idOf(ref)}: ` : ''}${message} (${hint})`,
  )
  process.exitCode = Math.max(Number(process.exitCode ?? 0), exitCode)
  return null
}

const TOLD: readonly number[] = [EXIT.refused, EXIT.notFound]

/** What an enqueue is told of a key that is taken is of no use here. */
function inOurWords<Told>(error: Told): Told {
  if (!(error instanceof DuplicateJobError)) return error
  return Object.assign(error, {hint: 'give another key, or cancel that job'})
}

/** What was written is stored as it is, unless a `serialize` hook changes it. */
function hooked(queue: JobQueue, arg: StoredArg, serializer: SerializerName): ArgFor {
  return async ({func, uniqkey, priority}) => {
    if (queue.hooks.isEmpty) return arg
    const {callOfJob} = await import('../enqueue/hooked-call.ts')
    const {call, toJob} = await callOfJob({func, arg, uniqkey, priority, due: {in: 0}}, serializer)
    await queue.hooks.run('serialize', call)
    return toJob(call, 'after the hooks: ').arg
  }
}
