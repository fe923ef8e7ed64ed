/** What is said of a job that is there already is the same of one job and of many, on each kind of database. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {type DuplicateJobError, JobQueue} from '../../src/lib/index.ts'
import {databaseKinds} from '../support/kinds.ts'

for (const {name, skip, create} of await databaseKinds())
  test(`a key that is taken for an hour, by a job that waits, on ${name}`, {skip}, async t => {
    const {db} = await create(t)
    await using queue = await JobQueue.open({db})
    const job = {func: 'F', uniqkey: 'k', uniqFor: '1h'}
    const {id} = await queue.enqueue('F', {uniqkey: 'k', uniqFor: '1h'})
    const refused = (where: string) => (error: DuplicateJobError) => {
      assert.deepEqual([error.existingId, error.takenUntil], [id, null])
      assert.equal(
        error.message,
        `${where}refused: a job of F with uniqkey "k" is already waiting (job ${id})`,
      )
      return true
    }
    await assert.rejects(queue.enqueue('F', {uniqkey: 'k', uniqFor: '1h'}), refused(''))
    await assert.rejects(queue.enqueueMany([{func: 'G'}, job]), refused('job 2: uniqkey: '))
    await queue.cancel(id)
    const taken = /^job 2: uniqkey: refused: uniqkey "k" of F is taken until \S+Z \(job \d+\)$/
    await assert.rejects(queue.enqueueMany([{func: 'G'}, job]), ({message}: Error) => taken.test(message))
  })
