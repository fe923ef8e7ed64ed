/**
 * What an application says of a job, checked, and the job that is stored for it.
 */
import {UsageError} from './errors.ts'
import type {ArgOf, FuncName, Functions, IsOptional} from './functions.ts'
import type {NewJob} from './job.ts'
import {checkFunc, checkPriority, checkUniqkey} from './names.ts'
import {encodeJson, encodeMessagePack, type SerializerName, textOrBytes} from './serializers.ts'

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
  uniqkey?: string | undefined
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

const KNOWN = ['arg', 'serializer', 'uniqkey', 'priority', 'delay', 'runAfter', 'context', 'tracked']

/** @throws UsageError, ArgumentError */
export async function newJob(func: string, options: EnqueueOptions): Promise<NewJob> {
  const unknown = Object.keys(options).find(key => !KNOWN.includes(key))
  if (unknown)
    throw new UsageError(`enqueue: unknown option ${unknown}`, {hint: `known are ${KNOWN.join(', ')}`})
  return {
    func: checkFunc(func),
    arg: await storedArg(options.arg, options.serializer ?? 'json'),
    uniqkey: options.uniqkey === undefined ? null : checkUniqkey(options.uniqkey),
    priority: checkPriority(options.priority ?? 0),
    due: due(options),
    ...(options.context === undefined ? {} : {context: JSON.stringify(options.context)}),
    ...(options.tracked ? {tracked: true} : {}),
  }
}

async function storedArg(arg: unknown, serializer: SerializerName): Promise<NewJob['arg']> {
  if (arg === undefined || (arg === null && serializer === 'none')) return null
  if (serializer === 'json') return encodeJson(arg, 'arg')
  if (serializer === 'msgpack') return encodeMessagePack(arg, 'arg')
  if (typeof arg === 'string' || arg instanceof Uint8Array) return textOrBytes(arg)
  throw new UsageError(`arg: expected text or bytes for the serializer 'none', got ${typeof arg}`)
}

function due({delay, runAfter}: EnqueueSettings): NewJob['due'] {
  if (delay !== undefined && runAfter !== undefined)
    throw new UsageError('expected delay or runAfter, got both', {hint: 'give one of them'})
  if (runAfter !== undefined) {
    const seconds = Math.floor(runAfter.getTime() / 1000)
    if (!(seconds >= 0)) throw new UsageError(`runAfter: expected a Date after 1970, got ${runAfter}`)
    return {at: seconds}
  }
  if (delay === undefined) return {in: 0}
  if (!Number.isFinite(delay) || delay < 0)
    throw new UsageError(`delay: expected seconds from 0, got ${delay}`)
  return {in: Math.ceil(delay)}
}
