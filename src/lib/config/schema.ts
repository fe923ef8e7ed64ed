/**
 * What jobq.config.* may say. Durations are seconds, or text such as '5m'. Qudo::Parallel::Manager's own snake_case
 * names are read as well, so that a shop can copy its settings over.
 */

import * as v from 'valibot'
import type {PluginOptions} from '../hooks/extensions.ts'
import type {Hook} from '../hooks/hooks.ts'
import {parseRetryDelay, RETRY_DELAY_FORMS} from '../jobs/backoff.ts'
import {closest} from '../jobs/closest.ts'
import {ConfigError} from '../jobs/errors.ts'
import {MAX_OTHERS, MAX_UINT32} from '../jobs/job.ts'
import {ADMIN_PORT, checkFunc, checkUniqkey, parseKeepOutput, parsePort, parseSize} from '../jobs/names.ts'
import {SERIALIZERS} from '../jobs/serializers/serializers.ts'
import {parseRate, RATE_FORMS} from '../jobs/shares/limits.ts'
import {DURATION_FORMS, parseDuration} from '../jobs/time.ts'
import {isObject} from '../jobs/value.ts'

const count = (min: number, max = 10_000) =>
  v.pipe(v.number(), v.integer(`a whole number from ${min}`), v.minValue(min), v.maxValue(max))
/** Perl has no other words for it than 1 and 0. */
const truth = v.pipe(
  v.union([v.boolean(), v.picklist([0, 1])], 'true or false'),
  v.transform((said: boolean | 0 | 1) => Boolean(said)),
)
const duration = v.pipe(
  v.union([v.number(), v.string()], `seconds (a number) or ${DURATION_FORMS}`),
  v.rawTransform(({dataset, addIssue, NEVER}) => {
    const {value} = dataset
    if (typeof value === 'number') {
      if (Number.isInteger(value) && value >= 0 && value <= MAX_UINT32) return value
    } else {
      try {
        return parseDuration(value, '')
      } catch {}
    }
    addIssue({message: `seconds (a whole number) or ${DURATION_FORMS}`})
    return NEVER
  }),
)
const retryDelay = v.pipe(
  v.union([v.number(), v.string()], RETRY_DELAY_FORMS),
  v.rawTransform(({dataset, addIssue, NEVER}) => {
    const {value} = dataset
    try {
      if (typeof value === 'string' || Number.isInteger(value)) return parseRetryDelay(String(value), '')
    } catch {}
    addIssue({message: RETRY_DELAY_FORMS})
    return NEVER
  }),
)
const size = v.pipe(
  v.union([v.number(), v.string()], 'bytes (a number) or a size such as "300M"'),
  v.rawTransform(({dataset, addIssue, NEVER}) => {
    try {
      return parseSize(String(dataset.value), '')
    } catch {
      addIssue({message: 'bytes (a number) or a size such as "300M"'})
      return NEVER
    }
  }),
)
const KEEP_OUTPUT_FORMS = '"all", "none", or a size of at most 1M such as "64k"'
const keepOutput = v.pipe(
  v.union([v.number(), v.string()], KEEP_OUTPUT_FORMS),
  v.rawTransform(({dataset, addIssue, NEVER}) => {
    try {
      return parseKeepOutput(String(dataset.value), '')
    } catch {
      addIssue({message: KEEP_OUTPUT_FORMS})
      return NEVER
    }
  }),
)
const rate = v.pipe(
  v.union([v.number(), v.string()], RATE_FORMS),
  v.rawTransform(({dataset, addIssue, NEVER}) => {
    try {
      return parseRate(String(dataset.value), '')
    } catch {
      addIssue({message: RATE_FORMS})
      return NEVER
    }
  }),
)
const passes = (check: (text: string) => unknown) => (text: string) => {
  try {
    check(text)
    return true
  } catch {
    return false
  }
}
const nameOf = (what: string) =>
  v.pipe(
    v.string(),
    v.check(
      passes(text => checkFunc(text)),
      `${what} name of 1 to 255 characters`,
    ),
  )
const name = nameOf('a function')

/** By function, or by another name. Any: valibot's record leaves `constructor` and `__proto__` out without a word. */
function byName<T extends v.GenericSchema>(settings: T, key = name) {
  return v.pipe(
    v.custom<Record<string, v.InferInput<T>>>(isObject, 'an object'),
    v.transform(entries => new Map(Object.entries(entries))),
    v.map(key, settings),
    v.transform((entries): Record<string, v.InferOutput<T>> => Object.fromEntries(entries)),
  )
}

