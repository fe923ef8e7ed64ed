/**
 * Processes stopped by SIGSTOP for longer than their lease, which go on beside those who have taken their jobs: what they
 * then say of these changes nothing. By default the minute passes in the database alone; with JOBQ_SOAK=1 it is waited for.
 */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {LEASE_SECONDS} from '../../src/lib/work/leases.ts'
import {databaseKinds, type Prepared} from '../support/kinds.ts'
import {SOAK} from '../support/random.ts'
import type {Started} from '../support/started.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

/** More than a lease and what it takes to notice. */
const MINUTE_MS = 100_000

/** Begin, wait for a file of the process's own, end. */
const MODULE = `import {appendFileSync, existsSync} from 'node:fs'
const say = word => appendFileSync(process.env.HOME + '/runs', word + ' Module ' + process.pid + '\\n')
export default {setJobStatus: true, grabFor: Number(process.env.GRAB_FOR), async work() {
  say('begin')
  while (!existsSync(process.env.HOME + '/go-' + process.pid)) await new Promise(resolve => setTimeout(resolve, 10))
  say('end')
}}
`
const SHELL = (grabFor: number) => `#!/bin/sh
# jobq: set-job-status grab-for=${grabFor}
echo "begin Shell $$" >> "$HOME/runs"
while [ ! -e "$HOME/go-$$" ]; do sleep 0.02; done
echo "end Shell $$" >> "$HOME/runs"
`

class Scene {
  readonly #site: Workplace
  readonly #grabFor: number
  readonly db: Prepared

  constructor(t: TestContext, db: Prepared, grabFor = 3600) {
    this.#site = new Workplace(t, {'Module.mjs': MODULE, Shell: SHELL(grabFor)})
    this.#grabFor = grabFor
    this.#site.write('runs', '')
    this.db = db
  }

