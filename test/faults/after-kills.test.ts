/**
 * Jobs that wait for others, on each kind of database, while whoever works them is killed again and again: a chain, a job
 * behind all of it, and many behind one that fails. All is done, in order, or failed, and nothing is freed twice.
 */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {JobQueue, type JobRequest} from '../../src/lib/index.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const WORKERS = {
  Step: `export default {async work(job) { const {note} = await import('./_note.mjs'); note({id: job.id}) }}`,
  Bad: '#!/bin/sh\necho "no such file" >&2\nexit 1',
}
const CHAIN = 40
const BEHIND = 250
const KILLS = 4

const kinds = await databaseKinds()

for (const kind of kinds)
  test(`what waits for others on ${kind.name}, while its dispatcher is killed`, {
    skip: kind.skip,
  }, async t => {
    const {db, query} = await kind.create(t)
    const site = new Workplace(t, WORKERS)
    await using queue = await JobQueue.open({db, config: '/dev/null'})
    const count = async (sql: string) => Number((await query(`SELECT count(*) AS n FROM ${sql}`))[0]!.n)
    const chain = Array.from(
      {length: CHAIN},
      (_, i): JobRequest => ({func: 'Step', ...(i > 0 ? {after: [`#${i}`]} : {})}),
    )
    const all = chain.map((_, i) => `#${i + 1}` as const)
    await queue.enqueueMany([
      ...chain,
      {func: 'Step', after: all},
      {func: 'Bad', priority: 1},
      ...Array.from({length: BEHIND}, (): JobRequest => ({func: 'Step', after: [`#${CHAIN + 2}`]})),
    ])
    const words = ['work', '--db', db, '--max-workers', '2']
    for (let kills = 0; kills < KILLS; kills++) {
      const before = await queue.count()
      const work = site.start(words)
      await until('it does something', async () => (await queue.count()) < before)
      work.kill('SIGKILL')
      await work.exited
      await until('all that was killed has ended', () => site.survivors().length === 0)
      await query('UPDATE job SET grabbed_until = 0') // a minute later
    }
    const failed = await count('exception_log')
    assert.equal((await site.run([...words, '--drain'])).code, failed <= BEHIND ? 5 : 0)
    assert.equal(await queue.count(), 0)
    const worked = [...new Set(site.notes<{id: number}>().map(({id}) => id))]
    const first = worked[0]!
    assert.deepEqual(
      worked,
      Array.from({length: CHAIN + 1}, (_, i) => first + i),
    )
    assert.equal(await count('exception_log'), BEHIND + 1)
    assert.equal(await count(`jobq_after WHERE outcome IS NULL OR outcome <> 'told'`), 0)
  })
