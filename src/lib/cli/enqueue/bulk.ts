/**
 * The jobs of `enqueue --args-from` (every line an argument) and `enqueue --batch` (every line a job), checked line by
 * line while they are stored: what is wrong is named by line and field.
 */
import {setFlagsFromString} from 'node:v8'
import {ArgumentError, UsageError} from '../../jobs/errors.ts'
import {MAX_ARG_BYTES, type NewJob, type StoredArg, type Tag} from '../../jobs/job.ts'
import {checkFunc, checkPriority, checkTag, checkUniqkey} from '../../jobs/names.ts'
import {aftersOf, JOB_FIELDS} from '../../jobs/new-job.ts'
import {jsonFromInput, jsonPacker} from '../../jobs/serializers/input.ts'
import {checkSize, noArg, textOrBytes} from '../../jobs/serializers/serializers.ts'
import {keptOf} from '../../jobs/side-tables/keep-result.ts'
import {checkExpiry, DURATION_FORMS, durationOf, parseDelay, parseTime, unixTime} from '../../jobs/time.ts'
import {describe, isObject} from '../../jobs/value.ts'
import {jsonMembers} from './json-members.ts'
import {type Line, type Lines, openLines} from './lines.ts'
import {type EnqueueRequest, funcOf, only, optionsOf, serializerOf, trackingOf} from './request.ts'

/** The jobs, to be read once. */
export interface JobSource extends Disposable {
  jobs: Iterable<NewJob> | AsyncIterable<NewJob>
  /** The line that was read last. */
  line(): number
}

/** @throws UsageError */
export async function openJobs(request: EnqueueRequest): Promise<JobSource> {
  const {lines, toJob} = await openRequest(request)
  let number = 0
  const jobs = lines.map(line => toJob(line, `line ${++number}`))
  return {jobs, line: () => number, [Symbol.dispose]: lines[Symbol.dispose]}
}

/** A line to the job that it asks for. @param what the line's name, for messages. @throws UsageError, ArgumentError */
export type ToJob = (line: Line, what: string) => NewJob

/**
 * Lines die young. V8 would let the space they are made in grow and grow: 40 MB more for a million lines, and no faster.
 * @throws UsageError
 */
export async function openRequest(request: EnqueueRequest): Promise<{lines: Lines; toJob: ToJob}> {
  setFlagsFromString('--semi-space-growth-factor=1')
  only(request, 'arg', 'arg-file', 'args-from', 'batch')
  const pack = serializerOf(request) === 'msgpack' ? await jsonPacker() : null
  const isBatch = request.batch !== undefined
  const jobOf = isBatch ? batchLine(request, pack) : argLine(request, pack)
  // A job's line is longer than its argument: by its other fields, and by what JSON puts around them
  const limit = MAX_ARG_BYTES + (isBatch ? 65_536 : 0)
  const toJob = (line: Line, what: string) => {
    if (line !== null) return jobOf(line, what)
    throw new ArgumentError(`${what}: expected at most ${limit} bytes, got more`, {
      hint: 'store the data in a file or a table and enqueue its name',
    })
  }
  return {lines: openLines((request['args-from'] ?? request.batch)!, limit), toJob}
}

type JobOf = (line: string | Buffer, what: string) => NewJob

/** A checked argument to what is stored, where that is not the text itself. */
type Pack = ((text: string, what: string) => StoredArg) | null

