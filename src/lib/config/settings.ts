/**
 * Where every setting comes from: flags, then the environment, then jobq.config.*, then the default. They are validated
 * here, once; what is misspelt is named with the place where it stands.
 */
import {existsSync, readFileSync, statSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {ConfigError, isShort, ProcessError, UsageError} from '../jobs/errors.ts'
import {absolutePath, here} from '../jobs/here.ts'
import {jsonMistake} from '../jobs/serializers/input.ts'
import {type Address, addressName, defaultAddress, parseAddress, splitAddresses} from '../store/address.ts'
import {strangersWay} from './own-files.ts'
import type {JobqConfig, JobqConfigInput} from './schema.ts'

const FILES = ['jobq.config.ts', 'jobq.config.mts', 'jobq.config.js', 'jobq.config.mjs', 'jobq.config.json']

export interface Settings {
  databases: Address[]
  /** The configuration as it was validated; empty without a file. */
  config: JobqConfig
  /** The file, if there is one. */
  file: string | null
  /** Have --config or JOBQ_CONFIG said that it is this one, or none? Who can change the file is trusted then. */
  isNamed: boolean
  /** What relative paths of the configuration mean: the file's folder, else the current one. @throws UsageError */
  readonly folder: string
}

type Source = Pick<Settings, 'file' | 'isNamed'>

/** What flags or options say. */
interface Given {
  db?: readonly string[] | undefined
  config?: string | undefined
  /** Where the databases are said, for a message. Default --db */
  flag?: string | undefined
}

/** It is no file: what is named so is none, whatever lies in this folder. */
const NONE = '/dev/null'
const MEND = 'mend the file, or name another with --config'

/** For `export default defineConfig({…})` in jobq.config.ts: checks the keys while they are typed. */
export function defineConfig(config: JobqConfigInput): JobqConfigInput {
  return config
}

/**
 * Without a configuration file this costs a few stat calls: `jobq enqueue` goes through here.
 * @throws ConfigError, UsageError
 */
export async function resolveSettings(given: Given): Promise<Settings> {
  return load(given, configFile(given.config))
}

/** As they are now, of the same file. @throws ConfigError, UsageError */
export async function reread({file, isNamed}: Settings): Promise<Settings> {
  return load({}, file === null && !isNamed ? configFile(undefined) : {file, isNamed})
}

async function load({db, flag}: Given, {file, isNamed}: Source): Promise<Settings> {
  const config = file === null ? {} : await loadConfig(file)
  return {
    databases: databases(db, config, file, flag),
    config,
    file,
    isNamed,
    get folder() {
      return file ? dirname(file) : here()
    },
  }
}

/** The databases as a message may name them: no password. */
export function databasesName({databases}: Settings): string {
  return databases.map(addressName).join(', ')
}

function databases(
  flags: readonly string[] | undefined,
  config: JobqConfig,
  file: string | null,
  flag = '--db',
): Address[] {
  if (flags?.length) return addresses(flags, flag)
  const environment = process.env.JOBQ_DB
  if (environment) return addresses(splitAddresses(environment), 'JOBQ_DB')
  if (config.db === undefined) return [defaultAddress()]
  return addresses([config.db].flat(), `${file}: db`, dirname(file!))
}

function addresses(texts: readonly string[], what: string, folder?: string): Address[] {
  return texts.map(text => {
    try {
      return parseAddress(text.trim(), folder)
    } catch (cause) {
      if (!(cause instanceof UsageError)) throw cause
      throw new UsageError(`${what}: ${cause.message}`, {hint: cause.hint, cause})
    }
  })
}

function configFile(flag: string | undefined): Source {
  const name = flag ?? process.env.JOBQ_CONFIG
  if (name) {
    const file = absolutePath(name)
    if (file === NONE) return {file: null, isNamed: true}
    if (existsSync(file)) return {file, isNamed: true}
    throw new ConfigError(`expected a configuration file, but ${file} does not exist`, {
      hint: 'check --config and JOBQ_CONFIG',
    })
  }
  if (flag === '')
    throw new ConfigError('--config: expected a file, got an empty name', {
      hint: `leave it out for the file of this folder or one above, or say ${NONE} for none`,
    })
  return {file: findFile(), isNamed: false}
}

/** In the current folder or the next one above. Where there is none any more, nothing is in it. */
function findFile(): string | null {
  let folder: string
  try {
    folder = here()
  } catch {
    return null
  }
  for (; ; folder = dirname(folder)) {
    const found = FILES.map(name => join(folder, name)).find(file => existsSync(file))
    if (found) return checkOwn(found)
    if (folder === dirname(folder)) return null
  }
}

/** It is run, and nobody has named it: what someone else may have put there is refused, since it may not be meant. */
function checkOwn(file: string): string {
  const strangers = strangersWay(file) ?? strangersWay(dirname(file))
  if (strangers === null) return file
  throw new ConfigError(`expected a configuration that only you can change, found ${file}: ${strangers}`, {
    hint: `let only this user write there (chmod go-w); --config FILE takes it on purpose, --config ${NONE} none; one of your own in a folder below comes before it`,
  })
}

/** @param file absolute. @throws ConfigError */
export async function loadConfig(file: string): Promise<JobqConfig> {
  const {validateConfig} = await import('./schema.ts')
  const source = readSource(file)
  const value = file.endsWith('.json') ? parseConfig(source, file) : await importDefault(file)
  return validateConfig(value, file, source)
}

function readSource(file: string): string {
  try {
    // Neither what never ends, such as /dev/zero, nor what is empty when it is imported, such as a pipe
    if (!statSync(file).isFile()) throw new Error('it is no ordinary file')
    return readFileSync(file, 'utf8').replace(/^\uFEFF/, '')
  } catch (cause) {
    if (isShort(cause)) throw new ProcessError(cause, `can't read ${file}`)
    throw new ConfigError(`${file} can't be read (${(cause as Error).message})`, {hint: MEND, cause})
  }
}

function parseConfig(source: string, file: string): unknown {
  try {
    return JSON.parse(source)
  } catch (cause) {
    const {line, phrase} = jsonMistake(source, cause as Error)
    throw new ConfigError(`${file}:${line}: expected JSON, got ${phrase}`, {hint: MEND, cause})
  }
}

async function importDefault(file: string): Promise<unknown> {
  const {loadDefault} = await import('./load.ts')
  return loadDefault(file, `import {defineConfig} from 'jobq'; export default defineConfig({…})`, MEND)
}
