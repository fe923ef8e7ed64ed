/** Which worker does which function: --exec first, then the config file's `workers`, then the workers folder. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs'
import {basename, dirname, extname, join, relative, resolve} from 'node:path'
import {strangersWay} from '../config/own-files.ts'
import type {FuncSettings} from '../config/schema.ts'
import type {Settings} from '../config/settings.ts'
import {parseRetryDelay} from '../jobs/backoff.ts'
import {isShort, ProcessError, UsageError, WorkerError} from '../jobs/errors.ts'
import {MAX_OTHERS} from '../jobs/job.ts'
import {parseKeepOutput, parseWhole} from '../jobs/names.ts'
import {parseRate} from '../jobs/shares/limits.ts'
import {durationOf, parseDuration} from '../jobs/time.ts'

const MODULE_EXTENSIONS = ['.ts', '.mts', '.js', '.mjs', '.cjs']

/** The worker of one function. */
export type Handler = ModuleHandler | CommandHandler

/** A JavaScript or TypeScript file, loaded by a pool child; `settings` override what the module says. */
export interface ModuleHandler {
  func: string
  kind: 'module'
  file: string
  settings: FuncSettings
}

/** An executable, spawned for each job: the file itself, or a command line for the shell. */
export interface CommandHandler {
  func: string
  kind: 'command'
  argv: readonly [string, ...string[]]
  settings: FuncSettings
}

export interface HandlerOptions {
  /** Functions to work; undefined: every one that a worker is found for. */
  abilities?: readonly string[] | undefined
  /** `FUNC=COMMAND` words. */
  exec?: readonly string[] | undefined
  /** Absolute. */
  folder: string
  /** Somebody has said that it is this one; else all that is taken from it must be this user's own (config/own-files.ts). */
  isNamed: boolean
  settings: Pick<Settings, 'config' | 'folder' | 'file' | 'isNamed'>
}

/** What was found, and functions whose worker is of no use, with why. */
export interface Found {
  handlers: Handler[]
  leftOut: {func: string; error: UsageError}[]
  /** Why nothing of the folder is worked, where there are other workers; null if that is no matter. */
  folderError: UsageError | null
}

/**
 * @throws WorkerError if an ability has no worker, or one that can't be started, or there is no other. Where no abilities
 * are named, what lies in the folder must not stop the others.
 */
export function findHandlers(options: HandlerOptions): Found {
  const commands = new Map(options.exec?.map(parseExec))
  const {config, file, isNamed} = options.settings
  const configured = new Map(Object.entries(config.workers ?? {}))
  const funcSettings = config.funcs
  const check = (path: string) => options.isNamed || checkOwn(path, isNamed ? file : null)
  const named = [...commands.keys(), ...configured.keys()]
  const inFolder = options.abilities ? null : lookInto(options.folder, check, named.length > 0)
  const funcs = options.abilities ?? [...new Set([...named, ...inFolder!.funcs])]
  if (funcs.length === 0)
    throw new WorkerError(`expected a worker, found none in ${options.folder}`, {
      hint: `write ${join(options.folder, 'NAME.ts')} or an executable of that name, or give --workers or --exec`,
    })
  const handlerOf = (func: string): Handler => {
    const settings = (funcSettings && Object.hasOwn(funcSettings, func) && funcSettings[func]) || {}
    const command = commands.get(func)
    if (command !== undefined) return {func, kind: 'command', argv: ['/bin/sh', '-c', command], settings}
    const worker = configured.get(func)
    if (worker !== undefined) return configuredHandler(func, worker, settings, options.settings.folder)
    return folderHandler(func, settings, options.folder, check)
  }
  const leftOut: Found['leftOut'] = []
  const handlers = funcs.flatMap(func => {
    try {
      return [handlerOf(func)]
    } catch (error) {
      if (options.abilities || !(error instanceof UsageError)) throw error
      leftOut.push({func, error})
      return []
    }
  })
  if (handlers.length === 0) throw leftOut[0]!.error
  return {handlers, leftOut, folderError: inFolder?.error ?? null}
}

/** A folder that is someone else's must not stop the workers that do not come from there: anyone can make one in /tmp. */
function lookInto(
  folder: string,
  check: (path: string) => unknown,
  hasOthers: boolean,
): {funcs: Iterable<string>; error: UsageError | null} {
  try {
    return {funcs: [...funcsIn(folder, check)], error: null}
  } catch (error) {
    if (!hasOthers || !(error instanceof UsageError)) throw error
    return {funcs: [], error}
  }
}

/** Who has named a configuration trusts those who can change it: what they have put beside it is as good. */
function checkOwn(path: string, config: string | null): void {
  const strangers = existsSync(path) ? strangersWay(path, config) : null
  if (strangers === null) return
  throw new WorkerError(`expected workers that only you can change, found ${path}: ${strangers}`, {
    hint: 'let only this user write there, or name it with --workers if you trust those who can',
  })
}

