/**
 * What an application says of a job, checked, and the job that is stored for it.
 */

import {UsageError} from './errors.ts'
import type {ArgOf, FuncName, Functions, IsOptional} from './functions.ts'
import type {After, NewJob, RowRef} from './job.ts'
import {checkToken, parseRef} from './names.ts'
import {checkOptions, is} from './options.ts'
import {encodeArg} from './serializers/encode.ts'
import type {SerializerName} from './serializers/serializers.ts'
import {keptOf, OWN_CONTEXT} from './side-tables/keep-result.ts'
import {checkExpiry, durationOf} from './time.ts'
import {isObject} from './value.ts'

/** What a document says of a job: a line of `jobq enqueue --batch`, the body of POST /jobs. */
export const JOB_FIELDS = [
  'func',
  'arg',
  'uniqkey',
  'priority',
  'delay',
  'run_after',
  'after',
  'after_end',
  'tags',
  'expires',
  'uniq_for',
  'keep_result',
] as const

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
  /**
   * Keep what its worker returns so long after it has completed: seconds, or text such as '1h'. `queue.wait` has it as `result`; how
   * it ends is tracked then, too. Default: as its worker says, which mostly keeps none.
   */
  keepResult?: number | string | undefined
  /**
   * Not before these have completed: jobs by their ids, or as an enqueue has returned them; in enqueueMany also earlier ones
   * of the same call, '#1' being the first. If one of them fails for good, is aborted or cancelled, so does this one.
   */
  after?: readonly AfterOption[] | undefined
  /** Not before these have ended, however they do. */
  afterEnd?: readonly AfterOption[] | undefined
  /**
   * What jobs are chosen by, in a list, a cancel, a retry: names and values of 1 to 255 characters, kept as long as the job or
   * an attempt of it is.
   */
  tags?: Readonly<Record<string, string>> | undefined
  /**
   * With a uniqkey: that stays taken so long after the job was enqueued, even when it has ended; seconds, or text such as '10m'. Any
   * enqueue under it is refused meanwhile, but a retry. Default: as long as the job is in the queue.
   */
  uniqFor?: number | string | undefined
  /**
   * If it has not begun so long after it was enqueued, it leaves the queue as aborted, `expired`: seconds, or text such as '1h30m'.
   * Once it has begun it does not expire, nor does a retry. Default never.
   */
  expires?: number | string | undefined
}

/** A job that another one waits for. */
export type AfterOption = number | RowRef | `#${number}`

/** What `enqueue` takes besides. */
export interface AloneOption {
  /**
   * Where a job waits under the uniqkey, its argument, time and priority are replaced, and its context and tags if they are
   * given, and when it expires; what it waits for, and the retries it has made, stay. Only for one job at a time, and not with `after`. Default false.
   */
  replace?: boolean | undefined
  /**
   * Names this very enqueue, by 1 to 255 characters: whoever enqueues with the same token again within an hour gets the id of the
   * job that was stored, and nothing is stored twice. For one whose answer was lost: the error UNCERTAIN has a token. Only for one
   * database, and not with `replace`. Default none; where the address names several hosts, one that is made up.
   */
  token?: string | undefined
}

