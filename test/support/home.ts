/** A folder of its own for jobq: what lies in it before and after, and the jobs in its databases. */
import {once} from 'node:events'
import {chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import type {TestContext} from 'node:test'
import Sqlite from 'better-sqlite3'
import {isShareable, type Jobq, jobqIn, type RunOptions} from './jobq.ts'
import {isCallable} from './one-process.ts'
import type {Finished, Started} from './started.ts'

/** A job as it lies in the database. */
export interface Row {
  id: number
  func: string
  /** The storage class of the argument, and its bytes. */
  type: 'text' | 'blob' | 'null'
  bytes: Buffer | null
  uniqkey: string | null
  priority: number
  run_after: number
  enqueue_time: number
}

/** How a command ends that has printed one line and nothing to complain of. */
export function printed(line: string | number): Finished {
  return {code: 0, signal: null, stdout: `${line}\n`, stderr: ''}
}

export class Home {
  readonly #jobq: Jobq

  constructor(t: Pick<TestContext, 'after'>) {
    this.#jobq = jobqIn(t)
  }

  get folder(): string {
    return this.#jobq.folder
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  write(name: string, content: string | Buffer): string {
    const path = this.path(name)
    mkdirSync(dirname(path), {recursive: true})
    writeFileSync(path, content)
    return path
  }

  read(name: string): Buffer {
    return readFileSync(this.path(name))
  }

  /** Every file in the folder with its bytes: to see that nothing has changed. */
  files(): Record<string, string> {
    const entries = readdirSync(this.folder, {recursive: true, withFileTypes: true})
    const files = entries.filter(entry => entry.isFile()).map(({parentPath, name}) => join(parentPath, name))
    return Object.fromEntries(files.sort().map(file => [file, readFileSync(file).toString('base64')]))
  }

  /** Gives the folder and all in it to a user. */
  give(uid: number): void {
    const names = readdirSync(this.folder, {recursive: true, encoding: 'utf8'})
    for (const name of ['', ...names]) chownSync(this.path(name), uid, uid)
    chmodSync(this.folder, 0o755)
  }

  /** Runs jobq to its end, however long that takes. */
  jobq(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return isShareable(options) && isCallable(args) ? this.call(args, options) : this.alone(args, options)
  }

  /** In a process of its own, whatever it is. */
  async alone(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    const started = this.start(args, options)
    const [code, signal] = await once(started.child, 'close')
    return {code, signal, stdout: started.stdout, stderr: started.stderr}
  }

  start(args: readonly string[], options: RunOptions = {}): Started {
    return this.#jobq.start(args, inSeoul(options))
  }

  /** In a process that others share, whatever it is, where no option asks for one of its own. */
  call(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return this.#jobq.call(args, inSeoul(options))
  }

  /** The jobs of a database, by id. */
  jobs(db = 'jobs.db'): Row[] {
    const file = new Sqlite(this.path(db), {readonly: true})
    try {
      return file
        .prepare(
          `SELECT job.id, name AS func, typeof(arg) AS type, CAST(arg AS BLOB) AS bytes, uniqkey, priority,
             run_after, enqueue_time
           FROM job JOIN func ON func.id = func_id ORDER BY job.id`,
        )
        .all() as Row[]
    } finally {
      file.close()
    }
  }
}

function inSeoul({env, ...options}: RunOptions): RunOptions {
  return {...options, env: {TZ: 'Asia/Seoul', ...env}}
}
