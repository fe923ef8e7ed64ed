/**
 * An enqueue of the command line as hooks see it. Its argument is text that is stored as it was written: it is parsed
 * only if a hook looks at it, and encoded anew only if a hook has changed it.
 */

import type {EnqueueCall} from '../../hooks/hooks.ts'
import type {NewJob} from '../../jobs/job.ts'
import {newJob} from '../../jobs/new-job.ts'
import {decodeArg} from '../../jobs/serializers/decode.ts'
import {encodeArg} from '../../jobs/serializers/encode.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'

export interface HookedCall {
  call: EnqueueCall
  /** The job of the call, once hooks have seen it. @param place for the message. @throws UsageError, ArgumentError */
  toJob: (call: EnqueueCall, place: string) => NewJob
}

export async function callOfJob(job: NewJob, serializer: SerializerName): Promise<HookedCall> {
  const arg =
    serializer === 'msgpack'
      ? new Argument(await decodeArg(bytesOf(job), 'msgpack'))
      : lazily(job, serializer)
  const {func, uniqkey, priority, due} = job
  const call: EnqueueCall = {
    func,
    get arg() {
      return arg.value
    },
    set arg(value) {
      arg.value = value
    },
    serializer,
    uniqkey: uniqkey ?? undefined,
    priority,
    delay: 'in' in due && due.in > 0 ? due.in : undefined,
    runAfter: 'at' in due ? new Date(due.at * 1000) : undefined,
    context: {},
    tracked: job.tracked ?? false,
  }
  const toJob = ({arg: _, ...rest}: EnqueueCall, place: string): NewJob => {
    const {func, ...options} = rest
    const made = newJob(func, options, undefined, place)
    const isSame = rest.serializer === serializer && arg.isAsBefore
    return {...made, arg: isSame ? job.arg : encodeArg(arg.value, rest.serializer, `${place}arg`)}
  }
  return {call, toJob}
}

/** What hooks read and write: is it still what it was? */
class Argument {
  #value: unknown
  readonly #before: string | undefined

  constructor(value: unknown) {
    this.#value = value
    this.#before = fingerprint(value)
  }

  get value(): unknown {
    return this.#value
  }

  set value(value: unknown) {
    this.#value = value
  }

  get isAsBefore(): boolean {
    try {
      return fingerprint(this.#value) === this.#before
    } catch {
      return false // a hook has put something in that JSON can't hold: encoding it tells what
    }
  }
}

/** JSON, and for MessagePack BigInts besides. @throws TypeError for what is neither */
function fingerprint(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'bigint' ? {bigint: String(item)} : item,
  )
}

function lazily(job: NewJob, serializer: SerializerName): Pick<Argument, 'value' | 'isAsBefore'> {
  let read: Argument | null = null
  const parse = () => {
    if (job.arg === null) return undefined
    return serializer === 'json' ? JSON.parse(String(job.arg)) : job.arg
  }
  return {
    get value() {
      read ??= new Argument(parse())
      return read.value
    },
    set value(value) {
      read ??= new Argument(parse())
      read.value = value
    },
    get isAsBefore() {
      return read?.isAsBefore ?? true
    },
  }
}

function bytesOf({arg}: NewJob): Uint8Array | null {
  return typeof arg === 'string' ? Buffer.from(arg) : arg
}