/** The options of one function, as `enqueue` takes them: they may be left out if the argument may. */
export type EnqueueRest<F, Name, More = unknown> =
  IsOptional<ArgOf<F, Name>> extends true
    ? [options?: EnqueueOptions<ArgOf<F, Name>> & More]
    : [options: EnqueueOptions<ArgOf<F, Name>> & More]

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
  context: (value: unknown, what: string) => {
    is.texts(value, what)
    const own = Object.keys(value as object).find(name => name.startsWith(OWN_CONTEXT))
    if (own === undefined) return
    throw new UsageError(`${what}: expected names that do not begin with ${OWN_CONTEXT}, got ${own}`, {
      hint: "these are jobq's own",
    })
  },
  tracked: is.yesNo,
  keepResult: is.duration,
  after: is.array,
  afterEnd: is.array,
  tags: is.tags,
  expires: is.duration,
  uniqFor: is.duration,
  replace: (value: unknown, what: string) => {
    if (value === false) return
    throw new UsageError(`${what}: expected it only where one job is enqueued, by itself`, {
      hint: 'queue.enqueue(func, {uniqkey, replace: true}) replaces the one that waits',
    })
  },
  token: (_: unknown, what: string) => {
    throw new UsageError(`${what}: expected it only where one job is enqueued, by itself`, {
      hint: 'give it to queue.enqueue(func, {token})',
    })
  },
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
  const {arg, serializer = defaults.serializer, uniqkey, priority = 0} = options
  const job: NewJob = {
    func,
    arg: encodeArg(arg, serializer, `${place}arg`),
    uniqkey: uniqkey ?? null,
    priority,
    due: dueOf(options),
    ...keptOf(options, `${place}keepResult`),
  }
  const tags = Object.entries(options.tags ?? {})
  if (tags.length > 0) job.tags = tags
  if (options.uniqFor !== undefined) {
    if (job.uniqkey === null)
      throw new UsageError(`${place}uniqFor: expected a uniqkey with it, got none`, {
        hint: 'it says how long a key stays taken',
      })
    job.uniqFor = durationOf(options.uniqFor, `${place}uniqFor`)
  }
  if (options.expires !== undefined) {
    job.expires = durationOf(options.expires, `${place}expires`)
    checkExpiry(job.expires, job.due, [`${place}expires`, 'the delay'])
  }
  const after = aftersOf(options.after, options.afterEnd, [`${place}after`, `${place}afterEnd`])
  if (after.length > 0) job.after = after
  return job
}

/** @param names of the two, for messages. @throws UsageError */
export function aftersOf(
  after: readonly unknown[] = [],
  afterEnd: readonly unknown[] = [],
  names: readonly [after: string, afterEnd: string] = ['after', 'afterEnd'],
): After[] {
  return [
    ...after.map(one => afterOf(one, names[0])),
    ...afterEnd.map(one => ({...afterOf(one, names[1]), anyEnd: true})),
  ]
}

/** As options have them: aftersOf, the other way round. */
export function optionsAfter(after: readonly After[], anyEnd: boolean): AfterOption[] | undefined {
  const some = after.filter(one => (one.anyEnd ?? false) === anyEnd)
  if (some.length === 0) return undefined
  return some.map(one => {
    if ('nth' in one) return `#${one.nth}` as const
    return one.db === undefined ? one.id : {id: one.id, db: one.db}
  })
}

function afterOf(one: unknown, what: string): After {
  if (typeof one === 'string') {
    const [, nth] = /^#([1-9]\d{0,14})$/.exec(one) ?? []
    return nth === undefined ? parseRef(one, what) : {nth: Number(nth)}
  }
  const {id, db} = (isObject(one) ? one : {id: one}) as {id: unknown; db?: unknown}
  is.index(id, what)
  if (db !== undefined) is.index(db, `${what}: db`)
  return db === undefined ? {id: id as number} : {id: id as number, db: db as number}
}

/** @throws UsageError */
export function checkAlone(replace: unknown, token: unknown): {replace: boolean; token: string | undefined} {
  if (replace !== undefined) is.yesNo(replace, 'enqueue: replace')
  if (token === undefined) return {replace: replace === true, token}
  is.text(token, 'enqueue: token')
  if (replace) throw new UsageError('expected replace or token, got both', {hint: 'give one of them'})
  return {replace: false, token: checkToken(token as string, 'enqueue: token')}
}

/** All but the argument. @throws UsageError */
export function checkEnqueue(func: unknown, options: unknown, place = ''): asserts options is EnqueueOptions {
  is.func(func, `${place}function`)
  checkOptions(options, `${place}enqueue`, OPTIONS)
  checkDue(options as EnqueueSettings, place)
}

/** @throws UsageError */
export function checkDue({delay, runAfter}: Pick<EnqueueSettings, 'delay' | 'runAfter'>, place = ''): void {
  if (delay !== undefined && runAfter !== undefined)
    throw new UsageError(`${place}expected delay or runAfter, got both`, {hint: 'give one of them'})
}

export function dueOf({delay = 0, runAfter}: Pick<EnqueueSettings, 'delay' | 'runAfter'>): NewJob['due'] {
  return runAfter === undefined ? {in: Math.ceil(delay)} : {at: Math.floor(runAfter.getTime() / 1000)}
}
