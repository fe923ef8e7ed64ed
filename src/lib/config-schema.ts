/**
 * What jobq.config.* may say. Durations are seconds, or text such as '5m'. Qudo::Parallel::Manager's own snake_case
 * names are read as well, so that a shop can copy its settings over.
 */
import {closest} from 'fastest-levenshtein'
import * as v from 'valibot'
import {ConfigError} from './errors.ts'
import {MAX_UINT32} from './job.ts'
import {parseSize} from './names.ts'
import {SERIALIZERS} from './serializers.ts'
import {parseDuration} from './time.ts'

const count = (min: number, max = 10_000) =>
  v.pipe(v.number(), v.integer(`a whole number from ${min}`), v.minValue(min), v.maxValue(max))
const duration = v.pipe(
  v.union([v.number(), v.string()], 'seconds (a number) or a duration such as "5m"'),
  v.rawTransform(({dataset, addIssue, NEVER}) => {
    const {value} = dataset
    if (typeof value === 'number') {
      if (Number.isInteger(value) && value >= 0 && value <= MAX_UINT32) return value
    } else {
      try {
        return parseDuration(value, '')
      } catch {}
    }
    addIssue({message: 'seconds (a whole number) or a duration such as "5m"'})
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
const name = v.pipe(v.string(), v.minLength(1), v.maxLength(255))

const FuncSettingsSchema = v.strictObject({
  maxRetries: v.optional(count(0, MAX_UINT32)),
  retryDelay: v.optional(duration),
  grabFor: v.optional(duration),
  setJobStatus: v.optional(v.boolean()),
  maxRunning: v.optional(count(0, MAX_UINT32)),
  serializer: v.optional(v.picklist(SERIALIZERS)),
})

const ConfigSchema = v.strictObject({
  db: v.optional(v.union([v.string(), v.array(v.string())], 'a database, or an array of them')),
  abilities: v.optional(v.array(name)),
  workersDir: v.optional(v.string()),
  workers: v.optional(v.record(name, v.string())),
  funcs: v.optional(v.record(name, FuncSettingsSchema)),
  maxWorkers: v.optional(count(1)),
  minSpareWorkers: v.optional(count(0)),
  maxSpareWorkers: v.optional(count(0)),
  maxRequestPerChild: v.optional(count(0, MAX_UINT32)),
  maxChildMemory: v.optional(size),
  fair: v.optional(v.boolean()),
  workDelay: v.optional(v.pipe(v.number(), v.minValue(0))),
  maxJobs: v.optional(count(1, MAX_UINT32)),
  maxTime: v.optional(duration),
  shutdownTimeout: v.optional(duration),
  adminHost: v.optional(v.string()),
  adminPort: v.optional(count(1, 65_535)),
  debug: v.optional(v.boolean()),
})

/** What a function's worker may be told from outside; a module's own settings go first. */
export type FuncSettings = v.InferOutput<typeof FuncSettingsSchema>
/** The configuration as it is used: durations in seconds. */
export type JobqConfig = v.InferOutput<typeof ConfigSchema>
/** The configuration as it is written: durations also as text. */
export type JobqConfigInput = v.InferInput<typeof ConfigSchema>

/**
 * @param source the file's text, to find the line of what is wrong
 * @throws ConfigError that names the key and its line
 */
export function validateConfig(value: unknown, file: string, source: string): JobqConfig {
  const result = v.safeParse(ConfigSchema, camelCaseKeys(value), {abortEarly: true})
  if (result.success) return result.output
  const issue = result.issues[0]
  const path = issue.path?.map(item => String(item.key)) ?? []
  const key = path.at(-1)
  const place = key === undefined ? file : `${file}${lineOf(source, key)}`
  if (issue.type === 'strict_object' && key !== undefined && issue.expected === 'never') {
    const known =
      path.length > 1 ? Object.keys(FuncSettingsSchema.entries) : Object.keys(ConfigSchema.entries)
    throw new ConfigError(`${place}: unknown key ${path.join('.')}`, {
      hint: `did you mean ${closest(key, known)}? Known are ${known.join(', ')}`,
    })
  }
  const expected = issue.kind === 'schema' && issue.expected ? issue.expected : issue.message
  throw new ConfigError(
    `${place}: ${path.join('.') || 'the default export'}: expected ${expected}, got ${issue.received}`,
  )
}

function camelCaseKeys(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const entries = Object.entries(value).map(([key, inner]) => [
    camelCase(key),
    key === 'funcs' && typeof inner === 'object' && inner !== null
      ? Object.fromEntries(Object.entries(inner).map(([func, settings]) => [func, camelCaseKeys(settings)]))
      : inner,
  ])
  return Object.fromEntries(entries)
}

function camelCase(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** `:7` for the first line that has the key, in camelCase or snake_case; nothing if none has. */
function lineOf(source: string, key: string): string {
  const snake = key.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
  const index = source.split('\n').findIndex(line => line.includes(key) || line.includes(snake))
  return index < 0 ? '' : `:${index + 1}`
}
