/** Whose a job is, among the jobs of its function: a customer's, say, or a host's. */
import {createHash} from 'node:crypto'
import type {JobRow} from '../job.ts'
import {MAX_NAME_LENGTH} from '../job.ts'
import {decodeArg} from '../serializers/decode.ts'
import type {SerializerName} from '../serializers/serializers.ts'
import {isObject} from '../value.ts'

/**
 * A job's key: what its uniqkey has before the first colon (all of it, if there is none), or a member of its argument.
 * @param field the name of a member at the argument's top, which must be text, a number or a boolean; null: by the uniqkey
 * @returns null for a job that has no key, and where the argument can't be read: its worker will say so
 */
export async function keyOf(
  {uniqkey, arg}: Pick<JobRow, 'uniqkey' | 'arg'>,
  field: string | null,
  serializer: SerializerName,
): Promise<string | null> {
  if (field === null) return uniqkey === null ? null : storable(uniqkey.split(':', 1)[0]!)
  const value = await decodeArg(arg, serializer).catch(() => null)
  const member = isObject(value) && Object.hasOwn(value, field) ? value[field] : null
  return ['string', 'number', 'bigint', 'boolean'].includes(typeof member) ? storable(String(member)) : null
}

/** What a column of every database holds, and compares byte by byte; a digest of what it would not. */
function storable(key: string): string | null {
  if (key === '') return null
  const isPlain = key.length <= MAX_NAME_LENGTH && key.isWellFormed() && !/\0| $/.test(key)
  return isPlain ? key : digestOf(key)
}

/** In place of a key that a column can't hold. */
export function digestOf(key: string): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`
}
