/**
 * The jobs of `enqueue --args-from` (every line an argument) and `enqueue --batch` (every line a job), checked line by
 * line while they are stored: what is wrong is named by line and field.
 */
import {setFlagsFromString} from 'node:v8'
import {ArgumentError, UsageError} from '../../jobs/errors.ts'
import {MAX_ARG_BYTES, type NewJob, type StoredArg} from '../../jobs/job.ts'
import {checkFunc, checkPriority, checkUniqkey} from '../../jobs/names.ts'
import {jsonFromInput, jsonPacker} from '../../jobs/serializers/input.ts'
import {checkSize, noArg, textOrBytes} from '../../jobs/serializers/serializers.ts'
import {DURATION_FORMS, parseDelay, parseTime, unixTime} from '../../jobs/time.ts'
import {describe, isObject} from '../../jobs/value.ts'
import {jsonMembers} from './json-members.ts'
import {openLines} from './lines.ts'
import {type EnqueueRequest, funcOf, only, optionsOf, serializerOf} from './request.ts'

/** The jobs, to be read once. */
export interface JobSource extends Disposable {
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>
  /** The line that was read last. */
  line(): number
}

/**
 * Lines die young. V8 would let the space they are made in grow and grow: 40 MB more for a million lines, and no faster.
 * @throws UsageError
 */
export async function openJobs(request: EnqueueRequest): Promise<JobSource> {
  setFlagsFromString('--semi-space-growth-factor=1')
  only(request, 'arg', 'arg-file', 'args-from', 'batch')
  const pack = serializerOf(request) === 'msgpack' ? await jsonPacker() : null
  const isBatch = request.batch !== undefined
  const toJob = isBatch ? batchLine(request, pack) : argLine(request, pack)
  // A job's line is longer than its argument: by its other fields, and by what JSON puts around them
  const lines = openLines((request['args-from'] ?? request.batch)!, MAX_ARG_BYTES + (isBatch ? 65_536 : 0))
  let number = 0
  const jobs = lines.map(line => toJob(line, `line ${++number}`))
  return {jobs, line: () => number, [Symbol.dispose]: lines[Symbol.dispose]}
}

/** A line to the job that it asks for. @param what the line's name, for messages */
type ToJob = (line: string | Buffer, what: string) => NewJob

/** A checked argument to what is stored, where that is not the text itself. */
type Pack = ((text: string, what: string) => StoredArg) | null

function argLine(request: EnqueueRequest, pack: Pack): ToJob {
  if (request.uniqkey !== undefined)
    throw new UsageError(
      '--uniqkey: expected none with --args-from, since only its first line could be stored',
      {hint: 'use --batch, with a uniqkey in every line'},
    )
  const func = funcOf(request)
  const options = optionsOf(request)
  const serializer = serializerOf(request)
  const packed = (line: string | Buffer, what: string) => pack!(jsonLine(line, what), what)
  const argOf = {json: jsonLine, msgpack: packed, none: bytesLine}[serializer]
  return (line, what) => ({func, arg: argOf(line, what), ...options})
}

function jsonLine(line: string | Buffer, what: string): string {
  const text = typeof line === 'string' && line.endsWith('\r') ? line.slice(0, -1) : line
  const hint = 'every line is an argument; --serializer none takes any text or bytes'
  return jsonFromInput(checkSize(text, what), what, hint).text
}

function bytesLine(line: string | Buffer, what: string): string | Uint8Array {
  return textOrBytes(checkSize(line, what))
}

function batchLine(request: EnqueueRequest, pack: Pack): ToJob {
  const own = ['func', 'serializer', 'uniqkey', 'priority', 'delay', 'at', 'if-absent'] as const
  const odd = own.find(key => request[key] !== undefined)
  if (odd)
    throw new UsageError(
      `${odd === 'func' ? `FUNC ${request.func}` : `--${odd}`}: expected none with --batch`,
      {hint: odd === 'if-absent' ? 'enqueue such jobs one by one' : 'every line says it for itself'},
    )
  const none = noArg(serializerOf(request))
  const tracked = request.tracked ? {tracked: true} : {}
  return (line, what) => ({...batchJob(line, what, pack, none), ...tracked})
}

const BATCH_FIELDS = ['func', 'arg', 'uniqkey', 'priority', 'delay', 'run_after'] as const
type BatchFields = Partial<Record<(typeof BATCH_FIELDS)[number], unknown>>

const ONE_JOB = 'every line is one job, such as {"func":"Notify","arg":{}}'

function batchJob(line: string | Buffer, what: string, pack: Pack, none: StoredArg): NewJob {
  const {text, value} = jsonFromInput(line, what, ONE_JOB)
  if (!isObject(value))
    throw new ArgumentError(`${what}: expected an object, got ${kind(value)}`, {hint: ONE_JOB})
  const arg = rawArg(text, what)
  const {func, uniqkey = null, priority = 0, delay, run_after} = value as BatchFields
  const at = (field: string) => `${what}: ${field}`
  if (typeof func !== 'string')
    throw new UsageError(`${at('func')}: expected a function name, got ${kind(func)}`)
  if (uniqkey !== null && typeof uniqkey !== 'string')
    throw new UsageError(`${at('uniqkey')}: expected text or null, got ${kind(uniqkey)}`)
  if (typeof priority !== 'number')
    throw new UsageError(`${at('priority')}: expected a whole number, got ${kind(priority)}`)
  if (delay !== undefined && run_after !== undefined)
    throw new UsageError(`${what}: expected delay or run_after, got both`, {hint: 'give one of them'})
  return {
    func: checkFunc(func, at('func')),
    arg: arg === null ? none : pack ? pack(arg, at('arg')) : checkSize(arg, at('arg')),
    uniqkey: uniqkey === null ? null : checkUniqkey(uniqkey, at('uniqkey')),
    priority: checkPriority(priority, at('priority')),
    due: run_after === undefined ? {in: delayOf(delay, at('delay'))} : timeOf(run_after, at('run_after')),
  }
}

/** The argument as it was written, null if there is none; checks the fields' names on the way. */
function rawArg(text: string, what: string): string | null {
  const seen = new Set<string>()
  let arg: string | null = null
  for (const [key, value] of jsonMembers(text)) {
    if (!(BATCH_FIELDS as readonly string[]).includes(key))
      throw new UsageError(
        `${what}: ${key}: expected one of ${BATCH_FIELDS.join(', ')}, got ${JSON.stringify(key)}`,
        {hint: 'rename the field or leave it out'},
      )
    if (seen.has(key)) throw new UsageError(`${what}: ${key}: expected it once, got it twice`)
    seen.add(key)
    if (key === 'arg') arg = value
  }
  return arg
}

function delayOf(delay: unknown, what: string): number {
  if (delay === undefined) return 0
  if (typeof delay === 'string' || typeof delay === 'number') return parseDelay(String(delay), what)
  throw new UsageError(`${what}: expected seconds or ${DURATION_FORMS}, got ${kind(delay)}`)
}

function timeOf(time: unknown, what: string): NewJob['due'] {
  if (typeof time === 'number') return {at: unixTime(time, what)}
  if (typeof time === 'string') return parseTime(time, what)
  throw new UsageError(`${what}: expected Unix seconds or a time such as "2h", got ${kind(time)}`)
}

function kind(value: unknown): string {
  return value === undefined ? 'none' : describe(value)
}
