/** What comes while a dispatcher looks at the store is not missed: it is woken for another look. */
import assert from 'node:assert/strict'
import {type TestContext, test} from 'node:test'
import {openSqlite} from '../../src/lib/store/sqlite/store.ts'
import type {Store} from '../../src/lib/store/store.ts'
import {Orders} from '../../src/lib/work/orders.ts'
import {SideTables} from '../../src/lib/work/side-tables.ts'
import {newJob} from '../support/store.ts'
import {tempFolder} from '../support/temp.ts'

/** A store of which the first answer to this call is old before it arrives. */
async function slow(
  t: TestContext,
  call: 'orders' | 'beside',
  meanwhile: (store: Store) => Promise<unknown>,
) {
  const store = await openSqlite(`${tempFolder(t)}/jobs.db`)
  t.after(() => store.close())
  const read = store[call].bind(store) as () => Promise<unknown>
  let isFirst = true
  const late = async () => {
    const found = await read()
    if (isFirst) await meanwhile(store)
    isFirst = false
    return found
  }
  return Object.assign(store, {[call]: late})
}

test('an order that is given while they are read', async t => {
  const store = await slow(t, 'orders', async store => {
    const {id} = await store.enqueue(newJob())
    await store.turn([], {funcs: ['Work'], limit: 1, lease: 60, fair: false})
    await store.cancel([{id}])
    orders.ring()
  })
  const woken: boolean[] = []
  const orders = new Orders(store, () => woken.push(true))
  t.after(() => orders.stop())
  await orders.look()
  assert.deepEqual([woken.length, orders.areAny], [1, false])
  await orders.look()
  assert.equal(orders.areAny, true)
})

test('a job that is to expire, and comes while it is asked when the next one does', async t => {
  const store = await slow(t, 'beside', async store => {
    await store.enqueue(newJob('Work', {expires: 3600}))
    tables.ring()
  })
  const woken: boolean[] = []
  const tables = new SideTables(
    store,
    () => woken.push(true),
    () => {},
  )
  t.after(() => tables.stop())
  await tables.look()
  assert.deepEqual([woken.length, tables.isKept], [1, false])
  await tables.look()
  assert.equal(tables.isKept, true)
})
