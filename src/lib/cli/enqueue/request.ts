/**
 * What an enqueue asks for, from the flags of `jobq enqueue`. Everything is checked here, with the flag in the message.
 */
import {statSync} from 'node:fs'
import {ArgumentError, UsageError} from '../../jobs/errors.ts'
import {MAX_ARG_BYTES, type NewJob, type StoredArg} from '../../jobs/job.ts'
import {checkFunc, checkToken, checkUniqkey, parseRefs, parseTags, parseWhole} from '../../jobs/names.ts'
import {storedFromInput} from '../../jobs/serializers/input.ts'
import {noArg, SERIALIZERS, type SerializerName} from '../../jobs/serializers/serializers.ts'
import {keptOf} from '../../jobs/side-tables/keep-result.ts'
import {checkExpiry, durationOf, parseDelay, parseTime} from '../../jobs/time.ts'
import {readWhole, unreadable} from './whole-file.ts'

/** The words of `jobq enqueue`, as they were typed. */
export interface EnqueueRequest {
  func?: string | undefined
  arg?: string | undefined
  'arg-file'?: string | undefined
  'args-from'?: string | undefined
  batch?: string | undefined
  each?: boolean | undefined
  serializer?: string | undefined
  /** The configuration's. */
  defaultSerializer?: SerializerName | undefined
  uniqkey?: string | undefined
  priority?: string | undefined
  delay?: string | undefined
  at?: string | undefined
  after?: string | undefined
  'after-end'?: string | undefined
  'if-absent'?: boolean | undefined
  replace?: boolean | undefined
  tag?: string[] | undefined
  expires?: string | undefined
  'uniq-for'?: string | undefined
  tracked?: boolean | undefined
  'keep-result'?: string | undefined
  token?: string | undefined
  then?: string | undefined
  'then-arg'?: string | undefined
}

/** @throws UsageError, ArgumentError */
export async function readJob(request: EnqueueRequest): Promise<NewJob> {
  only(request, 'arg', 'arg-file')
  only(request, 'replace', 'token')
  for (const name of ['then', 'then-arg'] as const)
    if (request[name] !== undefined)
      throw new UsageError(`--${name}: expected --batch or --args-from with it, got none`, {
        hint: `to run a job after another one: jobq enqueue Report --after-end "$id"`,
      })
  if (request.each)
    throw new UsageError('--each: expected --args-from or --batch with it, got none', {
      hint: 'write: jobq enqueue Notify --args-from - --each',
    })
  const func = funcOf(request)
  const rest = optionsOf(request)
  const serializer = serializerOf(request)
  const {token} = request
  const named = token === undefined ? {} : {token: checkToken(token, '--token')}
  return {func, arg: await readArg(request, serializer), ...rest, ...named}
}

export function funcOf({func}: EnqueueRequest): string {
  if (func !== undefined) return checkFunc(func)
  throw new UsageError('expected a function to enqueue, got none', {
    hint: `write: jobq enqueue Notify --arg '{"to":"…"}'`,
  })
}

export function optionsOf(request: EnqueueRequest): Omit<NewJob, 'func' | 'arg'> {
  only(request, 'delay', 'at')
  only(request, 'if-absent', 'replace')
  const {uniqkey, priority, delay, at} = request
  if (uniqkey === undefined)
    for (const [name, hint] of Object.entries(NEED_A_KEY))
      if (request[name as keyof typeof NEED_A_KEY])
        throw new UsageError(`--${name}: expected a --uniqkey with it, got none`, {hint})
  only(request, 'replace', 'after')
  only(request, 'replace', 'after-end')
  const due: NewJob['due'] =
    at === undefined ? {in: delay === undefined ? 0 : parseDelay(delay, '--delay')} : parseTime(at, '--at')
  return {
    uniqkey: uniqkey === undefined ? null : checkUniqkey(uniqkey, '--uniqkey'),
    priority: priority === undefined ? 0 : parseWhole(priority, '--priority'),
    due,
    ...trackingOf(request),
    ...(request.tag ? {tags: parseTags(request.tag, '--tag')} : {}),
    ...expiryOf(request, due),
    ...(request['uniq-for'] === undefined ? {} : {uniqFor: durationOf(request['uniq-for'], '--uniq-for')}),
    ...afterOf(request),
  }
}

const NEED_A_KEY = {
  'if-absent': 'without a key no job stands in for another',
  replace: 'the job that waits under the same key is replaced',
  'uniq-for': 'it says how long a key stays taken',
}

export function trackingOf({tracked, 'keep-result': keepResult}: EnqueueRequest) {
  return keptOf({tracked, keepResult}, '--keep-result')
}

function expiryOf({expires, at}: EnqueueRequest, due: NewJob['due']): Pick<NewJob, 'expires'> {
  if (expires === undefined) return {}
  const seconds = durationOf(expires, '--expires')
  checkExpiry(seconds, due, ['--expires', at === undefined ? '--delay' : '--at'])
  return {expires: seconds}
}

function afterOf({after, 'after-end': afterEnd}: EnqueueRequest): Pick<NewJob, 'after'> {
  if (after === undefined && afterEnd === undefined) return {}
  const ended = afterEnd === undefined ? [] : parseRefs([afterEnd], '--after-end')
  const completed = after === undefined ? [] : parseRefs([after], '--after')
  return {after: [...completed, ...ended.map(ref => ({...ref, anyEnd: true}))]}
}

/** @throws UsageError if several of them are given */
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

/** What --arg or --arg-file says; without them, none. */
export async function readArg(request: EnqueueRequest, serializer: SerializerName): Promise<StoredArg> {
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
