/**
 * What an enqueue asks for, from text: the flags of `jobq enqueue`, a line of --args-from, a line of --batch.
 * Everything is checked here, with the flag or the line and field in the message.
 */
import {createReadStream, createWriteStream, mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pipeline} from 'node:stream/promises'
import {ArgumentError, JobqError, StoreError, UsageError} from '../errors.ts'
import {MAX_ARG_BYTES, type NewJob, type StoredArg} from '../job.ts'
import {checkFunc, checkPriority, checkUniqkey, parseWhole} from '../names.ts'
import {
  jsonFromInput,
  SERIALIZERS,
  type SerializerName,
  storedFromInput,
  textOrBytes,
} from '../serializers.ts'
import {parseDuration, parseTime} from '../time.ts'
import {readLines} from './lines.ts'

/** The words of `jobq enqueue`, as they were typed. */
export interface EnqueueRequest {
  func?: string | undefined
  arg?: string | undefined
  'arg-file'?: string | undefined
  'args-from'?: string | undefined
  batch?: string | undefined
  serializer?: string | undefined
  uniqkey?: string | undefined
  priority?: string | undefined
  delay?: string | undefined
  at?: string | undefined
}

/** @throws UsageError, ArgumentError */
export async function readJob(request: EnqueueRequest): Promise<NewJob> {
  only(request, 'arg', 'arg-file')
  const func = checkFunc(request.func ?? '')
  const rest = options(request)
  const serializer = serializerOf(request)
  return {func, arg: await readArg(request, serializer), ...rest}
}

/**
 * The jobs of --args-from or --batch, to be read once and at once: standard input is spooled to a temporary file first,
 * so that a slow writer does not hold the store's lock.
 */
export async function readJobs(request: EnqueueRequest): Promise<{jobs: Iterable<NewJob>} & Disposable> {
  only(request, 'arg', 'arg-file', 'args-from', 'batch')
  const source = (request['args-from'] ?? request.batch)!
  const file = source === '-' ? await spool() : {path: source, [Symbol.dispose]: () => {}}
  const jobs = request.batch === undefined ? argLines(request, file.path) : batchLines(request, file.path)
  return {jobs, [Symbol.dispose]: file[Symbol.dispose]}
}

function options(request: EnqueueRequest): Pick<NewJob, 'uniqkey' | 'priority' | 'due'> {
  only(request, 'delay', 'at')
  const {uniqkey, priority, delay, at} = request
  return {
    uniqkey: uniqkey === undefined ? null : checkUniqkey(uniqkey, '--uniqkey'),
    priority: priority === undefined ? 0 : parseWhole(priority, '--priority'),
    due:
      at === undefined
        ? {in: delay === undefined ? 0 : parseDuration(delay, '--delay')}
        : parseTime(at, '--at'),
  }
}

function only(request: EnqueueRequest, ...names: (keyof EnqueueRequest)[]): void {
  const given = names.filter(name => request[name] !== undefined)
  if (given.length > 1)
    throw new UsageError(
      `expected one of ${names.map(name => `--${name}`).join(', ')}, got ${given.length}`,
      {
        hint: 'give only one of them',
      },
    )
}

function serializerOf({serializer = 'json'}: EnqueueRequest): SerializerName {
  const found = SERIALIZERS.find(name => name === serializer)
  if (found) return found
  throw new UsageError(`--serializer: expected ${SERIALIZERS.join(', ')}, got ${JSON.stringify(serializer)}`)
}

async function readArg(request: EnqueueRequest, serializer: SerializerName): Promise<StoredArg> {
  if (request.arg !== undefined) return storedFromInput(await intact(request.arg), serializer, '--arg')
  const file = request['arg-file']
  if (file !== undefined) return storedFromInput(await readWhole(file), serializer, '--arg-file')
  return null
}

/** Bytes that are not UTF-8 reach a Node program's arguments as U+FFFD: they must not be stored like that. */
async function intact(arg: string): Promise<string> {
  if (!arg.includes('\uFFFD')) return arg
  const [{readFileSync}, {isUtf8}] = await Promise.all([import('node:fs'), import('node:buffer')])
  let commandLine: Buffer | null = null
  try {
    commandLine = readFileSync('/proc/self/cmdline')
  } catch {} // not on Linux: refused to be safe
  if (commandLine && isUtf8(commandLine)) return arg
  throw new ArgumentError('--arg: expected text in UTF-8, got bytes that are not', {
    hint: 'give such bytes through --arg-file - and standard input',
  })
}

async function readWhole(file: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of file === '-' ? process.stdin : createReadStream(file)) {
      size += (chunk as Buffer).length
      // Read on to say how large it is, but keep no more than is needed to refuse it
      if (size <= MAX_ARG_BYTES + 1) chunks.push(chunk as Buffer)
    }
  } catch (cause) {
    throw unreadable(file, cause)
  }
  if (size > MAX_ARG_BYTES)
    throw new ArgumentError(
      `--arg-file: expected an argument of at most ${MAX_ARG_BYTES} bytes, got ${size}`,
      {
        hint: 'store the data in a file or a table and enqueue its name',
      },
    )
  return Buffer.concat(chunks)
}

