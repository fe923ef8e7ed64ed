/** An address with a primary and its standby: who is written to before a promotion, after it, and when two say they are it. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import pg from 'pg'
import {TransactionError} from '../../src/lib/jobs/errors.ts'
import {postgresStore} from '../../src/lib/store/postgres/store.ts'
import {withHosts} from '../../src/lib/store/shared/host-list.ts'
import {postgresMissing, StandbyPair} from '../support/standby.ts'
import {isStoreError, newJob, want} from '../support/store.ts'
import {until} from '../support/until.ts'

const missing = postgresMissing()

test('a primary and its standby', {skip: missing ?? false}, async t => {
  const pair = await StandbyPair.start()
  t.after(() => pair.stop())
  const {primary, standby} = pair
  const addressOf = (...nodes: (typeof primary)[]) =>
    withHosts(
      primary.url,
      nodes.map(({url}) => new URL(url).host),
    )
  const open = (...nodes: (typeof primary)[]) => {
    const store = postgresStore(addressOf(...nodes), 'NAME')
    t.after(() => store.close())
    return store
  }
  const count = async (node: typeof primary) =>
    Number((await node.query('SELECT count(*) FROM job'))[0]!.count)
  const store = open(standby, primary)
  let rings = 0
  const watch = store.watch(() => rings++)
  t.after(() => watch.close())

  await t.test('the standby is passed over, though it comes first', async () => {
    await store.init()
    await store.enqueue(newJob())
    assert.equal((await store.turn([], want())).jobs.length, 1)
    await until('it listens', () => rings > 0)
    assert.deepEqual(await store.warnings(true), [])
  })

  await t.test('so is it for a job in a transaction of one’s own: refused, with the reason', async () => {
    const client = new pg.Client(standby.url)
    client.on('error', () => {}) // its server is killed below
    await client.connect()
    t.after(() => client.end().catch(() => {}))
    await client.query('BEGIN')
    await assert.rejects(
      store.enqueueWithin(client, newJob()),
      error =>
        error instanceof TransactionError &&
        /takes no writes \(cannot execute \w+ in a read-only transaction\)$/.test(error.message),
    )
    await client.query('ROLLBACK')
  })

  await t.test('where neither takes writes, both are named', async () => {
    await primary.kill()
    await assert.rejects(
      store.enqueue(newJob()),
      error =>
        isStoreError('UNREACHABLE')(error) &&
        /^no host of NAME takes writes \(\S+: it is a standby, which takes no writes; \S+: connect ECONNREFUSED \S+\)$/.test(
          (error as Error).message,
        ),
    )
  })

  await t.test('after a promotion all goes on there, what listens as well', async () => {
    await standby.promote()
    await store.enqueue(newJob())
    assert.equal(await count(standby), 2)
    await until('it listens there', async () => {
      const before = rings
      await standby.query("SELECT pg_notify('jobq_public', '')")
      return rings > before
    })
    assert.match((await store.warnings(false)).join(), /^its standbys are asynchronous/)
  })

  await t.test('an old primary that returns is not written to, though it comes first', async () => {
    await primary.start()
    await primary.standAlone()
    const fresh = open(primary, standby)
    for (const each of [store, fresh]) await each.enqueue(newJob())
    assert.deepEqual([await count(primary), await count(standby)], [1, 4])
  })
})
