/** Another process on the same PostgreSQL database: `process.ts URL` works until nothing is ready, and tells what. */
import type {JobRow, Settlement} from '../../src/lib/jobs/job.ts'
import {postgresStore} from '../../src/lib/store/postgres/store.ts'

const [url = ''] = process.argv.slice(2)
const store = postgresStore(url, 'db', {durable: false})
const taken: JobRow[] = []
for (let ended: Settlement[] = []; ; ) {
  const {jobs, settled} = await store.turn(ended, {funcs: ['Work'], limit: 2, lease: 60})
  if (!settled.every(({held}) => held)) throw new Error('a lease did not hold')
  if (jobs.length === 0) break
  taken.push(...jobs)
  ended = jobs.map(lease => ({lease, outcome: {kind: 'completed'}}))
}
await store.close()
process.send?.(taken.map(({id, priority}) => [id, priority]))
process.disconnect?.()
