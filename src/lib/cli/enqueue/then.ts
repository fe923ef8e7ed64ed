/** What `jobq enqueue --batch … --then FUNC` runs when all jobs have ended. */
import {checkLast, type LastJob} from '../../client/batch.ts'
import {UsageError} from '../../jobs/errors.ts'
import {checkFunc} from '../../jobs/names.ts'
import {storedFromInput} from '../../jobs/serializers/input.ts'
import {noArg} from '../../jobs/serializers/serializers.ts'
import {type EnqueueRequest, serializerOf, trackingOf} from './request.ts'

/** @returns none without --then. @throws UsageError, ArgumentError */
export async function lastsOf(request: EnqueueRequest): Promise<LastJob[]> {
  const {then, 'then-arg': arg} = request
  if (then === undefined) {
    if (arg === undefined) return []
    throw new UsageError('--then-arg: expected --then with it, got none', {
      hint: 'it is the argument of that job',
    })
  }
  if (request.each)
    throw new UsageError('--then: expected none with --each', {
      hint: 'every line is a transaction of its own then, and there is no last one',
    })
  const own = serializerOf(request)
  const serializer = own === 'none' ? 'json' : own
  if (arg !== undefined) checkLast(parsed(arg), serializer, '--then-arg')
  const stored = arg === undefined ? noArg(serializer) : await storedFromInput(arg, serializer, '--then-arg')
  const job = {func: checkFunc(then, '--then'), arg: stored, uniqkey: null, priority: 0, due: {in: 0}}
  return [{role: 'then', serializer, job: {...job, ...trackingOf(request)}}]
}

/** What is no JSON is told by who stores it. */
function parsed(arg: string): unknown {
  try {
    return JSON.parse(arg)
  } catch {
    return null
  }
}