async function spool(): Promise<{path: string} & Disposable> {
  const folder = mkdtempSync(join(tmpdir(), 'jobq-stdin-'))
  const remove = () => rmSync(folder, {recursive: true, force: true})
  const path = join(folder, 'lines')
  try {
    await pipeline(process.stdin, createWriteStream(path, {mode: 0o600}))
  } catch (cause) {
    remove()
    throw (cause as NodeJS.ErrnoException).code === 'ENOSPC'
      ? new StoreError('FULL', `no room in ${tmpdir()} to keep standard input`, {
          hint: 'give the lines as a file, or set TMPDIR',
          cause,
        })
      : unreadable('-', cause)
  }
  return {path, [Symbol.dispose]: remove}
}

function unreadable(file: string, cause: unknown): UsageError {
  const name = file === '-' ? 'standard input' : JSON.stringify(file)
  return new UsageError(`can't read ${name} (${(cause as Error).message})`, {cause, hint: 'check the path'})
}

function* linesOf(path: string): Generator<[number, string | Buffer]> {
  let number = 0
  try {
    for (const line of readLines(path, MAX_ARG_BYTES)) yield [++number, line]
  } catch (error) {
    if (error instanceof JobqError || (error as NodeJS.ErrnoException).syscall === undefined) throw error
    throw unreadable(path, error)
  }
}

/** --args-from: every line is an argument of the one function. */
function argLines(request: EnqueueRequest, path: string): Iterable<NewJob> {
  if (request.uniqkey !== undefined)
    throw new UsageError(
      '--uniqkey: expected none with --args-from, since only its first line could be stored',
      {
        hint: 'use --batch, with a uniqkey in every line',
      },
    )
  const func = checkFunc(request.func ?? '')
  const rest = options(request)
  const serializer = serializerOf(request)
  if (serializer === 'msgpack')
    throw new UsageError('--serializer: expected json or none with --args-from, got "msgpack"')
  return (function* () {
    for (const [number, line] of linesOf(path))
      yield {
        func,
        arg: serializer === 'json' ? jsonFromInput(withoutReturn(line), `line ${number}`) : textOrBytes(line),
        ...rest,
      }
  })()
}

/** --batch: every line is a job. */
function batchLines(request: EnqueueRequest, path: string): Iterable<NewJob> {
  const odd = (['func', 'serializer', 'uniqkey', 'priority', 'delay', 'at'] as const).find(
    key => request[key] !== undefined,
  )
  if (odd)
    throw new UsageError(
      `${odd === 'func' ? `FUNC ${request.func}` : `--${odd}`}: expected none with --batch`,
      {
        hint: 'every line of the batch says it for itself',
      },
    )
  return (function* () {
    for (const [number, line] of linesOf(path)) yield batchJob(jsonFromInput(line, `line ${number}`), number)
  })()
}

const BATCH_FIELDS = ['func', 'arg', 'uniqkey', 'priority', 'delay', 'run_after']

function batchJob(line: string, number: number): NewJob {
  const value = parseExact(line)
  const at = (field: string) => `line ${number}: ${field}`
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(
      `line ${number}: expected an object such as {"func":"Notify","arg":{}}, got ${kind(value)}`,
    )
  const unknown = Object.keys(value).find(key => !BATCH_FIELDS.includes(key))
  if (unknown !== undefined)
    throw new UsageError(
      `${at(unknown)}: expected one of ${BATCH_FIELDS.join(', ')}, got ${JSON.stringify(unknown)}`,
    )
  const {func, arg, uniqkey = null, priority = 0, delay, run_after} = value as Record<string, unknown>
  if (typeof func !== 'string')
    throw new UsageError(`${at('func')}: expected a function name, got ${kind(func)}`)
  if (uniqkey !== null && typeof uniqkey !== 'string')
    throw new UsageError(`${at('uniqkey')}: expected text or null, got ${kind(uniqkey)}`)
  if (typeof priority !== 'number')
    throw new UsageError(`${at('priority')}: expected a whole number, got ${kind(priority)}`)
  if (delay !== undefined && run_after !== undefined)
    throw new UsageError(`line ${number}: expected delay or run_after, got both`)
  return {
    func: checkFunc(func, at('func')),
    arg: arg === undefined ? null : JSON.stringify(arg),
    uniqkey: uniqkey === null ? null : checkUniqkey(uniqkey, at('uniqkey')),
    priority: checkPriority(priority, at('priority')),
    due:
      run_after === undefined
        ? {in: delay === undefined ? 0 : parseDuration(textOf(delay, at('delay')), at('delay'))}
        : parseTime(
            typeof run_after === 'number' ? `@${run_after}` : textOf(run_after, at('run_after')),
            at('run_after'),
          ),
  }
}

function textOf(value: unknown, what: string): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw new UsageError(`${what}: expected a number or text, got ${kind(value)}`)
}

/** A number that a double can't hold, or would write otherwise, keeps its own digits when it is written again. */
function parseExact(line: string): unknown {
  if (!/\d{16}|\d[.eE]|-0/.test(line)) return JSON.parse(line)
  return parseWithSource(line, (_key, value, {source}) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? rawJson(source) : value,
  )
}

type Reviver = (key: string, value: unknown, context: {source?: string}) => unknown
const parseWithSource = JSON.parse as (text: string, reviver: Reviver) => unknown
const {rawJSON: rawJson} = JSON as unknown as {rawJSON(text: string): unknown}

function kind(value: unknown): string {
  return value === undefined ? 'none' : Array.isArray(value) ? 'an array' : JSON.stringify(value).slice(0, 40)
}

function withoutReturn(line: string | Buffer): string | Buffer {
  return typeof line === 'string' && line.endsWith('\r') ? line.slice(0, -1) : line
}
