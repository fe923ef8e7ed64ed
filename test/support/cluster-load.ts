/**
 * Jobs that are enqueued and worked while a cluster's servers die, stand still and come back; and what became of them, kept
 * outside of any database: what was acknowledged, and a line of a file for each run.
 */
import assert from 'node:assert/strict'
import {type ChildProcess, fork} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {TestContext} from 'node:test'
import {fileURLToPath} from 'node:url'
import {type Jobq, jobqIn} from './jobq.ts'
import type {Started} from './started.ts'
import {until} from './until.ts'

const ENQUEUER = fileURLToPath(new URL('cluster-enqueuer.ts', import.meta.url))
/** What a turn took whose answer was lost waits until its lease is over. */
const DRAIN_MS = 150_000
const WORKER = `import {appendFileSync} from 'node:fs'
export default {work: job => appendFileSync(process.env.RUNS, \`\${job.id} \${job.arg}\\n\`)}
`

interface Said {
  arg: string
  id?: number
  code?: string
}

export class ClusterLoad {
  readonly #jobq: Jobq
  readonly #runs: string
  readonly #enqueuers: ChildProcess[] = []
  readonly #workers: Started[] = []
  /** Ids by their arguments. */
  readonly #acknowledged = new Map<string, number>()
  /** Of what was not: how often. */
  readonly #codes = new Map<string, number>()
  /** Of each enqueuer, when it has last been answered. */
  readonly #heardAt = new Map<ChildProcess, number>()
  #stall = 0

  /** @param t prints the figures */
  constructor(t: TestContext) {
    this.#jobq = jobqIn(t)
    const workers = join(this.#jobq.folder, 'workers')
    mkdirSync(workers)
    writeFileSync(join(workers, 'Note.mjs'), WORKER)
    this.#runs = join(this.#jobq.folder, 'runs')
    t.after(() => {
      for (const enqueuer of this.#enqueuers) enqueuer.kill('SIGKILL')
    })
  }

  /** Prepares the database. */
  async init(db: string): Promise<void> {
    const {code, stderr} = await this.#jobq(['init', '--db', db])
    assert.equal(code, 0, stderr)
  }

  /** @param urls for each worker, and for each enqueuer, its own */
  async start(urls: {workers: readonly string[]; enqueuers: readonly string[]}): Promise<void> {
    for (const db of urls.workers)
      this.#workers.push(
        this.#jobq.start(['work', '--db', db, '--durable', '--max-workers', '2', '--abilities', 'Note'], {
          env: {RUNS: this.#runs},
        }),
      )
    for (const [i, db] of urls.enqueuers.entries()) {
      const env = {...process.env, JOBQ_DB: db, JOBQ_CONFIG: undefined, HOME: this.#jobq.folder}
      const enqueuer = fork(ENQUEUER, [`${'abc'[i]}`], {env, cwd: this.#jobq.folder, execArgv: []})
      this.#enqueuers.push(enqueuer)
      enqueuer.on('message', (said: Said) => this.#hear(enqueuer, said))
    }
    await this.goesOn('at first')
  }

  /** Until each enqueuer has been answered some more, and so much more was worked. */
  async goesOn(when: string, jobs = 20): Promise<void> {
    const [acknowledged, runs] = [this.#acknowledged.size, this.#ran.length]
    const names = new Set<string>()
    await until(
      `jobs come and go ${when}`,
      () => {
        for (const arg of [...this.#acknowledged.keys()].slice(acknowledged)) names.add(arg[0]!)
        return (
          this.#acknowledged.size >= acknowledged + jobs &&
          names.size === this.#enqueuers.length &&
          this.#ran.length >= runs + jobs
        )
      },
      120_000,
    )
  }

  /** The longest that an enqueuer has waited for an answer since this was asked before, as text. */
  stall(): string {
    const now = performance.now()
    const longest = Math.max(this.#stall, ...[...this.#heardAt.values()].map(at => now - at))
    this.#stall = 0
    for (const enqueuer of this.#heardAt.keys()) this.#heardAt.set(enqueuer, now)
    return `${(longest / 1000).toFixed(1)} s`
  }

  /** No more come: until all that was acknowledged has run. @returns figures */
  async drain(): Promise<string> {
    await Promise.all(
      this.#enqueuers.map(async enqueuer => {
        const gone = once(enqueuer, 'exit')
        enqueuer.send('stop')
        await gone
      }),
    )
    const lost = () => {
      const ran = new Set(this.#ran.map(({arg}) => arg))
      return [...this.#acknowledged.keys()].filter(arg => !ran.has(arg))
    }
    await until('all that was acknowledged has run', () => lost().length === 0, DRAIN_MS).catch(() => {
      assert.fail(`acknowledged, and not run: ${lost().join(', ')}\n${this.#logs()}`)
    })
    return this.#judge()
  }

  /** Each enqueue is one job; one that ran twice was cut off from its worker, which has told. */
  #judge(): string {
    const runs = Map.groupBy(this.#ran, ({arg}) => arg)
    const stored = [...runs].filter(([, ran]) => new Set(ran.map(({id}) => id)).size > 1)
    assert.deepEqual(
      stored.map(([arg]) => arg),
      [],
      `stored twice\n${this.#logs()}`,
    )
    const twice = [...runs.values()].filter(ran => ran.length > 1).map(([first]) => first!.id)
    const logs = this.#logs()
    for (const id of twice)
      assert.match(
        logs,
        new RegExp(`\\b${id}\\b.*(lost|taken by someone else|died)`),
        `job ${id} has run twice`,
      )
    for (const [arg, id] of this.#acknowledged)
      assert.equal(runs.get(arg)![0]!.id, id, `the id that was told of ${arg}`)
    const codes = [...this.#codes].map(([code, times]) => `${times} ${code}`).join(', ')
    return `${this.#acknowledged.size} acknowledged, 0 lost, ${twice.length} run twice; not acknowledged: ${codes || 'none'}`
  }

  #hear(enqueuer: ChildProcess, {arg, id, code}: Said): void {
    if (id === undefined) {
      this.#codes.set(code!, (this.#codes.get(code!) ?? 0) + 1)
      return
    }
    assert.ok(!this.#acknowledged.has(arg))
    this.#acknowledged.set(arg, id)
    const now = performance.now()
    this.#stall = Math.max(this.#stall, now - (this.#heardAt.get(enqueuer) ?? now))
    this.#heardAt.set(enqueuer, now)
  }

  get #ran(): {id: number; arg: string}[] {
    if (!existsSync(this.#runs)) return []
    return readFileSync(this.#runs, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map(line => {
        const [id, arg = ''] = line.split(' ')
        return {id: Number(id), arg}
      })
  }

  #logs(): string {
    return this.#workers.map(({stderr}) => stderr).join('\n')
  }
}
