/** What an application's option objects may say: checked at the door, misspelt keys and wrong types alike. */
import {closest} from './closest.ts'
import {UsageError} from './errors.ts'
import {JOB_STATES, MAX_UINT32} from './job.ts'
import {checkFunc, checkPriority, checkTag, checkUniqkey} from './names.ts'
import {SERIALIZERS} from './serializers/serializers.ts'
import {durationOf} from './time.ts'
import {describe, isObject} from './value.ts'

/** @param got how what was given is told */
export type Check = (value: unknown, what: string, got?: typeof describe) => void

export const needs =
  (expected: string, isRight: (value: unknown) => boolean): Check =>
  (value, what, got = describe) => {
    if (!isRight(value)) throw new UsageError(`${what}: expected ${expected}, got ${got(value)}`)
  }

export const whole = (from: number, to = Number.MAX_SAFE_INTEGER): Check =>
  needs(
    `a whole number from ${from}${to < Number.MAX_SAFE_INTEGER ? ` to ${to}` : ''}`,
    value => Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to,
  )
const isFrom0 = (value: unknown) => typeof value === 'number' && value >= 0

/** The kinds of values that options have. */
export const is = {
  text: needs('text', value => typeof value === 'string'),
  yesNo: needs('true or false', value => typeof value === 'boolean'),
  count: whole(0),
  index: whole(1),
  port: whole(0, 65_535),
  seconds: needs('seconds from 0', isFrom0),
  delay: needs(`seconds from 0 to ${MAX_UINT32}`, value => isFrom0(value) && (value as number) <= MAX_UINT32),
  callback: needs('a function', value => typeof value === 'function'),
  object: needs('an object', isObject),
  array: needs('an array', Array.isArray),
  signal: needs('an AbortSignal', value => value instanceof AbortSignal),
  date: needs('a Date from 1970 on', value => isDate(value) && value.getTime() >= 0),
  serializer: needs(`one of ${SERIALIZERS.join(', ')}`, value => SERIALIZERS.includes(value as never)),
  state: needs(`one of ${JOB_STATES.join(', ')}`, value => JOB_STATES.includes(value as never)),
  databases: needs(
    'a database, or an array of one or more',
    value =>
      typeof value === 'string' ||
      (Array.isArray(value) && value.length > 0 && value.every(db => typeof db === 'string')),
  ),
  since: needs(
    '{at: Unix seconds} or {ago: seconds}',
    value => isObject(value) && (isFrom0(value.at) || isFrom0(value.ago)),
  ),
  texts: (value: unknown, what: string) => {
    is.object(value, what)
    for (const [key, text] of Object.entries(value as object)) is.text(text, `${what}.${key}`)
  },
  tags: (value: unknown, what: string) => {
    is.texts(value, what)
    for (const tag of Object.entries(value as Record<string, string>)) checkTag(tag, what)
  },
  duration: (value: unknown, what: string) => void durationOf(value, what),
  tagChoice: (value: unknown, what: string) => {
    is.object(value, what)
    for (const [name, wanted] of Object.entries(value as object)) {
      if (wanted !== true) is.text(wanted, `${what}.${name}`)
      checkTag([name, wanted === true ? 'any' : wanted], what)
    }
  },
  func: (value: unknown, what: string) => {
    needs('a name', name => typeof name === 'string')(value, what)
    checkFunc(value as string, what)
  },
  funcs: (value: unknown, what: string) => {
    needs('an array of functions', Array.isArray)(value, what)
    for (const func of value as unknown[]) is.func(func, `${what}: function`)
  },
  uniqkey: (value: unknown, what: string) => {
    if (value === null) return
    is.text(value, what)
    checkUniqkey(value as string, what)
  },
  priority: (value: unknown, what: string) => {
    needs('a whole number', number => typeof number === 'number')(value, what)
    checkPriority(value as number, what)
  },
} satisfies Record<string, Check>

/**
 * @param what the call, `list` say, for the message; '' for none
 * @param known each option's kind; undefined is as good as left out
 * @throws UsageError
 */
export function checkOptions(
  options: unknown,
  what: string,
  known: Readonly<Record<string, Check>>,
  got?: typeof describe,
): void {
  const place = what === '' ? '' : `${what}: `
  if (!isObject(options))
    throw new UsageError(`${place}options: expected an object, got ${describe(options)}`, {
      hint: knownAre(known),
    })
  for (const [key, value] of Object.entries(options)) {
    const check = Object.hasOwn(known, key) ? known[key] : undefined
    if (!check)
      throw new UsageError(`${place}unknown option ${key}`, {
        hint: `did you mean ${closest(key, Object.keys(known))}? ${knownAre(known)}`,
      })
    if (value !== undefined) check(value, `${place}${key}`, got)
  }
}

/** Of another realm, a test runner's say, it is no instance. */
function isDate(value: unknown): value is Date {
  return Object.prototype.toString.call(value) === '[object Date]'
}

function knownAre(known: object): string {
  return `known are ${Object.keys(known).join(', ')}`
}