/** What an application has made, or the path of a module that exports it: looked at where it is used. */
function isThing(value: unknown): boolean {
  return (typeof value === 'string' && value !== '') || isObject(value)
}

/** A function to enqueue, or a command line that gets it as JSON on its standard input. @see ./notices.ts */
const NoticeSchema = v.pipe(
  v.strictObject({
    func: v.optional(name),
    command: v.optional(v.pipe(v.string(), v.nonEmpty('a command line'))),
    priority: v.optional(count(0, MAX_UINT32)),
    perMinute: v.optional(count(1)),
  }),
  v.check(
    ({func, command}) => (func === undefined) !== (command === undefined),
    'an object with either func or command',
  ),
)
const notices = {
  onFailed: v.optional(NoticeSchema),
  onGivenUp: v.optional(NoticeSchema),
  onCompleted: v.optional(NoticeSchema),
  onDeath: v.optional(NoticeSchema),
}

const FuncSettingsSchema = v.strictObject({
  maxRetries: v.optional(count(0, MAX_UINT32)),
  retryDelay: v.optional(retryDelay),
  grabFor: v.optional(v.pipe(duration, v.minValue(1, 'at least 1'))),
  setJobStatus: v.optional(truth),
  maxRunning: v.optional(count(0, MAX_UINT32)),
  maxRunningPerKey: v.optional(count(0, MAX_UINT32)),
  shareBy: v.optional(v.pipe(v.string(), v.nonEmpty('the name of a member of the argument'))),
  rate: v.optional(rate),
  ratePerKey: v.optional(rate),
  coalesce: v.optional(count(0, MAX_OTHERS)),
  coalesceBy: v.optional(v.pipe(v.string(), v.minLength(1, 'the name of a member of the argument'))),
  serializer: v.optional(v.picklist(SERIALIZERS)),
  keepOutput: v.optional(keepOutput),
  keepResult: v.optional(duration),
  ...notices,
})

const RetentionSchema = v.strictObject({failed: v.optional(duration), finished: v.optional(duration)})
/** What the cron expression and the time zone say is looked at by who runs it: config/schedules.ts. */
const ScheduleSchema = v.strictObject({
  cron: v.pipe(v.string(), v.maxLength(255)),
  timeZone: v.optional(v.pipe(v.string(), v.maxLength(255))),
  func: name,
  arg: v.optional(v.unknown()),
  serializer: v.optional(v.picklist(SERIALIZERS)),
  priority: v.optional(count(0, MAX_UINT32)),
  uniqkey: v.optional(
    v.pipe(
      v.string(),
      v.check(
        passes(text => checkUniqkey(text)),
        'a uniqkey of 1 to 255 characters',
      ),
    ),
  ),
  catchUp: v.optional(truth),
  overlap: v.optional(truth),
})

/** Of an argument all, or these fields: `card`, wherever it is, or a path, `user.card`. */
const MaskSchema = v.union(
  [v.literal(true), v.pipe(v.array(v.pipe(v.string(), v.nonEmpty())), v.nonEmpty('at least one field'))],
  'true (all of it), or an array of fields',
)

const ConfigSchema = v.strictObject({
  db: v.optional(
    v.union(
      [v.string(), v.pipe(v.array(v.string()), v.nonEmpty('at least one database'))],
      'a database, or an array of them',
    ),
  ),
  abilities: v.optional(v.array(name)),
  workersDir: v.optional(v.string()),
  workers: v.optional(byName(v.string())),
  funcs: v.optional(byName(FuncSettingsSchema)),
  schedules: v.optional(byName(ScheduleSchema, nameOf('a schedule'))),
  maxWorkers: v.optional(count(1)),
  jobsPerChild: v.optional(count(1)),
  minSpareWorkers: v.optional(count(0)),
  maxSpareWorkers: v.optional(count(0)),
  maxRequestPerChild: v.optional(count(0, MAX_UINT32)),
  maxChildMemory: v.optional(size),
  keepOutput: v.optional(keepOutput),
  serializer: v.optional(v.picklist(SERIALIZERS)),
  hooks: v.optional(v.array(v.custom<Hook | string>(isThing, 'a hook, or the path of a module'))),
  plugins: v.optional(
    v.custom<PluginOptions>(
      value => isObject(value) && Object.values(value).every(isThing),
      'an object: name to plugin, or to the path of a module',
    ),
  ),
  hookTimeout: v.optional(duration),
  prefetch: v.optional(count(0)),
  fair: v.optional(truth),
  durable: v.optional(truth),
  retention: v.optional(RetentionSchema),
  maskArguments: v.optional(byName(MaskSchema)),
  ...notices,
  workDelay: v.optional(v.pipe(v.number(), v.minValue(0))),
  maxJobs: v.optional(count(1, MAX_UINT32)),
  maxTime: v.optional(duration),
  shutdownTimeout: v.optional(duration),
  autoLoadWorker: v.optional(truth),
  admin: v.optional(truth),
  adminHost: v.optional(v.string()),
  adminPort: v.optional(count(1, 65_535)),
  debug: v.optional(truth),
})

