/**
 * A Galera cluster as the engine: three `jobq work`, two that enqueue, and nodes that are killed, stand still, come back,
 * and lose each other. What was acknowledged is kept outside (test/support/cluster-load.ts): nothing of it is lost, nothing is stored
 * twice, and nothing runs twice but what was cut off from its worker. One cluster for all tests: it takes a while to start.
 */
import assert from 'node:assert/strict'
import {after, before, describe, type TestContext, test} from 'node:test'
import {setTimeout as sleep} from 'node:timers/promises'
import {MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {ClusterLoad} from '../support/cluster-load.ts'
import {Galera, type GaleraNode, galeraMissing} from '../support/galera.ts'
import {newJob} from '../support/store.ts'
import {until} from '../support/until.ts'

/** So long a node is stopped: longer than its clients wait for an answer. */
const STOPPED_MS = 20_000
const PARAMETERS = '?answer-timeout=5&connect-timeout=3'
const ROTATED = [
  [0, 1, 2],
  [1, 2, 0],
  [2, 0, 1],
]

const missing = galeraMissing()

describe('a Galera cluster', {skip: missing ?? false}, () => {
  let galera: Galera
  let [a, b, c] = [] as unknown as [GaleraNode, GaleraNode, GaleraNode]

  before(async () => {
    galera = await Galera.start()
    ;[a, b, c] = galera.nodes as [GaleraNode, GaleraNode, GaleraNode]
  })
  after(() => galera?.stop())

  async function load(t: TestContext, name: string, orders: readonly number[][]): Promise<ClusterLoad> {
    await a.query(`CREATE DATABASE ${name}`)
    const load = new ClusterLoad(t)
    const urls = orders.map(order => galera.url(name, order) + PARAMETERS)
    await load.init(urls[0]!)
    await load.start({workers: urls, enqueuers: urls.slice(1)})
    return load
  }

  test('with a writer on each node: one is killed, comes back; one stands still for 20 s', async t => {
    const jobs = await load(t, 'rotated', ROTATED)
    t.diagnostic(`at first: the longest wait ${jobs.stall()}`)
    await b.kill()
    await jobs.goesOn('without a node')
    t.diagnostic(`a node killed: ${jobs.stall()}`)
    await b.start()
    await jobs.goesOn('with it again')
    t.diagnostic(`it comes back: ${jobs.stall()}`)
    c.pause()
    await sleep(STOPPED_MS)
    await jobs.goesOn('while one stands still')
    c.resume()
    await c.isSynced()
    await jobs.goesOn('when it goes on')
    t.diagnostic(`a node stands still for 20 s: ${jobs.stall()}`)
    t.diagnostic(await jobs.drain())
  })

  test('with one writer: it is killed, and the quorum is lost and mended', async t => {
    const jobs = await load(t, 'one_writer', [
      [0, 1, 2],
      [0, 1, 2],
      [0, 1, 2],
    ])
    t.diagnostic(`at first: the longest wait ${jobs.stall()}`)
    await a.kill()
    await jobs.goesOn('without the writer')
    t.diagnostic(`the writer killed: ${jobs.stall()}`)
    await b.kill()
    await until('the last node knows that it is alone', async () => (await c.status('wsrep_ready')) === 'OFF')
    await c.query(`SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'`)
    await jobs.goesOn('on the one that is left')
    t.diagnostic(`the quorum lost and mended: ${jobs.stall()}`)
    await Promise.all([a.start(), b.start()])
    await jobs.goesOn('with all')
    t.diagnostic(`all are back: ${jobs.stall()}`)
    t.diagnostic(await jobs.drain())
  })

  test('a connection to another node sees all that was acknowledged before', async t => {
    await a.query('CREATE DATABASE seen')
    const here = new MysqlStore(galera.url('seen', [0, 1]), 'here')
    const there = new MysqlStore(galera.url('seen', [1, 0]), 'there')
    t.after(() => Promise.all([here.close(), there.close()]))
    await here.init()
    await here.enqueue(newJob())
    const held = await b.hold()
    t.after(() => held.release())
    const {id} = await here.enqueue(newJob())
    let isListed = false
    const listed = there.list({limit: 9, offset: 0}).then(jobs => {
      isListed = true
      return jobs.map(job => job.id)
    })
    await until('it waits for what is on its way', () => b.isWaitedFor())
    assert.equal(isListed, false)
    await held.release()
    assert.ok((await listed).includes(id))
  })
})