function argLine(request: EnqueueRequest, pack: Pack): JobOf {
  if (request.uniqkey !== undefined)
    throw new UsageError(
      '--uniqkey: expected none with --args-from, since only its first line could be stored',
      {hint: 'use --batch, with a uniqkey in every line'},
    )
  if (request.replace) throw oneByOne('replace', '--args-from')
  if (request.token !== undefined) throw oneByOne('token', '--args-from')
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

function batchLine(request: EnqueueRequest, pack: Pack): JobOf {
  const own = [
    'func',
    'serializer',
    'uniqkey',
    'priority',
    'delay',
    'at',
    'after',
    'after-end',
    'tag',
    'expires',
    'uniq-for',
  ] as const
  if (request.replace) throw oneByOne('replace', '--batch')
  if (request.token !== undefined) throw oneByOne('token', '--batch')
  if (request['if-absent'] && !request.each) throw oneByOne('if-absent', '--batch')
  const odd = own.find(key => request[key] !== undefined)
  if (odd)
    throw new UsageError(
      `${odd === 'func' ? `FUNC ${request.func}` : `--${odd}`}: expected none with --batch`,
      {hint: 'every line says it for itself'},
    )
  const none = noArg(serializerOf(request))
  const tracking = trackingOf(request)
  return (line, what) => ({...tracking, ...batchJob(line, what, pack, none)})
}

function oneByOne(flag: string, many: '--args-from' | '--batch'): UsageError {
  return new UsageError(`--${flag}: expected none with ${many}`, {hint: 'enqueue such jobs one by one'})
}

type BatchFields = Partial<Record<(typeof JOB_FIELDS)[number], unknown>>

const ONE_JOB = 'every line is one job, such as {"func":"Notify","arg":{}}'

function batchJob(line: string | Buffer, what: string, pack: Pack, none: StoredArg): NewJob {
  const {text, value} = jsonFromInput(line, what, ONE_JOB)
  if (!isObject(value))
    throw new ArgumentError(`${what}: expected an object, got ${kind(value)}`, {hint: ONE_JOB})
  const arg = rawArg(text, what)
  const {
    func,
    uniqkey = null,
    priority = 0,
    delay,
    run_after,
    after,
    after_end,
    tags,
    expires,
    uniq_for,
    keep_result,
  } = value as BatchFields
  const at = (field: string) => `${what}: ${field}`
  if (typeof func !== 'string')
    throw new UsageError(`${at('func')}: expected a function name, got ${kind(func)}`)
  if (uniqkey !== null && typeof uniqkey !== 'string')
    throw new UsageError(`${at('uniqkey')}: expected text or null, got ${kind(uniqkey)}`)
  if (typeof priority !== 'number')
    throw new UsageError(`${at('priority')}: expected a whole number, got ${kind(priority)}`)
  if (delay !== undefined && run_after !== undefined)
    throw new UsageError(`${what}: expected delay or run_after, got both`, {hint: 'give one of them'})
  if (uniq_for !== undefined && uniqkey === null)
    throw new UsageError(`${at('uniq_for')}: expected a uniqkey with it, got none`, {
      hint: 'it says how long a key stays taken',
    })
  const waits = aftersOf(list(after, at('after')), list(after_end, at('after_end')), [
    at('after'),
    at('after_end'),
  ])
  const due = run_after === undefined ? {in: delayOf(delay, at('delay'))} : timeOf(run_after, at('run_after'))
  const tagged = tagsOf(tags, at('tags'))
  return {
    ...(waits.length > 0 ? {after: waits} : {}),
    ...(tagged.length > 0 ? {tags: tagged} : {}),
    func: checkFunc(func, at('func')),
    arg: arg === null ? none : pack ? pack(arg, at('arg')) : checkSize(arg, at('arg')),
    uniqkey: uniqkey === null ? null : checkUniqkey(uniqkey, at('uniqkey')),
    priority: checkPriority(priority, at('priority')),
    due,
    ...(expires === undefined ? {} : {expires: expiryOf(expires, due, at('expires'))}),
    ...(uniq_for === undefined ? {} : {uniqFor: durationOf(uniq_for, at('uniq_for'))}),
    ...keptOf({keepResult: keep_result}, at('keep_result')),
  }
}

/** The argument as it was written, null if there is none; checks the fields' names on the way. */
function rawArg(text: string, what: string): string | null {
  const seen = new Set<string>()
  let arg: string | null = null
  for (const [key, value] of jsonMembers(text)) {
    if (!(JOB_FIELDS as readonly string[]).includes(key))
      throw new UsageError(
        `${what}: ${key}: expected one of ${JOB_FIELDS.join(', ')}, got ${JSON.stringify(key)}`,
        {hint: 'rename the field or leave it out'},
      )
    if (seen.has(key)) throw new UsageError(`${what}: ${key}: expected it once, got it twice`)
    seen.add(key)
    if (key === 'arg') arg = value
  }
  return arg
}

function list(value: unknown, what: string): readonly unknown[] {
  if (value === undefined) return []
  if (Array.isArray(value)) return value
  throw new UsageError(`${what}: expected an array of ids, got ${kind(value)}`, {
    hint: 'such as [7, "#1"]: a job that is in the queue, and the first line of this batch',
  })
}

function tagsOf(tags: unknown, what: string): Tag[] {
  if (tags === undefined) return []
  if (!isObject(tags))
    throw new UsageError(`${what}: expected an object of texts, got ${kind(tags)}`, {
      hint: 'such as {"customer":"42"}',
    })
  return Object.entries(tags).map(([name, value]) => {
    if (typeof value !== 'string')
      throw new UsageError(`${what}.${name}: expected text, got ${kind(value)}`, {hint: 'put it in quotes'})
    return checkTag([name, value], what) as Tag
  })
}

function expiryOf(expires: unknown, due: NewJob['due'], what: string): number {
  const seconds = durationOf(expires, what)
  checkExpiry(seconds, due, [what, 'the delay'])
  return seconds
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
