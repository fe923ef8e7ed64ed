/**
 * Clocks that are set by hours, forwards and back, while jobs run and others are enqueued. The time that counts is the
 * database's: with SQLite that of the host, for which all processes have one clock here, else the server's.
 */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {patient, SOAK} from '../support/random.ts'
import type {Started} from '../support/started.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'
import {Clock} from './clock.ts'
import {KINDS, type Kind, type Place, placeOf} from './storm/place.ts'

const HOUR = 3600
/** What must not happen is waited for so long: a lease, and what it takes to notice that it is over. */
const LEASE_MS = 65_000

const MODULE = `import {appendFileSync, existsSync} from 'node:fs'
export default {setJobStatus: true, async work(job) {
  appendFileSync(process.env.HOME + '/runs', job.id + ' ' + process.ppid + '\\n')
  while (job.arg === 'long' && !existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 10))
}}
`

class Scene {
  readonly clock: Clock
  readonly place: Place
  readonly #site: Workplace
  /** What every command has on top. */
  readonly env: Record<string, string>

  private constructor(clock: Clock, place: Place, site: Workplace) {
    this.clock = clock
    this.place = place
    this.#site = site
    this.env = {JOBQ_DB: place.db, ...(place.server ? {} : clock.env)}
  }

  /** @param isServers whether the server has the clock that is set; with SQLite all processes have it */
  static async create(t: TestContext, kind: Kind, isServers: boolean): Promise<Scene | null> {
    const site = new Workplace(t, {'Module.mjs': MODULE})
    site.write('runs', '')
    const clock = new Clock(t)
    const place = await placeOf(kind, site.folder)
    if ('missing' in place) {
      t.skip(place.missing)
      return null
    }
    t.after(() => place.close())
    if (isServers && place.server) {
      await place.server.kill()
      await place.server.start(clock.env)
    }
    return new Scene(clock, place, site)
  }

  /** @returns the id */
  async enqueue(
    arg: string,
    flags: readonly string[] = [],
    env: Record<string, string> = {},
  ): Promise<number> {
    const words = ['enqueue', 'Module', '--arg', JSON.stringify(arg), ...flags]
    const {code, stdout, stderr} = await this.#site.run(words, {env: {...this.env, ...env}})
    assert.equal(code, 0, stderr)
    return Number(stdout)
  }

  work(env: Record<string, string> = {}): Started {
    return this.#site.start(['work', '--max-workers', '1', '--work-delay', '1'], {env: {...this.env, ...env}})
  }

  /** Who has run it, in their order: each the process of its dispatcher. */
  runsOf(id: number): number[] {
    const lines = readFileSync(this.#site.path('runs'), 'utf8').split('\n')
    return lines.filter(line => line.startsWith(`${id} `)).map(line => Number(line.split(' ')[1]))
  }

  async untilRun(id: number): Promise<void> {
    await until(`job ${id} has begun`, () => this.runsOf(id).length > 0, patient(40_000))
  }

  letLongOnesEnd(): void {
    this.#site.write('go', '')
  }

  async completed(): Promise<number> {
    const rows = await this.place.query("SELECT id FROM job_status WHERE status = 'completed'")
    return rows.length
  }

  /** How far from the true time a job is due, in seconds. */
  async dueIn(id: number): Promise<number> {
    const [row] = await this.place.query(`SELECT run_after FROM job WHERE id = ${id}`)
    return Number(row!.run_after) - Date.now() / 1000
  }
}

async function ends(...works: Started[]): Promise<void> {
  for (const work of works) {
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0, work.stderr)
  }
}

describe('the clock is set', {concurrency: 2}, () => {
  for (const kind of KINDS)
    test(`on ${kind === 'SQLite' ? 'the host of SQLite' : `the server of ${kind}`}: no lease ends by that, no job is lost or runs twice`, async t => {
      const scene = await Scene.create(t, kind, true)
      if (!scene) return
      const {clock} = scene
      const long = await scene.enqueue('long')
      const first = scene.work()
      await scene.untilRun(long)
      const second = scene.work()
      const before = await scene.enqueue('short')
      await scene.untilRun(before)

      clock.set(3)
      await second.prints(/the database's clock has jumped ahead by 1\d{4} s/)
      const ahead = await scene.enqueue('short')
      if (SOAK || kind !== 'PostgreSQL') await scene.untilRun(ahead) // there it takes half a minute
      if (SOAK) await new Promise(resolve => setTimeout(resolve, LEASE_MS))
      assert.deepEqual(scene.runsOf(long).length, 1)

      clock.set(-3)
      const back = await scene.enqueue('short')
      await scene.untilRun(back)
      const delayed = await scene.enqueue('short', ['--delay', '1h'])
      if (SOAK) await new Promise(resolve => setTimeout(resolve, LEASE_MS))
      assert.equal(scene.runsOf(delayed).length, 0)

      assert.deepEqual(scene.runsOf(long), [first.pid])
      scene.letLongOnesEnd()
      await first.prints(new RegExp(`${long} Module completed`))
      await ends(first, second)

      clock.set(3) // what was enqueued is due by now
      const third = scene.work()
      const ids = [long, before, ahead, back, delayed]
      await until('all are completed', async () => (await scene.completed()) === ids.length)
      await ends(third)
      for (const id of ids) assert.equal(scene.runsOf(id).length, 1, `job ${id}`)
      assert.deepEqual(await scene.place.query('SELECT id FROM job'), [])
      assert.deepEqual(await scene.place.query('SELECT id FROM exception_log'), [])
      assert.doesNotMatch(first.stderr + second.stderr + third.stderr, /lost|died/)
    })

  for (const kind of ['MySQL', 'PostgreSQL'] as const)
    test(`where jobs are enqueued and worked: on ${kind} nothing depends on it`, async t => {
      const scene = await Scene.create(t, kind, false)
      if (!scene) return
      const {clock} = scene
      const first = scene.work(clock.env)
      const long = await scene.enqueue('long')
      await scene.untilRun(long)
      const second = scene.work(clock.env)
      for (const hours of [3, -3, 1, -1]) {
        clock.set(hours)
        const delayed = await scene.enqueue('short', ['--delay', '1h'], clock.env)
        const due = await scene.dueIn(delayed)
        assert.ok(Math.abs(due - HOUR) < HOUR / 2, `at ${hours} hours: due in ${due} s`)
        const soon = await scene.enqueue('short', ['--delay', '1'], clock.env)
        await scene.untilRun(soon)
        assert.equal(scene.runsOf(soon).length, 1)
        assert.equal(scene.runsOf(delayed).length, 0)
      }
      assert.equal(scene.runsOf(long).length, 1)
      scene.letLongOnesEnd()
      await until('all that is due is completed', async () => (await scene.completed()) === 5)
      await ends(first, second)
      assert.equal((await scene.place.query('SELECT id FROM job')).length, 4)
      assert.doesNotMatch(first.stderr + second.stderr, /lost|died|jumped/)
    })
})
