/**
 * An enqueue of the command line as hooks see it. Its argument is text that is stored as it was written: it is parsed
 * only if a hook looks at it, and encoded anew only if a hook has changed it.
 */

import type {EnqueueCall} from '../../hooks/hooks.ts'
import type {NewJob} from '../../jobs/job.ts'
import {newJob, optionsAfter} from '../../jobs/new-job.ts'
import {decodeArg} from '../../jobs/serializers/decode.ts'
import {encodeArg} from '../../jobs/serializers/encode.ts'
import type {SerializerName} from '../../jobs/serializers/serializers.ts'
import {keepResultOf} from '../../jobs/side-tables/keep-result.ts'

export interface HookedCall {
  call: EnqueueCall
  /** The job of the call, once hooks have seen it. @param place for the message. @throws UsageError, ArgumentError */
  toJob: (call: EnqueueCall, place: string) => NewJob
}

export async function callOfJob(job: NewJob, serializer: SerializerName): Promise<HookedCall> {
  const arg = new Argument(await readerOf(job, serializer))
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
  if (job.after) {
    call.after = optionsAfter(job.after, false)
    call.afterEnd = optionsAfter(job.after, true)
  }
  const keepResult = keepResultOf(job.context)
  if (keepResult !== undefined) call.keepResult = keepResult
  if (job.uniqFor !== undefined) call.uniqFor = job.uniqFor
  if (job.expires !== undefined) call.expires = job.expires
  if (job.tags) call.tags = Object.fromEntries(job.tags)
  const toJob = ({arg: _, ...rest}: EnqueueCall, place: string): NewJob => {
    const {func, ...options} = rest
    const made = newJob(func, options, undefined, place)
    const isSame = rest.serializer === serializer && arg.isAsBefore
    const named = job.token === undefined ? {} : {token: job.token}
    return {...made, ...named, arg: isSame ? job.arg : encodeArg(arg.value, rest.serializer, `${place}arg`)}
  }
  return {call, toJob}
}

/** What hooks read and write: is it still what it was? They may change it in place, so it is compared. */
class Argument {
  readonly #decode: () => unknown
  #read: {value: unknown; before: string | undefined} | null = null

  constructor(decode: () => unknown) {
    this.#decode = decode
  }

  get value(): unknown {
    return this.#whenRead().value
  }

  set value(value: unknown) {
    this.#whenRead().value = value
  }

  get isAsBefore(): boolean {
    if (this.#read === null) return true
    try {
      return fingerprint(this.#read.value) === this.#read.before
    } catch {
      return false // a hook has put something in that JSON can't hold: encoding it tells what
    }
  }

  #whenRead(): {value: unknown} {
    if (this.#read === null) {
      const value = this.#decode()
      this.#read = {value, before: fingerprint(value)}
    }
    return this.#read
  }
}

/** JSON, and for MessagePack BigInts besides. @throws TypeError for what is neither */
function fingerprint(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'bigint' ? {bigint: String(item)} : item,
  )
}

/** MessagePack is decoded at once: its package is still to be loaded, and a hook does not wait when it looks. */
async function readerOf({arg}: NewJob, serializer: SerializerName): Promise<() => unknown> {
  if (serializer === 'msgpack') {
    const value = await decodeArg(typeof arg === 'string' ? Buffer.from(arg) : arg, 'msgpack')
    return () => value
  }
  if (arg === null) return () => undefined
  return serializer === 'json' ? () => JSON.parse(String(arg)) : () => arg
}