function parseExec(word: string): [string, string] {
  const at = word.indexOf('=')
  if (at > 0 && at < word.length - 1) return [word.slice(0, at), word.slice(at + 1)]
  throw new WorkerError(`--exec: expected FUNC=COMMAND, got ${JSON.stringify(word)}`, {
    hint: `write: --exec Notify='curl -sf -d @- http://127.0.0.1:8080/'`,
  })
}

/** A path of a module or of an executable, or else a command line. */
function configuredHandler(func: string, worker: string, settings: FuncSettings, folder: string): Handler {
  const file = resolve(folder, worker)
  if (!MODULE_EXTENSIONS.includes(extname(worker))) {
    if (worker.includes('/') && isFile(file)) return executableHandler(func, settings, file)
    return {func, kind: 'command', argv: ['/bin/sh', '-c', worker], settings}
  }
  if (existsSync(file)) return {func, kind: 'module', file, settings}
  throw new WorkerError(`expected the worker of ${func} in ${file}, but there is no such file`, {
    hint: `check workers.${func} in the configuration`,
  })
}

/** Modules go before executables. */
function folderHandler(
  func: string,
  settings: FuncSettings,
  folder: string,
  check: (path: string) => unknown,
): Handler {
  check(folder)
  const path = pathOf(func)
  const tried = path === null ? [] : MODULE_EXTENSIONS.map(extension => join(folder, path + extension))
  const module = tried.find(file => isFile(file))
  if (module) {
    check(module)
    return {func, kind: 'module', file: module, settings}
  }
  const executable = path === null ? null : findExecutable(func, join(folder, path))
  if (executable) {
    check(executable)
    return executableHandler(func, settings, executable)
  }
  const where =
    path === null
      ? `a name with a path in it has no file`
      : `looked for ${path}.{ts,mts,js,mjs,cjs} or an executable ${path}, ${path}.*, in ${folder}`
  throw new WorkerError(`expected a worker for ${JSON.stringify(func)}, found none: ${where}`, {
    hint: 'write one, or give --workers or --exec',
  })
}

function executableHandler(func: string, settings: FuncSettings, file: string): CommandHandler {
  if (!isExecutable(file)) throw notExecutable(file)
  if (statSync(file).size === 0)
    throw new WorkerError(`expected an executable, but ${file} is empty`, {
      hint: 'write it to its end, or remove it',
    })
  checkInterpreter(file)
  return {func, kind: 'command', argv: [file], settings: {...settingsIn(file), ...settings}}
}

/**
 * `MyApp::Worker::Notify` is MyApp/Worker/Notify; null for a name that is no path below the folder. `::` is a folder,
 * and nothing else leads anywhere: a slash or dots for a segment do not.
 */
function pathOf(func: string): string | null {
  const segments = func.split('::')
  const plain = segments.every(segment => segment !== '' && !/^\.|[/\\\0]/.test(segment))
  return plain ? join(...segments) : null
}

function findExecutable(func: string, path: string): string | null {
  const folder = dirname(path)
  const name = basename(path)
  const files = listFolder(folder)
    .filter(entry => entry === name || entry.startsWith(`${name}.`))
    .map(entry => join(folder, entry))
    .filter(isFile)
  const [first, second] = files.filter(isExecutable)
  if (first && second && basename(first) !== name)
    throw new WorkerError(
      `expected one worker for ${func}, found ${basename(first)} and ${basename(second)}`,
      {
        hint: 'remove one of them, or its run bit',
      },
    )
  const script = files.find(isScript)
  if (!first && script) throw notExecutable(script)
  return first ?? null
}

/**
 * Every function that the folder has a worker for. What begins with `_` or `.` is no worker, but something workers
 * share.
 */
function funcsIn(folder: string, check: (path: string) => unknown): string[] {
  check(folder)
  return [...walk(folder)].sort()
}

