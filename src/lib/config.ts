/**
 * Where every setting comes from: flags, then the environment, then jobq.config.*, then the default. Validated here,
 * once; what is misspelt is named with the place where it stands.
 *
 * Without a configuration file this costs a few stat calls: `jobq enqueue` goes through here.
 */
import {existsSync, readFileSync, statSync} from 'node:fs'
import {dirname, join, resolve} from 'node:path'
import {pathToFileURL} from 'node:url'
import type {JobqConfig, JobqConfigInput} from './config-schema.ts'
import {ConfigError} from './errors.ts'
import {type Address, addressName, defaultAddress, parseAddress} from './store/address.ts'

const FILES = ['jobq.config.ts', 'jobq.config.mts', 'jobq.config.js', 'jobq.config.mjs', 'jobq.config.json']

export interface Settings {
  databases: Address[]
  /** The configuration as it was validated; empty without a file. */
  config: JobqConfig
  /** The file, if there is one. */
  file: string | null
  /** What relative paths of the configuration mean: the file's folder, else the current one. */
  folder: string
}

/** For `export default defineConfig({…})` in jobq.config.ts: checks the keys while they are typed. */
export function defineConfig(config: JobqConfigInput): JobqConfigInput {
  return config
}

/** @throws ConfigError, UsageError */
export async function resolveSettings(given: {
  db?: readonly string[] | undefined
  config?: string | undefined
}): Promise<Settings> {
  const file = configFile(given.config ?? process.env.JOBQ_CONFIG)
  const config = file ? await loadConfig(file) : {}
  const folder = file ? dirname(file) : process.cwd()
  return {databases: databases(given.db, config, folder), config, file, folder}
}

/** The databases as a message may name them: no password. */
export function databasesName({databases}: Settings): string {
  return databases.map(addressName).join(', ')
}

function databases(flags: readonly string[] | undefined, config: JobqConfig, folder: string): Address[] {
  const environment = process.env.JOBQ_DB ? process.env.JOBQ_DB.split(',') : undefined
  const here = flags?.length ? flags : environment
  if (here) return here.map(text => parseAddress(text.trim()))
  const configured = typeof config.db === 'string' ? [config.db] : config.db
  return configured?.length ? configured.map(text => parseAddress(text, folder)) : [defaultAddress()]
}

function configFile(named: string | undefined): string | null {
  if (named) {
    const file = resolve(named)
    if (existsSync(file)) return file
    throw new ConfigError(`expected a configuration file, but ${file} does not exist`, {
      hint: 'check --config and JOBQ_CONFIG',
    })
  }
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    const found = FILES.map(name => join(folder, name)).find(file => existsSync(file))
    if (found) return found
    if (folder === dirname(folder)) return null
  }
}

async function loadConfig(file: string): Promise<JobqConfig> {
  const {validateConfig} = await import('./config-schema.ts')
  let source: string
  let value: unknown
  try {
    source = readFileSync(file, 'utf8')
    value = file.endsWith('.json') ? JSON.parse(source) : await importDefault(file)
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    throw new ConfigError(`${file} can't be read: ${(cause as Error).message.split('\n')[0]}`, {cause})
  }
  return validateConfig(value, file, source)
}

async function importDefault(file: string): Promise<unknown> {
  const {makeJobqImportable} = await import('./self-import.ts')
  makeJobqImportable()
  const module = (await import(`${pathToFileURL(file).href}?${statSync(file).mtimeMs}`)) as {
    default?: unknown
  }
  if (module.default !== undefined) return module.default
  throw new ConfigError(`${file} has no default export`, {
    hint: `write: import {defineConfig} from 'jobq'; export default defineConfig({…})`,
  })
}
