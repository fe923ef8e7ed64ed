/**
 * Checks what a child says before it is believed, since a job that runs there can write to the same descriptor.
 * Whatever is not a message of `FromChild` to the last field is nonsense.
 */
import {MAX_ARG_BYTES, MAX_OUTPUT_BYTES, MAX_UINT32} from '../../jobs/job.ts'
import {checkFunc, checkTag, checkUniqkey} from '../../jobs/names.ts'
import {SERIALIZERS, type SerializerName} from '../../jobs/serializers/serializers.ts'
import {MAX_RESULT_BYTES} from '../../jobs/side-tables/results.ts'
import {isObject} from '../../jobs/value.ts'
import type {Bytes, FromChild, LoadedWorker, WireNewJob, WireOutcome} from './protocol.ts'

/** @returns null for nonsense */
export function readFromChild(message: unknown): FromChild | null {
  return isObject(message) && isMessage(message) ? (message as FromChild) : null
}

type Fields = Readonly<Record<string, unknown>>

function isMessage(message: Fields): boolean {
  switch (message.kind) {
    case 'loading':
      return isText(message.file)
    case 'loaded':
      return isListOf(message.workers, isLoadedWorker) && isYesNo(message.hasPlugins)
    case 'refused':
      return isText(message.message) && isText(message.hint)
    case 'retry':
      return (
        isWhole(message.run) &&
        isDelay(message.retryIn) &&
        (message.others === undefined || (Array.isArray(message.others) && message.others.every(isDelay)))
      )
    case 'ended':
      return (
        isWhole(message.run) &&
        isNumber(message.rss) &&
        (message.left === undefined || message.left === 'broken' || message.left === 'hooks') &&
        isObject(message.outcome) &&
        isOutcome(message.outcome)
      )
    case 'progress':
      return (
        isWhole(message.run) && isNumber(message.fraction) && message.fraction <= 1 && isText(message.text)
      )
    case 'output':
      return (
        isWhole(message.run) &&
        (message.stream === 'stdout' || message.stream === 'stderr') &&
        message.bytes !== null &&
        isBytes(message.bytes)
      )
    case 'told':
      return isWhole(message.run)
    case 'stray':
      return isText(message.failure)
    case 'free':
      return isWhole(message.run) && (message.failure === null || isText(message.failure))
    default:
      return false
  }
}

function isLoadedWorker(worker: Fields): worker is Fields & LoadedWorker {
  const {func, maxRetries, retryDelay, grabFor, setJobStatus, maxRunning, shares, keepOutput, keepResult} =
    worker
  const {coalesce, coalesceBy, serializer} = worker
  return (
    isText(func) &&
    [maxRetries, grabFor, maxRunning, keepResult].every(isNumber) &&
    (retryDelay === null || isNumber(retryDelay) || isDelayRange(retryDelay)) &&
    isYesNo(setJobStatus) &&
    (shares === null || (isObject(shares) && isSharing(shares))) &&
    isWhole(coalesce) &&
    (coalesceBy === null || isText(coalesceBy)) &&
    SERIALIZERS.includes(serializer as SerializerName) &&
    (keepOutput === 'all' || (isWhole(keepOutput) && keepOutput <= MAX_OUTPUT_BYTES))
  )
}

function isSharing({rate, perKey, shareBy, serializer}: Fields): boolean {
  const isPerKey = (limits: Fields) => isUint32(limits.maxRunning) && isRate(limits.rate)
  return (
    isRate(rate) &&
    (perKey === null || (isObject(perKey) && isPerKey(perKey))) &&
    (shareBy === null || isText(shareBy)) &&
    SERIALIZERS.some(name => name === serializer)
  )
}

function isRate(rate: unknown): boolean {
  return rate === null || (isObject(rate) && [rate.most, rate.seconds].every(n => isUint32(n) && n !== 0))
}

/** Never `released`: that is the dispatcher's word. */
function isOutcome(outcome: Fields): outcome is Fields & WireOutcome {
  switch (outcome.kind) {
    case 'completed':
      return outcome.result === undefined || isResult(outcome.result)
    case 'failed':
      return isText(outcome.message) && isDelay(outcome.retryIn)
    case 'aborted':
      return isText(outcome.reason)
    case 'died':
      return isText(outcome.how)
    case 'declined':
      return isUint32(outcome.delay)
    case 'replaced':
      return isListOf(outcome.jobs, isNewJob) && isDelay(outcome.retryIn)
    default:
      return false
  }
}

function isResult(result: unknown): boolean {
  if (!isText(result) || Buffer.byteLength(result) > MAX_RESULT_BYTES) return false
  try {
    JSON.parse(result)
    return true
  } catch {
    return false
  }
}

/** What an enqueue takes, the store takes: names and numbers that its columns hold. */
function isNewJob(job: Fields): job is Fields & WireNewJob {
  const {func, arg, plain, uniqkey, priority, due, context, tracked, tags, expires, uniqFor} = job
  return (
    isName(func, checkFunc) &&
    (uniqkey === null || isName(uniqkey, checkUniqkey)) &&
    isUint32(priority) &&
    isObject(due) &&
    isUint32('in' in due ? due.in : due.at) &&
    isBytes(arg) &&
    isYesNo(plain) &&
    (context === undefined || isContext(context)) &&
    (tracked === undefined || isYesNo(tracked)) &&
    (tags === undefined || (Array.isArray(tags) && tags.every(isTag))) &&
    (expires === undefined || isUint32(expires)) &&
    (uniqFor === undefined || (isUint32(uniqFor) && uniqkey !== null))
  )
}

function isBytes(arg: unknown): arg is Bytes {
  if (arg === null) return true
  if (!isObject(arg)) return false
  const {text, base64} = arg
  if (isText(text)) return Buffer.byteLength(text) <= MAX_ARG_BYTES
  return isText(base64) && Buffer.byteLength(base64, 'base64') <= MAX_ARG_BYTES
}

function isContext(context: unknown): boolean {
  try {
    const texts: unknown = JSON.parse(context as string)
    return isText(context) && isObject(texts) && Object.values(texts).every(isText)
  } catch {
    return false
  }
}

function isTag(tag: unknown): boolean {
  if (!Array.isArray(tag) || tag.length !== 2) return false
  const [name, value] = tag as unknown[]
  try {
    if (!isText(name) || !isText(value)) return false
    checkTag([name, value])
    return true
  } catch {
    return false
  }
}

function isName(name: unknown, check: (name: string) => string): boolean {
  try {
    return isText(name) && check(name) === name
  } catch {
    return false
  }
}

/** Seconds until the next attempt; null: there is none. */
function isDelay(value: unknown): boolean {
  return value === null || isUint32(value)
}

function isListOf(value: unknown, is: (item: Fields) => boolean): boolean {
  return Array.isArray(value) && value.every(item => isObject(item) && is(item))
}

function isDelayRange(value: unknown): boolean {
  return isObject(value) && isUint32(value.first) && isUint32(value.longest)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isYesNo(value: unknown): value is boolean {
  return typeof value === 'boolean'
}

/** JSON has none that is not finite, and whatever is counted or lasts here is not negative. */
function isNumber(value: unknown): value is number {
  return typeof value === 'number' && value >= 0
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isUint32(value: unknown): boolean {
  return isWhole(value) && value <= MAX_UINT32
}