  async enqueue(...funcs: string[]): Promise<void> {
    for (const func of funcs)
      assert.equal((await this.#site.run(['enqueue', func, '--db', this.db.db])).code, 0)
  }

  work(maxWorkers = 2, ...flags: string[]): Started {
    const env = {GRAB_FOR: String(this.#grabFor)}
    const words = [
      'work',
      '--db',
      this.db.db,
      '--max-workers',
      String(maxWorkers),
      '--work-delay',
      '1',
      ...flags,
    ]
    return this.#site.start(words, {env})
  }

  pids(word: 'begin' | 'end'): number[] {
    const lines = readFileSync(this.#site.path('runs'), 'utf8').split('\n')
    return lines.filter(line => line.startsWith(word)).map(line => Number(line.split(' ')[2]))
  }

  async untilRuns(word: 'begin' | 'end', count: number, deadlineMs?: number): Promise<void> {
    await until(`${count} ${word}`, () => this.pids(word).length >= count, deadlineMs)
    assert.equal(this.pids(word).length, count)
  }

  let(pids: readonly number[]): void {
    for (const pid of pids) this.#site.write(`go-${pid}`, '')
  }

  /** Leases are whole seconds, and two that begin a minute apart never the same. */
  async passMinute(): Promise<void> {
    if (SOAK) return
    const leases = await this.db.query('SELECT grabbed_until FROM job')
    const last = Math.max(...leases.map(({grabbed_until}) => Number(grabbed_until)))
    await until('it is another second', () => Date.now() / 1000 + LEASE_SECONDS > last + 1)
    await this.db.query('UPDATE job SET grabbed_until = 1 WHERE grabbed_until > 0')
  }

  async statuses(): Promise<unknown[]> {
    return (await this.db.query('SELECT status FROM job_status')).map(({status}) => status)
  }

  /** An end may be told before it is committed. */
  async untilStatuses(...wanted: string[]): Promise<void> {
    await until('ends are there', async () => (await this.statuses()).length >= wanted.length)
    assert.deepEqual(await this.statuses(), wanted)
  }

  /** Not in the midst of a write, which no one could go past. */
  async stop(pids: readonly number[]): Promise<void> {
    await until('they are stopped', async () => {
      signal('SIGSTOP', pids)
      const isPassable = await this.db.query('UPDATE job SET priority = priority').then(
        () => true,
        () => false,
      )
      if (!isPassable) signal('SIGCONT', pids)
      return isPassable
    })
  }
}

function signal(name: NodeJS.Signals, pids: readonly number[]): void {
  for (const pid of pids) process.kill(pid, name)
}

for (const {name, skip, create} of await databaseKinds())
  describe(`what is stopped for longer than its lease, on ${name}`, {concurrency: SOAK, skip}, () => {
    for (const who of ['a dispatcher', 'a dispatcher and who runs its jobs'])
      test(`${who}: others have its jobs, and what it says of them later changes nothing`, async t => {
        const scene = new Scene(t, await create(t))
        await scene.enqueue('Module', 'Shell')
        const first = scene.work()
        await scene.untilRuns('begin', 2)
        const runners = scene.pids('begin')
        const stopped = who === 'a dispatcher' ? [first.pid] : [first.pid, ...runners]
        await scene.stop(stopped)
        if (who === 'a dispatcher') {
          scene.let(runners)
          await scene.untilRuns('end', 2)
        }
        await scene.passMinute()
        const second = scene.work()
        await scene.untilRuns('begin', 4, MINUTE_MS)
        const others = scene.pids('begin').slice(2)
        const before = await scene.db.query('SELECT * FROM job ORDER BY id')
        signal('SIGCONT', stopped)
        scene.let(runners)
        for (const func of ['Module', 'Shell'])
          await first.prints(new RegExp(`${func} lost \\S+ completed, but someone else had taken the job`))
        if (!SOAK) assert.deepEqual(await scene.db.query('SELECT * FROM job ORDER BY id'), before)
        assert.deepEqual(await scene.statuses(), [])
        scene.let(others)
        for (const func of ['Module', 'Shell']) await second.prints(new RegExp(`${func} completed`))
        await scene.untilStatuses('completed', 'completed')
        assert.deepEqual(await scene.db.query('SELECT * FROM exception_log'), [])
        assert.equal(scene.pids('begin').length, 4)
        second.kill('SIGTERM')
        assert.equal((await second.exited).code, 0)
        await scene.enqueue('Module')
        await scene.untilRuns('begin', 5)
        scene.let(scene.pids('begin').slice(4))
        await first.prints(/Module completed/)
        first.kill('SIGTERM')
        assert.equal((await first.exited).code, 0)
      })

    test('who runs a job: its grab_for ends it, and no one else has had it', async t => {
      const scene = new Scene(t, await create(t), 4)
      const first = scene.work()
      for (const [i, func] of ['Module', 'Shell'].entries()) {
        await scene.enqueue(func)
        await scene.untilRuns('begin', i + 1)
        signal('SIGSTOP', [scene.pids('begin')[i]!])
      }
      const second = scene.work()
      for (const func of ['Module', 'Shell'])
        await first.prints(
          new RegExp(`${func} failed \\S+ ran longer than its grab_for of 4 s and was stopped`),
        )
      await second.prints(/works Module/)
      assert.equal(scene.pids('begin').length, 2)
      await scene.untilStatuses('failed', 'failed')
      for (const work of [first, second]) {
        work.kill('SIGTERM')
        assert.equal((await work.exited).code, 0)
      }
      assert.doesNotMatch(second.stderr, /failed/)
    })

    test('a dispatcher with jobs taken ahead: it starts none of those that others have', {
      skip: !SOAK,
    }, async t => {
      const scene = new Scene(t, await create(t))
      await scene.enqueue(...Array.from({length: 6}, () => 'Module'))
      const first = scene.work(2, '--prefetch', '4')
      await scene.untilRuns('begin', 2)
      signal('SIGSTOP', [first.pid])
      const second = scene.work(6)
      await scene.untilRuns('begin', 8, MINUTE_MS)
      signal('SIGCONT', [first.pid])
      scene.let(scene.pids('begin').slice(0, 2))
      await first.prints(/Module lost.*Module lost/s)
      scene.let(scene.pids('begin').slice(2))
      await until('all is done', async () => (await scene.statuses()).length === 6)
      assert.equal(scene.pids('begin').length, 8)
      for (const work of [first, second]) work.kill('SIGTERM')
    })
  })
