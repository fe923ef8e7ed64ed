/**
 * What an enqueue asks for, from the flags of `jobq enqueue`. Everything is checked here, with the flag in the message.
 */
import {statSync} from 'node:fs'
import {ArgumentError, UsageError} from '../../jobs/errors.ts'
import {MAX_ARG_BYTES, type NewJob, type StoredArg} from '../../jobs/job.ts'
import {checkFunc, checkUniqkey, parseWhole} from '../../jobs/names.ts'
import {storedFromInput} from '../../jobs/serializers/input.ts'
import {noArg, SERIALIZERS, type SerializerName} from '../../jobs/serializers/serializers.ts'
import {parseDelay, parseTime} from '../../jobs/time.ts'
import {readWhole, unreadable} from './whole-file.ts'

/** The words of `jobq enqueue`, as they were typed. */
export interface EnqueueRequest {
  func?: string | undefined
  arg?: string | undefined
  'arg-file'?: string | undefined
  'args-from'?: string | undefined
  batch?: string | undefined
  serializer?: string | undefined
  /** The configuration's. */
  defaultSerializer?: SerializerName | undefined
  uniqkey?: string | undefined
  priority?: string | undefined
  delay?: string | undefined
  at?: string | undefined
  'if-absent'?: boolean | undefined
  tracked?: boolean | undefined
}

/** @throws UsageError, ArgumentError */
export async function readJob(request: EnqueueRequest): Promise<NewJob> {
  only(request, 'arg', 'arg-file')
  const func = funcOf(request)
  const rest = optionsOf(request)
  const serializer = serializerOf(request)
  return {func, arg: await readArg(request, serializer), ...rest}
}

export function funcOf({func}: EnqueueRequest): string {
  if (func !== undefined) return checkFunc(func)
  throw new UsageError('expected a function to enqueue, got none', {
    hint: `write: jobq enqueue Notify --arg '{"to":"…"}'`,
  })
}

export function optionsOf(request: EnqueueRequest): Omit<NewJob, 'func' | 'arg'> {
  only(request, 'delay', 'at')
  const {uniqkey, priority, delay, at} = request
  if (request['if-absent'] && uniqkey === undefined)
    throw new UsageError('--if-absent: expected a --uniqkey with it, got none', {
      hint: 'without a key no job stands in for another',
    })
  return {
    uniqkey: uniqkey === undefined ? null : checkUniqkey(uniqkey, '--uniqkey'),
    priority: priority === undefined ? 0 : parseWhole(priority, '--priority'),
    due:
      at === undefined ? {in: delay === undefined ? 0 : parseDelay(delay, '--delay')} : parseTime(at, '--at'),
    ...(request.tracked ? {tracked: true} : {}),
  }
}

export function only(request: EnqueueRequest, ...names: (keyof EnqueueRequest)[]): void {
  const given = names.filter(name => request[name] !== undefined).map(name => `--${name}`)
  if (given.length > 1)
    throw new UsageError(
      `expected one of ${names.map(name => `--${name}`).join(', ')}, got ${given.join(' and ')}`,
      {hint: 'give only one of them'},
    )
}

export function serializerOf({
  defaultSerializer,
  serializer = defaultSerializer ?? 'json',
}: EnqueueRequest): SerializerName {
  const found = SERIALIZERS.find(name => name === serializer)
  if (found) return found
  throw new UsageError(
    `--serializer: expected ${SERIALIZERS.join(', ')}, got ${JSON.stringify(serializer)}`,
    {hint: 'json is the default; none takes any text or bytes'},
  )
}

async function readArg(request: EnqueueRequest, serializer: SerializerName): Promise<StoredArg> {
  if (request.arg !== undefined) return storedFromInput(request.arg, serializer, '--arg')
  const file = request['arg-file']
  if (file !== undefined) return storedFromInput(await readFile(file), serializer, '--arg-file')
  return noArg(serializer)
}

async function readFile(file: string): Promise<Buffer> {
  let bytes: Buffer | null
  try {
    bytes = await readWhole(file, MAX_ARG_BYTES)
  } catch (cause) {
    throw unreadable(file, cause)
  }
  if (bytes) return bytes
  throw tooLarge(file)
}

function tooLarge(file: string): ArgumentError {
  const size = file === '-' ? 0 : statSync(file).size
  const got = size > MAX_ARG_BYTES ? size : 'more'
  return new ArgumentError(`--arg-file: expected an argument of at most ${MAX_ARG_BYTES} bytes, got ${got}`, {
    hint: 'store the data in a file or a table and enqueue its name',
  })
}
