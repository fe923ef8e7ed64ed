/**
 * What an application says of a job, checked, and the job that is stored for it.
 */

import {UsageError} from './errors.ts'
import type {ArgOf, FuncName, Functions, IsOptional} from './functions.ts'
import type {NewJob} from './job.ts'
import {checkOptions, is} from './options.ts'
import {encodeArg} from './serializers/encode.ts'
import type {SerializerName} from './serializers/serializers.ts'

/** How a job is enqueued, and its argument: required, unless its type says that it may be undefined or null. */
export type EnqueueOptions<Arg = unknown> = EnqueueSettings & ArgOption<Arg>

type ArgOption<Arg> =
  IsOptional<Arg> extends true
    ? {
        /** Anything JSON holds; for the serializer 'none', text or bytes. Default null. */
        arg?: Arg | undefined
      }
    : {
        /** Anything JSON holds; for the serializer 'none', text or bytes. */
        arg: Arg
      }

/** How a job is enqueued. */
export interface EnqueueSettings {
  /** Default 'json'. */
  serializer?: SerializerName | undefined
  /** Refused while another job of this function with this key is waiting. Default none. */
  uniqkey?: string | null | undefined
  /** 0 … 4294967295, larger is sooner. Default 0. */
  priority?: number | undefined
  /** Seconds from now; a part of a second counts as one. Default 0. */
  delay?: number | undefined
  /** A time, instead of a delay. */
  runAfter?: Date | undefined
  /** Texts that travel beside the argument, a trace's context say: the worker has them as `job.context`. */
  context?: Readonly<Record<string, string>> | undefined
  /** Keep how it ends until `queue.wait` asks, even if that is long after. Default false. */
  tracked?: boolean | undefined
}

/** The options of one function, as `enqueue` takes them: they may be left out if the argument may. */
export type EnqueueRest<F, Name> =
  IsOptional<ArgOf<F, Name>> extends true
    ? [options?: EnqueueOptions<ArgOf<F, Name>>]
    : [options: EnqueueOptions<ArgOf<F, Name>>]

/** A function's name and what enqueue takes for it, in one object. */
export type JobRequest<F = Functions> = [keyof F] extends [never]
  ? {func: string} & EnqueueOptions
  : {[Name in FuncName<F>]: {func: Name} & EnqueueOptions<ArgOf<F, Name>>}[FuncName<F>]

const anything = () => {}
const OPTIONS = {
  arg: anything, // checked as it is encoded
  serializer: is.serializer,
  uniqkey: is.uniqkey,
  priority: is.priority,
  delay: is.delay,
  runAfter: is.date,
  context: is.texts,
  tracked: is.yesNo,
}

/** What is said where the caller says nothing. */
export interface EnqueueDefaults {
  serializer: SerializerName
}

const ENQUEUE_DEFAULTS: EnqueueDefaults = {serializer: 'json'}

/**
 * Checks everything, and encodes the argument.
 * @param place put before the name of what is wrong, such as `job 3: `
 * @throws UsageError, ArgumentError
 */
export function newJob(
  func: string,
  options: EnqueueOptions = {},
  defaults: EnqueueDefaults = ENQUEUE_DEFAULTS,
  place = '',
): NewJob {
  checkEnqueue(func, options, place)
  const {arg, serializer = defaults.serializer, uniqkey, priority = 0, context, tracked} = options
  const job: NewJob = {
    func,
    arg: encodeArg(arg, serializer, `${place}arg`),
    uniqkey: uniqkey ?? null,
    priority,
    due: dueOf(options),
  }
  if (context !== undefined && Object.keys(context).length > 0) job.context = JSON.stringify(context)
  if (tracked) job.tracked = true
  return job
}

/** All but the argument. @throws UsageError */
export function checkEnqueue(func: unknown, options: unknown, place = ''): asserts options is EnqueueOptions {
  is.func(func, `${place}function`)
  checkOptions(options, `${place}enqueue`, OPTIONS)
  checkDue(options as EnqueueSettings, place)
}

/** @throws UsageError */
export function checkDue({delay, runAfter}: EnqueueSettings, place = ''): void {
  if (delay !== undefined && runAfter !== undefined)
    throw new UsageError(`${place}expected delay or runAfter, got both`, {hint: 'give one of them'})
}

export function dueOf({delay = 0, runAfter}: EnqueueSettings): NewJob['due'] {
  return runAfter === undefined ? {in: Math.ceil(delay)} : {at: Math.floor(runAfter.getTime() / 1000)}
}
