/** Children that have many jobs at once, killed under load, on each kind of database: nothing lost, and nothing twice but what they ran. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {ids, type Note, noted, pids, worker} from '../support/child-jobs.ts'
import {databaseKinds} from '../support/kinds.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const TOTAL = 400
/** The later ones wait for a word: some are left for the children that take the place of the killed, however late those start. */
const NAPS = worker(`await sleep(30)
  while (job.id > 240 && !existsSync(here('go'))) await sleep(5)`)

const kinds = await databaseKinds()

for (const kind of kinds)
  describe(`many jobs in each child on ${kind.name}`, {
    skip: kind.skip,
  }, () => {
    test('are all worked, though children are killed meanwhile', async t => {
      const {db} = await kind.create(t)
      const site = new Workplace(t, {Naps: NAPS})
      await using queue = await JobQueue.open({db})
      await queue.enqueueMany(Array.from({length: TOTAL}, () => ({func: 'Naps'})))
      const flags = ['--max-workers', '2', '--min-spare-workers', '2', '--jobs-per-child', '20']
      const drain = site.start(['work', '--db', db, '--drain', ...flags])
      const killed: number[] = []
      for (const count of [50, 200]) {
        await until(`${count} have begun`, () => noted(site, 'begin').length >= count)
        const {pid} = noted(site, 'begin').at(-1)!
        process.kill(pid, 'SIGKILL')
        killed.push(pid)
      }
      await until('two others have begun', () => pids(noted(site, 'begin')).length >= 4)
      site.write('go', '')
      const {code, stdout, stderr} = await drain.exited
      assert.equal(code, 0, stderr.slice(-3000))
      assert.match(stdout, new RegExp(`^${TOTAL} completed, \\d+ died in `))
      assert.equal(new Set(ids(noted(site, 'end'))).size, TOTAL)
      const runs = Map.groupBy(noted(site, 'begin'), ({id}: Note) => id)
      for (const [id, each] of runs)
        for (const {pid} of each.slice(0, -1))
          assert.ok(killed.includes(pid), `job ${id} ran again, not killed`)
      assert.equal(await queue.count(), 0)
    })
  })
