/** Jobs taken ahead by a process that is killed: those that have never run come to no harm by it. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {openQueue} from '../support/library.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const LIBRARY = new URL('../../src/lib/index.ts', import.meta.url).href
/** As if so much time had passed. */
const LET_LEASES_END = 'UPDATE job SET grabbed_until = 1 WHERE grabbed_until > 0'

test('by one of them, in an application: at its third death that one has failed, and no other', async t => {
  const {queue, file, folder, rows} = await openQueue(t)
  const db = new Sqlite(file)
  t.after(() => db.close())
  for (let i = 0; i < 30; i++) await queue.enqueue('Step', {arg: i})
  const program = `import {appendFileSync} from 'node:fs'
    import {JobQueue} from ${JSON.stringify(LIBRARY)}
    const queue = await JobQueue.open({db: ${JSON.stringify(file)}})
    const Step = ({arg}) => {
      console.log(arg)
      if (arg === 5) process.kill(process.pid, 'SIGKILL')
    }
    await queue.work({workers: {Step}, mode: 'drain', prefetch: 20})
    await queue.close()`
  const begun: number[] = []
  const ends: unknown[] = []
  while (ends.at(-1) !== 0 && ends.length < 10) {
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: folder,
      encoding: 'utf8',
    })
    begun.push(...run.stdout.trim().split('\n').map(Number))
    ends.push(run.signal ?? run.status)
    db.exec(LET_LEASES_END)
  }
  assert.deepEqual(ends, ['SIGKILL', 'SIGKILL', 'SIGKILL', 0])
  assert.deepEqual(rows('SELECT CAST(arg AS TEXT) AS arg FROM exception_log'), [{arg: '5'}])
  assert.deepEqual(rows('SELECT id FROM job'), [])
  assert.deepEqual(
    [...new Set(begun)].sort((a, b) => a - b),
    Array.from({length: 30}, (_, i) => i),
  )
})

test('with `jobq work`, again and again: the one that ran each time has failed, and no other', async t => {
  const site = new Workplace(t, {
    Hold: `import {existsSync} from 'node:fs'
import {defineWorker} from 'jobq'
import {setTimeout as sleep} from 'node:timers/promises'
import {note} from './_note.mjs'
export default defineWorker({
  async work(job) {
    note({id: job.id})
    while (!existsSync(process.env.HOME + '/go')) await sleep(10)
  },
})
`,
  })
  await site.enqueue(...Array.from({length: 10}, () => ['Hold'] as [string]))
  for (let kills = 1; kills <= 3; kills++) {
    const worker = site.work('--prefetch', '20', '--max-workers', '1')
    await until('a job runs', () => site.notes().length === kills)
    await until(
      'no other is held',
      () => site.column('SELECT id FROM job WHERE grabbed_until > 0').length === (kills === 1 ? 10 : 1),
    )
    worker.kill('SIGKILL')
    await worker.exited
    site.rows(LET_LEASES_END)
  }
  site.write('go', '')
  const {code, stdout} = await site.drain('--prefetch', '20')
  assert.equal(code, 5)
  assert.match(stdout, /^9 completed, 1 failed/m)
  assert.deepEqual(
    site.notes<{id: number}>().map(({id}) => id),
    [1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  )
})