/** What a function's worker may be told from outside: it has the last word over what the worker itself says. */
export type FuncSettings = v.InferOutput<typeof FuncSettingsSchema>
/** Who is told of what becomes of jobs. */
export type NoticeSettings = v.InferOutput<typeof NoticeSchema>
/** A schedule as it is written. */
export type ScheduleSettings = v.InferOutput<typeof ScheduleSchema>
/** The configuration as it is used: durations in seconds, Perl's switches in the settings that they are about. */
export type JobqConfig = Omit<v.InferOutput<typeof ConfigSchema>, 'admin' | 'autoLoadWorker'>
/** The configuration as it is written: durations also as text. */
export type JobqConfigInput = v.InferInput<typeof ConfigSchema>

/**
 * @param source the file's text, to find the line of what is wrong
 * @throws ConfigError that names the key, as it was written, and its line
 */
export function validateConfig(value: unknown, file: string, source: string): JobqConfig {
  const wrong = (keys: readonly string[], says: (key: string) => string, hint = '') => {
    const line = lineOf(source, keys)
    const place = line === null ? file : `${file}:${line}`
    return new ConfigError(`${place}: ${says(keys.join('.') || 'the configuration')}`, {hint})
  }
  const list = findList(value)
  if (list) throw wrong(list, key => `${key}: expected an object, got an array`)
  const inherited = findInherited(value)
  if (inherited)
    throw wrong(
      inherited,
      key => `${key}: expected an entry of the object's own, got one of its prototype`,
      "to JavaScript `__proto__: …` is no entry: write ['__proto__']: … for a function of that name",
    )
  const result = v.safeParse(ConfigSchema, camelCaseKeys(value), {abortEarly: true})
  if (result.success) return withoutSwitches(result.output)
  const [issue] = result.issues
  const path = issue.path?.map(item => String(item.key)) ?? []
  const keys = asWritten(value, path)
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const inner = path.slice(0, -1).some(key => Object.hasOwn(notices, key))
      ? NoticeSchema.pipe[0]
      : ({schedules: ScheduleSchema, retention: RetentionSchema}[path[0] ?? ''] ?? FuncSettingsSchema)
    const known = Object.keys((path.length > 1 ? inner : ConfigSchema).entries)
    const hint = `did you mean ${closest(path.at(-1)!, known)}? Known are ${known.join(', ')}`
    throw wrong(keys, key => `unknown key ${key}`, hint)
  }
  if (issue.type === 'strict_object' && issue.received === 'undefined')
    throw wrong(keys.slice(0, -1), key => `${key}: expected ${issue.expected?.replaceAll('"', '')}, got none`)
  const mismatch = `expected ${expectation(issue)}, got ${received(issue)}`
  throw wrong(keys, key => `${key}: ${mismatch}`, portHint(issue))
}

function expectation({type, requirement, expected, message}: v.BaseIssue<unknown>): string {
  if (type === 'min_value') return `at least ${requirement}`
  if (type === 'max_value') return `at most ${requirement}`
  if (type === 'max_length') return `at most ${requirement} characters`
  if (type === 'picklist') return `one of ${expected?.replace(/[()]/g, '').replaceAll(' |', ',')}`
  return KINDS[type] ?? message
}

function received({received, type, input}: v.BaseIssue<unknown>): string {
  if (type === 'non_empty') return 'none'
  if (Array.isArray(input)) return 'an array'
  if (typeof input === 'function') return 'a function'
  return isObject(input) ? 'an object' : received
}

