/**
 * A running `jobq work` in a folder of its own: started, watched through its log, ended with the test.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import type {TestContext} from 'node:test'
import {fileURLToPath} from 'node:url'
import {JobQueue} from '../../src/lib/index.ts'
import {tempFolder} from './temp.ts'
import {until} from './until.ts'

export const BIN = fileURLToPath(new URL('../../bin/run.js', import.meta.url))

/** A worker that notes `begin ID PID` and `end ID PID` in the file $RECORD and naps for arg.ms in between. */
export const NAP = `import {appendFileSync} from 'node:fs'
const say = (word, job) => appendFileSync(process.env.RECORD, word + ' ' + job.id + ' ' + process.pid + '\\n')
export default {
  async work(job) {
    say('begin', job)
    await new Promise(resolve => setTimeout(resolve, job.arg?.ms ?? 0))
    say('end', job)
  },
}
`

export class Site {
  readonly folder: string
  db: string
  readonly env: NodeJS.ProcessEnv
  readonly #t: TestContext

  /** @param files what is in the folder, by path: workers/Nap.js, jobq.config.json … */
  constructor(t: TestContext, files: Record<string, string>) {
    this.#t = t
    this.folder = tempFolder(t)
    this.db = join(this.folder, 'jobs.db')
    this.env = {
      ...process.env,
      JOBQ_DB: this.db,
      RECORD: join(this.folder, 'record'),
    }
    this.write('record', '')
    for (const [path, text] of Object.entries(files)) this.write(path, text)
  }

  /** @returns where it is */
  write(path: string, text: string): string {
    const file = join(this.folder, path)
    mkdirSync(dirname(file), {recursive: true})
    writeFileSync(file, text, {mode: text.startsWith('#!') ? 0o755 : 0o644})
    return file
  }

  read(path: string): string {
    return readFileSync(join(this.folder, path), 'utf8')
  }

  /** What the workers noted, line by line. */
  get record(): {word: string; id: number; pid: number}[] {
    const lines = this.read('record').split('\n').filter(Boolean)
    return lines.map(line => {
      const [word = '', id, pid] = line.split(' ')
      return {word, id: Number(id), pid: Number(pid)}
    })
  }

  queue(): Promise<JobQueue> {
    return JobQueue.open({db: this.db})
  }

  /** Enqueues so many jobs of one function in one transaction. */
  async enqueue(func: string, count: number, arg: unknown = {}, priority = 0): Promise<void> {
    await using queue = await this.queue()
    const job = {func, arg: JSON.stringify(arg), uniqkey: null, priority, due: {in: 0}}
    await queue.addMany(Array.from({length: count}, () => job))
  }

  work(...words: string[]): Manager {
    return this.run('work', ...words)
  }

  run(...words: string[]): Manager {
    const manager = new Manager(
      spawn(process.execPath, [BIN, ...words], {
        cwd: this.folder,
        env: this.env,
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    )
    this.#t.after(() => manager.process.kill('SIGKILL'))
    return manager
  }
}

export class Manager {
  readonly process: ChildProcess
  readonly #exit: Promise<unknown[]>
  log = ''
  out = ''

  constructor(process: ChildProcess) {
    this.process = process
    this.#exit = once(process, 'close')
    process.stderr!.setEncoding('utf8').on('data', text => (this.log += text))
    process.stdout!.setEncoding('utf8').on('data', text => (this.out += text))
  }

  /** Waits until the log says it, anywhere after what `since` characters held. */
  async logs(pattern: RegExp, since = 0): Promise<void> {
    await until(`the log says ${pattern}`, () => pattern.test(this.log.slice(since))).catch(error => {
      throw new Error(`${error.message}; it says:\n${this.log.slice(-3000)}`)
    })
  }

  signal(name: NodeJS.Signals): void {
    this.process.kill(name)
  }

  /** @returns the exit status, or the signal that ended it */
  async exit(): Promise<number | string> {
    const [code, signal] = await this.#exit
    return (code ?? signal) as number | string
  }

  async end(): Promise<number | string> {
    this.signal('SIGTERM')
    return this.exit()
  }
}