/** @param above folders that this one is in: a link to one of them leads in a circle */
function* walk(root: string, folder = root, above: readonly string[] = []): Generator<string> {
  const entries = listFolder(folder)
  const here = entries.length > 0 ? realpathSync(folder) : folder
  if (above.includes(here)) return
  for (const entry of entries) {
    if (/^[._]/.test(entry) || entry === 'node_modules' || /\.d\.[cm]?ts$/.test(entry)) continue
    const path = join(folder, entry)
    if (!isFile(path)) {
      yield* walk(root, path, [...above, here])
      continue
    }
    const isModule = MODULE_EXTENSIONS.includes(extname(entry))
    if (!isModule && !isExecutable(path) && !isScript(path)) continue
    const stem = isModule ? basename(entry, extname(entry)) : entry.replace(/\..*$/s, '')
    yield join(relative(root, folder), stem).replaceAll('/', '::')
  }
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch (error) {
    if (isShort(error)) throw new ProcessError(error, `can't read ${folder}`)
    return [] // no such folder has no workers
  }
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    return false // not there, not to be looked at, or a link to itself
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function isScript(path: string): boolean {
  return headOf(path).startsWith('#!')
}

function notExecutable(file: string): WorkerError {
  return new WorkerError(`expected an executable, but ${file} has no run bit`, {hint: `chmod +x ${file}`})
}

/** The kernel's own word for all of this would be "no such file", said of the script. @throws WorkerError */
export function checkInterpreter(file: string): void {
  const [line = ''] = headOf(file).split('\n', 1)
  if (!line.startsWith('#!')) return
  if (line.endsWith('\r'))
    throw new WorkerError(`expected ${file} to be runnable, but its first line ends in a carriage return`, {
      hint: `sed -i 's/\\r$//' ${file}`,
    })
  const missing = missingInterpreter(line)
  if (missing !== null)
    throw new WorkerError(`expected ${file} to be runnable, but its interpreter ${missing} is missing`, {
      hint: 'install it, or mend the first line of the file',
    })
}

/** What the line names, directly or through env, if it is not there. */
function missingInterpreter(line: string): string | null {
  const [, interpreter = '', argument = ''] = /^#!\s*(\S+)\s*(.*)$/.exec(line) ?? []
  if (!existsSync(interpreter)) return interpreter
  if (basename(interpreter) !== 'env') return null
  const program = /^(?:-S\s+)?([\w.+][\w.+-]*)(?=\s|$)/.exec(argument)?.[1]
  return program === undefined || isOnPath(program) ? null : program
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some(folder => isExecutable(join(folder, program)))
}

/**
 * Settings of an executable: a line `# jobq: max-retries=3 retry-delay=10s..1h grab-for=5m keep-output=64k keep-result=1h set-job-status`, or
 * `# jobq: max-running=4 max-running-per-key=2 share-by=customer rate=100/1m rate-per-key=10/1s`.
 */
function settingsIn(file: string): FuncSettings {
  const settings: FuncSettings = {}
  for (const word of headOf(file)
    .split('\n', 10)
    .flatMap(line => settingsOf(line, file))) {
    const [key, value = ''] = word.split('=', 2)
    const what = `${file}: ${key}`
    if (key === 'max-retries') settings.maxRetries = parseWhole(value, what)
    else if (key === 'retry-delay') settings.retryDelay = parseRetryDelay(value, what)
    else if (key === 'grab-for') settings.grabFor = durationOf(value, what)
    else if (key === 'keep-output') settings.keepOutput = parseKeepOutput(value, what)
    else if (key === 'keep-result') settings.keepResult = parseDuration(value, what)
    else if (key === 'max-running') settings.maxRunning = parseWhole(value, what)
    else if (key === 'max-running-per-key') settings.maxRunningPerKey = parseWhole(value, what)
    else if (key === 'share-by' && value !== '') settings.shareBy = value
    else if (key === 'rate') settings.rate = parseRate(value, what)
    else if (key === 'rate-per-key') settings.ratePerKey = parseRate(value, what)
    else if (key === 'coalesce') settings.coalesce = parseWhole(value, what, 0, MAX_OTHERS)
    else if (key === 'coalesce-by' && value !== '') settings.coalesceBy = value
    else if (key === 'set-job-status' && value === '') settings.setJobStatus = true
    else
      throw new WorkerError(`${file}: unknown setting ${JSON.stringify(word)}`, {
        hint: `known are max-retries=N retry-delay=D|D..D grab-for=D keep-output=64k|all|none keep-result=D set-job-status max-running=N
          max-running-per-key=N share-by=MEMBER rate=100/1m rate-per-key=10/1s
          coalesce=N coalesce-by=MEMBER`.replace(/\s+/g, ' '),
      })
  }
  return settings
}

const SETTINGS = /^\s*(?:#|\/\/|--|;)+\s*jobq:(.*)$/
/** Without its colon, in capitals, or behind a command: one of the settings follows. */
const ALMOST_SETTINGS =
  /(#|\/\/|--|;)\s*jobq\b:?\s*(max-\w|retry-|grab-|keep-|share-|rate|coalesce|set-job)[\w-]*(=|\s*$)/i

/** @throws WorkerError for what is meant as settings and would be a comment */
function settingsOf(line: string, file: string): string[] {
  const [, words] = SETTINGS.exec(line) ?? []
  if (words !== undefined) return words.trim().split(/\s+/).filter(Boolean)
  if (ALMOST_SETTINGS.test(line))
    throw new WorkerError(
      `${file}: expected a line of settings, # jobq: max-retries=3, got ${JSON.stringify(line.trim())}`,
      {hint: 'a line of its own, with jobq in small letters and a colon'},
    )
  return []
}

function headOf(file: string): string {
  const head = Buffer.alloc(4096)
  try {
    const fd = openSync(file, 'r')
    try {
      return head.toString('latin1', 0, readSync(fd, head))
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (isShort(error)) throw new ProcessError(error, `can't read ${file}`)
    return '' // may be run but not read: no settings to be seen
  }
}
