/**
 * A job as hooks make it: what is asked for becomes a call, preEnqueue and serialize may change it, and what they leave is
 * checked and encoded like anything else.
 */
import {UsageError} from '../jobs/errors.ts'
import type {NewJob} from '../jobs/job.ts'
import {
  checkEnqueue,
  type EnqueueDefaults,
  type EnqueueOptions,
  type JobRequest,
  newJob,
} from '../jobs/new-job.ts'
import {isObject, kindOf} from '../jobs/value.ts'
import type {Extensions} from './extensions.ts'
import type {EnqueueCall, Hooks} from './hooks.ts'

/** A call, as its hooks have left it, to the job that is stored. */
export type ToJob = (call: EnqueueCall, place: string) => NewJob

/** What is wrong then is a hook's doing, or was the caller's in the argument, which hooks see as it was given. */
const AFTER = 'after the hooks: '

/**
 * The jobs that take another one's place: they are stored elsewhere and later, so that of their hooks only preEnqueue and
 * serialize are called.
 * @throws HookError, UsageError, ArgumentError
 */
export async function replacementJobs(
  requests: readonly JobRequest[],
  {hooks, serializer}: Extensions,
): Promise<NewJob[]> {
  const jobs: NewJob[] = []
  for (const [i, request] of requests.entries()) {
    const place = `replace: job ${i + 1}: `
    jobs.push(
      hooks.isEmpty
        ? jobOf(request, {serializer}, place)
        : await hookedIn(hooks, request, {serializer}, place),
    )
  }
  return jobs
}

export function hookedIn(
  hooks: Hooks,
  request: JobRequest,
  defaults: EnqueueDefaults,
  place: string,
): Promise<NewJob> {
  const {func, ...options} = requestIn(request, place)
  return hookedJob(hooks, callOf(func, options, defaults, place), place, jobOfCall)
}

export async function hookedJob(
  hooks: Hooks,
  call: EnqueueCall,
  place: string,
  toJob: ToJob,
): Promise<NewJob> {
  await hooks.run('preEnqueue', call)
  await hooks.run('serialize', call)
  return toJob(call, `${place}${AFTER}`)
}

/** @throws UsageError for what the caller gave, before any hook is called */
export function callOf(
  func: string,
  options: EnqueueOptions = {},
  defaults: EnqueueDefaults,
  place = '',
): EnqueueCall {
  checkEnqueue(func, options, place)
  return {
    func,
    arg: options.arg,
    serializer: options.serializer ?? defaults.serializer,
    uniqkey: options.uniqkey ?? undefined,
    priority: options.priority ?? 0,
    delay: options.delay,
    runAfter: options.runAfter,
    context: {...options.context},
    tracked: options.tracked ?? false,
    ...(options.keepResult === undefined ? {} : {keepResult: options.keepResult}),
    ...(options.after === undefined ? {} : {after: options.after}),
    ...(options.afterEnd === undefined ? {} : {afterEnd: options.afterEnd}),
    ...(options.tags === undefined ? {} : {tags: {...options.tags}}),
    ...(options.uniqFor === undefined ? {} : {uniqFor: options.uniqFor}),
    ...(options.expires === undefined ? {} : {expires: options.expires}),
  }
}

export function jobOfCall({func, ...options}: EnqueueCall, place = AFTER): NewJob {
  return newJob(func, options, undefined, place)
}

export function jobOf(request: JobRequest, defaults: EnqueueDefaults, place: string): NewJob {
  const {func, ...options} = requestIn(request, place)
  return newJob(func, options, defaults, place)
}

function requestIn(request: unknown, place: string): JobRequest {
  if (isObject(request)) return request as unknown as JobRequest
  throw new UsageError(`${place}expected an object {func, arg, …}, got ${kindOf(request)}`)
}
