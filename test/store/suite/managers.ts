/** The managers' rows: kept, renewed, told, taken away. */
import assert from 'node:assert/strict'
import {FORGOTTEN_SECONDS} from '../../../src/lib/jobs/manager.ts'
import type {Tests} from './bench.ts'

const BEAT = {id: 2 ** 53 - 7, host: 'here', pid: 4711, uptime: 100, state: '{"text":"é\\u0000\'\\\\ 🎈"}'}

export const managing: Tests = {
  'a manager is told of by its last beat, wherever it was first seen': async ({db, store, another}) => {
    await store.beat(BEAT)
    const [first, ...none] = await store.managers()
    const {startedAt, seenAt, now, ...facts} = first!
    assert.deepEqual([facts, none], [{id: BEAT.id, host: 'here', pid: 4711, state: BEAT.state}, []])
    assert.equal(seenAt - startedAt, 100)
    assert.ok(now - seenAt <= 2 && Math.abs(now - (await db.now())) <= 2)
    await db.run('UPDATE jobq_manager SET seen_at = seen_at - 75')
    assert.ok((await store.managers())[0]!.now - (await store.managers())[0]!.seenAt >= 75)
    await (await another()).beat({...BEAT, uptime: 175, state: 'other'})
    const [second, ...more] = await store.managers()
    assert.deepEqual([second!.state, second!.startedAt, more], ['other', startedAt, []])
    assert.ok(second!.seenAt >= seenAt)
  },

  'one that ends takes its own row away, and only that': async ({store}) => {
    await store.beat(BEAT)
    await store.beat({...BEAT, id: 2, uptime: 200})
    await store.leave(BEAT.id)
    await store.leave(BEAT.id)
    assert.deepEqual(
      (await store.managers()).map(({id}) => id),
      [2],
    )
  },

  'one that was not seen for long is taken away by another, and comes back when it beats': async ({
    db,
    store,
  }) => {
    await store.beat(BEAT)
    await store.beat({...BEAT, id: 2})
    await db.run(`UPDATE jobq_manager SET seen_at = seen_at - ${FORGOTTEN_SECONDS + 5}`)
    await store.beat({...BEAT, id: 3})
    const ids = async () => (await store.managers()).map(({id}) => id).sort((a, b) => a - b)
    assert.deepEqual(await ids(), [3])
    await store.beat(BEAT)
    assert.deepEqual(await ids(), [3, BEAT.id])
    await db.run(`UPDATE jobq_manager SET seen_at = seen_at - ${FORGOTTEN_SECONDS + 5}`)
    await store.beat(BEAT)
    assert.deepEqual(await ids(), [BEAT.id])
    await db.run(`UPDATE jobq_manager SET seen_at = seen_at + ${FORGOTTEN_SECONDS + 60}`) // the clock was set back since
    await store.beat({...BEAT, id: 2})
    assert.deepEqual(await ids(), [2])
  },

  'they are told of by their start, and their ids as numbers': async ({db, store}) => {
    for (const id of [10, 9, 2]) await store.beat({...BEAT, id})
    await db.run('UPDATE jobq_manager SET started_at = 1')
    assert.deepEqual(
      (await store.managers()).map(({id}) => id),
      [2, 9, 10],
    )
  },

  'many at once: each has its row': async ({store, another}) => {
    const stores = [store, await another()]
    const beats = Array.from({length: 40}, (_, i) => stores[i % 2]!.beat({...BEAT, id: 1 + (i % 20)}))
    await Promise.all(beats)
    assert.equal((await store.managers()).length, 20)
  },
}
