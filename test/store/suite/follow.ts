/** What a job that runs has written is told to who follows it, and nothing of that stays. */
import assert from 'node:assert/strict'
import type {Written} from '../../../src/lib/jobs/side-tables/orders.ts'
import {FOLLOWED_ROWS} from '../../../src/lib/jobs/side-tables/orders.ts'
import {
  assertBytes,
  BYTES,
  countOf,
  leaseOf,
  newJob,
  type TestDatabase,
  type Tests,
  takeOne,
  want,
} from './bench.ts'

const written = (id: number, text: string | Uint8Array, isCut = false): Written => ({
  id,
  bytes: typeof text === 'string' ? Buffer.from(text) : text,
  isCut,
})
const left = async (db: TestDatabase) => [await countOf(db, 'jobq_order'), await countOf(db, 'jobq_output')]

export const following: Tests = {
  'what is told is read once, in its order, on another host; it goes with the order': async ({
    db,
    store,
    another,
  }) => {
    const {id} = await store.enqueue(newJob())
    const other = await another()
    const order = await other.follow({id})
    assert.equal(order.isHeard, false)
    assert.deepEqual(await store.orders(), [{id, what: 'follow'}])
    assert.equal((await store.hear([{id, what: 'follow'}])).length, 1)
    assert.equal((await other.follow({id}, order.orderedAt)).isHeard, true)
    await store.tell([written(id, BYTES), written(id, 'two', true), written(id + 1, 'nobody asks')])
    const [first, second, ...more] = await other.told({id}, 0)
    assertBytes(first!.bytes, BYTES)
    assert.deepEqual(
      [Buffer.from(second!.bytes).toString(), first!.isCut, second!.isCut, more],
      ['two', false, true, []],
    )
    await store.tell([written(id, 'three')])
    const [third, ...none] = await other.told({id}, second!.at)
    assert.deepEqual([Buffer.from(third!.bytes).toString(), none], ['three', []])
    assert.deepEqual((await store.history(id))!.attempts, [])
    await other.unfollow({id}, (await other.follow({id})).orderedAt)
    assert.deepEqual(await left(db), [0, 0])
    await store.tell([written(id, 'too late')])
    assert.deepEqual(await left(db), [0, 0])
  },

  'of much only the last stays': async ({store}) => {
    const {id} = await store.enqueue(newJob())
    await store.follow({id})
    for (let i = 0; i < FOLLOWED_ROWS + 5; i++) await store.tell([written(id, String(i))])
    const told = await store.told({id}, 0)
    assert.deepEqual(
      [told.length, Buffer.from(told.at(-1)!.bytes).toString()],
      [FOLLOWED_ROWS, String(FOLLOWED_ROWS + 4)],
    )
  },

  'an order that someone else has given since stays; one that nobody gives any more goes': async ({
    db,
    store,
  }) => {
    const {id} = await store.enqueue(newJob())
    const {orderedAt} = await store.follow({id})
    await store.tell([written(id, 'x')])
    await store.unfollow({id}, orderedAt - 1)
    await store.forgetFollowed()
    assert.deepEqual(await left(db), [1, 1])
    await db.run('UPDATE jobq_order SET ordered_at = ordered_at - 100')
    await store.forgetFollowed()
    assert.deepEqual(await left(db), [0, 0])
  },

  'who orders is told whether someone else does; of two in one second, the first takes back nothing': async ({
    db,
    store,
    another,
  }) => {
    const {id} = await store.enqueue(newJob())
    const other = await another()
    const first = await store.follow({id})
    const second = await other.follow({id})
    assert.deepEqual([first.isShared, second.isShared], [false, true])
    await store.tell([written(id, 'x')])
    await store.unfollow({id}, first.orderedAt)
    assert.deepEqual(await left(db), [1, 1])
    const again = await other.follow({id}, second.orderedAt)
    assert.equal(again.isShared, false)
    assert.equal((await store.follow({id}, first.orderedAt)).isShared, true)
  },

  'of those that order at once, all but one are told of another': async ({store, another}) => {
    const {id} = await store.enqueue(newJob())
    const stores = [store, await another(), await another()]
    const orders = await Promise.all(stores.map(each => each.follow({id})))
    assert.equal(orders.filter(({isShared}) => !isShared).length, 1)
    assert.equal(new Set(orders.map(({orderedAt}) => orderedAt)).size, orders.length)
  },

  'a job that ends, or is cancelled, takes no word from who follows it': async ({db, store}) => {
    const {id} = await store.enqueue(newJob())
    await store.follow({id})
    const job = await takeOne(store)
    await store.tell([written(id, 'last')])
    await store.turn([{lease: leaseOf(job), outcome: {kind: 'completed'}}], want([], 0))
    await store.forgetOrders([{id}])
    await store.cancel([{id}])
    assert.equal((await store.told({id}, 0)).length, 1)
    assert.deepEqual(await left(db), [1, 1])
  },
}
