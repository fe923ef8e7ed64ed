/** The log of actions: kept before they begin, counted as they go on, told newest first. */
import assert from 'node:assert/strict'
import {MAX_ACTION_LENGTH} from '../../../src/lib/jobs/side-tables/actions.ts'
import {countOf, type Tests} from './bench.ts'

export const actions: Tests = {
  'an action is there before it begins, and says how far it came': async ({db, store, another}) => {
    assert.deepEqual(await store.actions({limit: 10}), [])
    const before = await db.now()
    const said = {who: 'Ünal "x" \'y\' \\', what: `é🎈${'x'.repeat(MAX_ACTION_LENGTH - 2)}`}
    const row = await store.logAction(said)
    const [kept, ...none] = await (await another()).actions({limit: 10})
    const {doneAt, ...rest} = kept!
    assert.deepEqual([rest, none], [{...said, id: row.id, jobs: 0}, []])
    assert.ok(doneAt >= before && doneAt <= (await db.now()))
    await store.countAction(row, 3_000_000_000)
    assert.deepEqual(await store.actions({limit: 10}), [{...kept, jobs: 3_000_000_000}])
    assert.equal(await countOf(db, 'jobq_action'), 1)
  },

  'newest first, in pages, each on behind a row that was told': async ({store}) => {
    const rows = []
    for (let i = 0; i < 5; i++) rows.unshift(await store.logAction({who: 'me', what: `no ${i}`}))
    const ids = async (page: Parameters<typeof store.actions>[0]) =>
      (await store.actions(page)).map(({id}) => id)
    const all = rows.map(({id}) => id)
    assert.deepEqual(await ids({limit: 10}), all)
    assert.deepEqual(await ids({limit: 2}), all.slice(0, 2))
    for (const [i, {id}] of rows.entries())
      assert.deepEqual(await ids({limit: 2, after: [{id}]}), all.slice(i + 1, i + 3))
  },
}