/** Settings are copied over from Perl, port 90000 and all. */
function portHint({path, input}: v.BaseIssue<unknown>): string | undefined {
  if (path?.[0]?.key !== 'adminPort') return undefined
  try {
    parsePort(String(input), '')
  } catch (error) {
    return (error as ConfigError).hint
  }
  return undefined
}

const KINDS: Record<string, string> = {
  string: 'text',
  number: 'a number',
  boolean: 'true or false',
  array: 'an array',
  record: 'an object',
  strict_object: 'an object',
}

/** Where an array stands for an object, which valibot lets pass. @returns its path, null if nowhere */
function findList(config: unknown): string[] | null {
  if (Array.isArray(config)) return []
  if (!isObject(config)) return null
  for (const key of ['funcs', 'workers', 'schedules', 'retention', 'maskArguments'] as const) {
    const inner = config[key]
    if (Array.isArray(inner)) return [key]
    if (key === 'maskArguments') continue // its entries may be lists
    if (!isObject(inner)) continue
    const list = Object.keys(inner).find(name => Array.isArray(inner[name]))
    if (list !== undefined) return [key, list]
  }
  return null
}

/** Where something stands that the object only inherits: nothing of it would be used. @returns its path, null if nowhere */
function findInherited(config: unknown): string[] | null {
  if (!isObject(config)) return null
  const inside = (key: string): [string[], unknown][] => {
    const entries = config[key]
    return Object.entries(isObject(entries) ? entries : {}).map(([name, object]) => [[key, name], object])
  }
  const places: [path: string[], object: unknown][] = [
    [[], config],
    ...['funcs', 'workers', 'schedules', 'plugins', 'retention', 'maskArguments'].map(
      (key): [string[], unknown] => [[key], config[key]],
    ),
    ...['funcs', 'schedules'].flatMap(inside),
  ]
  for (const [path, object] of places) {
    if (!isObject(object)) continue
    for (const key in object) if (!Object.hasOwn(object, key)) return [...path, key]
  }
  return null
}

/** `admin` decides over the admin port; whatever lies in the workers folder is found, `auto_load_worker` or not. */
function withoutSwitches(output: v.InferOutput<typeof ConfigSchema>): JobqConfig {
  const {admin, autoLoadWorker: _, adminHost, adminPort, ...config} = output
  if (admin === false) return config
  return {
    ...config,
    ...(adminHost === undefined ? {} : {adminHost}),
    ...(adminPort === undefined ? (admin ? {adminPort: ADMIN_PORT} : {}) : {adminPort}),
  }
}

function camelCaseKeys(value: unknown): unknown {
  if (!isObject(value)) return value
  const entries = Object.entries(value).map(([key, inner]) => [
    ownKey(key),
    (key === 'funcs' || key === 'schedules') && isObject(inner)
      ? Object.fromEntries(Object.entries(inner).map(([name, settings]) => [name, camelCaseKeys(settings)]))
      : inner,
  ])
  return Object.fromEntries(entries)
}

/** As it is named here. Qudo::Parallel::Manager reads `max_request_par_child`, whatever its documentation says. */
function ownKey(key: string): string {
  const name = camelCase(key)
  return name === 'maxRequestParChild' ? 'maxRequestPerChild' : name
}

function camelCase(key: string): string {
  return key.replace(/(?<=[a-z0-9])_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** A path of camelCase keys in the keys that the file has. */
function asWritten(config: unknown, path: readonly string[]): string[] {
  let at = config
  return path.map(key => {
    const inner = isObject(at) ? at : {}
    const written = Object.hasOwn(inner, key) ? key : Object.keys(inner).find(own => ownKey(own) === key)
    at = inner[written ?? key]
    return written ?? key
  })
}

/** The line of the last key of a path, each looked for behind the one before; null if they are not in the text. */
export function lineOf(source: string, keys: readonly string[]): number | null {
  if (keys.length === 0) return null
  let index = 0
  for (const key of keys) {
    const found = placeOf(key, source.slice(index))
    if (found < 0) return null
    index += found
  }
  return source.slice(0, index).split('\n').length
}

/** Where `key:` stands, or else a shorthand: -1 for nowhere. */
function placeOf(key: string, text: string): number {
  const word = `(?<![\\w$])["']?${key.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}["']?\\s*`
  const withValue = text.search(new RegExp(`${word}:`))
  return withValue < 0 ? text.search(new RegExp(`${word}[,}]`)) : withValue
}
