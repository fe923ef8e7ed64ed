/**
 * A place to work in: a folder of its own with a database and a workers folder, and jobq as a user there has it,
 * with no settings of the machine's. Whatever was started is killed and the folder removed when the test is over.
 */
import {chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {stripTypeScriptTypes} from 'node:module'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import type {TestContext} from 'node:test'
import {fileURLToPath} from 'node:url'
import Sqlite from 'better-sqlite3'
import {type EnqueueOptions, JobQueue} from '../../src/lib/index.ts'
import {processesWith} from './alive.ts'
import {COMPILE_CACHE} from './compile-cache.ts'
import {calledInOneProcess, isCallable} from './one-process.ts'
import {type Finished, Started} from './started.ts'
import {until} from './until.ts'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const JOBQ = join(ROOT, 'bin/run.js')
/** In the workers folder, for workers that leave word of what they did. */
const NOTE = `import {appendFileSync} from 'node:fs'
export const note = fields =>
  appendFileSync(process.env.NOTES, JSON.stringify({at: Number(process.hrtime.bigint() / 1000n), ...fields}) + '\\n')
`

export interface Options {
  env?: NodeJS.ProcessEnv
  input?: string | Uint8Array
  cwd?: string
  /** In a process group of its own, as a shell starts what is typed. */
  detached?: boolean
}

export interface Exception {
  func_id: number
  message: string
  uniqkey: string | null
  arg: string | null
  retried: number
  exception_time: number
}

export class Workplace {
  readonly folder: string
  readonly db: string
  readonly env: NodeJS.ProcessEnv
  readonly #started: Started[] = []

  /** @param workers files of the workers folder, by name; TypeScript without an extension becomes `.mjs` */
  constructor(t: TestContext, workers: Record<string, string> = {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'jobq-work-'))
    this.db = join(this.folder, 'jobs.db')
    this.env = this.#environment()
    mkdirSync(join(this.folder, 'tmp'))
    this.write('bin/jobq', `#!/bin/sh\nexec '${process.execPath}' '${JOBQ}' "$@"\n`, 0o755)
    this.write('workers/_note.mjs', NOTE)
    for (const [name, source] of Object.entries(workers)) this.worker(name, source)
    t.after(async () => {
      for (const started of this.#started) if (!started.hasExited) started.kill('SIGKILL')
      await Promise.allSettled(this.#started.map(({exited}) => exited))
      rmSync(this.folder, {recursive: true, force: true, maxRetries: 5})
    })
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  write(path: string, content: string | Uint8Array, mode = 0o644): string {
    const file = this.path(path)
    mkdirSync(dirname(file), {recursive: true})
    writeFileSync(file, content)
    chmodSync(file, mode)
    return file
  }

  /**
   * What the name's extension says; what begins with #! gets its run bit. A module without an extension is TypeScript,
   * whose types are stripped here: that would take each of jobq's children as long as all the rest of its start.
   */
  worker(name: string, source: string): string {
    const isScript = source.startsWith('#!')
    const file = name.replaceAll('::', '/')
    if (isScript || /\.\w+$/.test(name))
      return this.write(`workers/${file}`, source, isScript ? 0o755 : 0o644)
    return this.write(`workers/${file}.mjs`, stripTypeScriptTypes(source))
  }

  /** Any jobq command on this database. */
  start(args: readonly string[], options: Options = {}): Started {
    return this.spawn(process.execPath, [JOBQ, ...args], options)
  }

  /** To its end; in a process that others share (one-process.ts) unless the command, or an option, asks for one of its own. */
  run(args: readonly string[], options: Options = {}): Promise<Finished> {
    const {env, cwd = this.folder, ...own} = options
    if (Object.keys(own).length > 0 || !isCallable(args, env)) return this.start(args, options).exited
    return calledInOneProcess({words: args, cwd, env: {...this.env, ...env}})
  }

  /** Some other program, in the same surroundings. */
  spawn(command: string, args: readonly string[], options: Options = {}): Started {
    const {env, input, cwd = this.folder, detached = false} = options
    const started = new Started(command, args, {cwd, env: {...this.env, ...env}, detached})
    started.child.stdin!.end(input)
    this.#started.push(started)
    return started
  }

  work(...flags: string[]): Started {
    return this.start(['work', ...flags])
  }

  drain(...flags: string[]): Promise<Finished> {
    return this.run(['work', '--drain', ...flags])
  }

  async withQueue<T>(use: (queue: JobQueue) => Promise<T>): Promise<T> {
    const queue = await JobQueue.open({db: this.db, durable: false})
    try {
      return await use(queue)
    } finally {
      await queue.close()
    }
  }

  /** @returns the ids */
  enqueue(...jobs: [func: string, options?: EnqueueOptions][]): Promise<number[]> {
    return this.withQueue(async queue => {
      const ids: number[] = []
      for (const [func, options] of jobs) ids.push((await queue.enqueue(func, options)).id)
      return ids
    })
  }

  /** Stops a process by SIGSTOP while it is in no transaction: else nobody could write until it goes on. */
  async pause(process: Started): Promise<void> {
    await until('it is stopped between two transactions', () => {
      process.kill('SIGSTOP')
      const db = new Sqlite(this.db, {timeout: 50})
      try {
        db.exec('BEGIN IMMEDIATE; ROLLBACK')
        return true
      } catch {
        process.kill('SIGCONT')
        return false
      } finally {
        db.close()
      }
    })
  }

  rows<Row>(sql: string, ...params: unknown[]): Row[] {
    const db = new Sqlite(this.db, {timeout: 10_000})
    try {
      const statement = db.prepare<unknown[], Row>(sql)
      if (statement.reader) return statement.all(...params)
      statement.run(...params)
      return []
    } finally {
      db.close()
    }
  }

  /** The first column of each row. */
  column<Value>(sql: string, ...params: unknown[]): Value[] {
    return this.rows<Record<string, Value>>(sql, ...params).map(row => Object.values(row)[0]!)
  }

  count(table: 'job' | 'exception_log' | 'job_status'): number {
    return this.column<number>(`SELECT count(*) FROM ${table}`)[0]!
  }

  exceptions(): Exception[] {
    return this.rows<Exception>('SELECT *, CAST(arg AS TEXT) AS arg FROM exception_log ORDER BY id')
  }

  messages(): string[] {
    return this.exceptions().map(({message}) => message)
  }

  /** Processes started from here, by whomever, that are still there. */
  survivors(): number[] {
    return processesWith(`HOME=${this.folder}`)
  }

  /** What workers have noted, in the order in which they did. */
  notes<Note = Record<string, unknown>>(): (Note & {at: number})[] {
    const file = this.path('notes')
    if (!existsSync(file)) return []
    return readFileSync(file, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map(line => JSON.parse(line))
  }

  #environment(): NodeJS.ProcessEnv {
    const kept = Object.entries(process.env).filter(
      ([name]) => !/^(JOBQ_|XDG_|NODE_|NO_COLOR$|FORCE_COLOR$|npm_)/.test(name),
    )
    return {
      ...Object.fromEntries(kept),
      PATH: `${this.path('bin')}:${process.env.PATH}`,
      HOME: this.folder,
      TMPDIR: this.path('tmp'),
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      JOBQ_DB: this.db,
      NOTES: this.path('notes'),
    }
  }
}
