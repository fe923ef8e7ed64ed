/** POST /jobs: the way in for programs in other languages. The body is an object as a line of `jobq enqueue --batch` is one. */
import {UsageError} from '../jobs/errors.ts'
import {idOf, MAX_ARG_BYTES} from '../jobs/job.ts'
import {type AloneOption, type EnqueueOptions, JOB_FIELDS} from '../jobs/new-job.ts'
import {exactly} from '../jobs/serializers/exactly.ts'
import {jsonMistake} from '../jobs/serializers/input.ts'
import {unixTime} from '../jobs/time.ts'
import {isObject} from '../jobs/value.ts'
import {json} from './answers.ts'
import {checkType, textOf} from './bodies.ts'
import {Refusal} from './refusal.ts'
import type {Asked, Site} from './site.ts'

/** The largest argument, and room for the rest. */
const MAX_BYTES = MAX_ARG_BYTES + (64 << 10)
/** Names here and, where they are others, in what an application gives to an enqueue, which checks what they are. */
const LONGER = {after_end: 'afterEnd', uniq_for: 'uniqFor', keep_result: 'keepResult'} as const
const KEYS: readonly string[] = [...JOB_FIELDS, 'tracked', 'token']

/** @throws Refusal, UsageError, ArgumentError, DuplicateJobError */
export async function enqueue({queue, settings}: Site, {request, isProgram}: Asked): Promise<Response> {
  if (settings.isOpen)
    throw new Refusal(403, 'NO_TOKEN', 'expected a server that has a token, to enqueue by', {
      hint: 'start it with JOBQ_WEB_TOKEN or --token-file',
    })
  if (!isProgram && settings.authorize === undefined)
    throw new Refusal(401, 'UNAUTHORIZED', 'expected Authorization: Bearer with the token, got none', {
      headers: {'www-authenticate': 'Bearer'},
    })
  checkType(request, 'application/json')
  const {func, options} = requested(await textOf(request, MAX_BYTES))
  const job = await queue.enqueue(func, options)
  const {uniqkey, priority, runAfter} = job
  const document = {id: idOf(job), func, uniqkey, priority, run_after: runAfter, enqueued: true}
  return json(document, 201, {location: `${settings.basePath}/jobs/${idOf(job)}`})
}

function requested(text: string): {func: string; options: EnqueueOptions & AloneOption} {
  let value: unknown
  let exact: unknown
  try {
    value = JSON.parse(text)
    exact = JSON.parse(text, exactly as never) // for the argument: elsewhere 60.0 is 60
  } catch (error) {
    if (error instanceof RangeError)
      throw new UsageError('expected a JSON document, got one that is too deep to be read here', {
        hint: '`jobq enqueue --batch` takes it',
      })
    throw new UsageError(`expected a JSON document, got ${jsonMistake(text, error as Error).phrase}`)
  }
  if (!isObject(value)) throw new UsageError('expected a JSON object, got something else')
  const unknown = Object.keys(value).find(key => !KEYS.includes(key))
  if (unknown !== undefined)
    throw new UsageError(`unknown key ${JSON.stringify(unknown)}`, {hint: `known are ${KEYS.join(', ')}`})
  const {func, run_after: runAfter, ...rest} = value
  if ('arg' in rest) rest.arg = (exact as {arg: unknown}).arg
  if (typeof func !== 'string') throw new UsageError('func: expected the name of a function, got none')
  const named = Object.entries(rest).map(([key, its]) => [LONGER[key as keyof typeof LONGER] ?? key, its])
  const options = Object.fromEntries(named) as EnqueueOptions & AloneOption
  if (runAfter !== undefined) options.runAfter = new Date(unixTime(runAfter as number, 'run_after') * 1000)
  return {func, options}
}
