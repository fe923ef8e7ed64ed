/** An address with the nodes of a Galera cluster: which one is written to, and when it is left. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {Galera, galeraMissing} from '../support/galera.ts'
import {isStoreError, newJob, want} from '../support/store.ts'
import {until} from '../support/until.ts'

/** More than the cluster stands still when a node is lost, in seconds. */
const ANSWER = 4

const missing = galeraMissing()

test('three nodes', {skip: missing ?? false}, async t => {
  const galera = await Galera.start()
  t.after(() => galera.stop())
  const [a, b, c] = galera.nodes as [Node, Node, Node]
  await a.query('CREATE DATABASE jobs')
  const open = (query = '', order?: number[]) => {
    const store = new MysqlStore(`${galera.url('jobs', order)}?answer-timeout=${ANSWER}${query}`, 'NAME', {
      durable: false,
    })
    t.after(() => store.close())
    return store
  }
  const store = open()
  /** Where the stores here are connected to, of those that answer. */
  const used = async () => {
    // The threads that apply what other nodes have written are in it, too, under a name of their own
    const sql = `SELECT 1 FROM information_schema.processlist WHERE db = 'jobs' AND user <> 'system user'`
    const rows = await Promise.all(galera.nodes.map(node => node.query(sql).catch(() => [])))
    return galera.nodes.filter((_, i) => rows[i]!.length > 0).map(({name}) => name)
  }
  /** The one that was gone on to: in the moment in which the cluster stands still, whichever answers first. */
  let next = b
  const taken: number[] = []
  const work = async () => {
    const {jobs} = await store.turn([], want(10))
    taken.push(...jobs.map(({id}) => id))
    return taken
  }

  await t.test('all is written to the first', async () => {
    await store.init()
    for (let i = 0; i < 2; i++) await store.enqueue(newJob())
    await until('they are taken', async () => (await work()).length === 2)
    assert.deepEqual(await used(), [a.name])
    assert.deepEqual(await store.warnings(false), [])
  })

  await t.test(
    'one that is killed is left; nothing that was stored is lost, and nothing is taken twice',
    async () => {
      await a.kill()
      const {id} = await store.enqueue(newJob())
      await until('it is taken', async () => (await work()).includes(id))
      assert.equal(new Set(taken).size, taken.length)
      const names = await used()
      assert.equal(names.length, 1)
      next = names[0] === b.name ? b : c
      assert.equal(names[0], next.name)
      await until('the cluster has noticed', async () => (await next.status('wsrep_cluster_size')) === '2')
      assert.match((await store.warnings(false)).join(), /^its Galera cluster has 2 of at least 3 nodes/)
    },
  )

  await t.test('it is not gone back to, until the other hangs', async () => {
    const third = next === b ? c : b
    a.copyFrom(third)
    await a.start()
    await store.enqueue(newJob())
    assert.deepEqual(await used(), [next.name])
    next.pause()
    assert.deepEqual(await store.paused(), []) // a read is done again
    await store.enqueue(newJob())
    const names = await used()
    assert.ok(names.length === 1 && names[0] !== next.name, String(names))
    next.resume()
    await next.isSynced()
  })

  await t.test(
    'without a majority no node takes writes, which is told of each; with it again all goes on',
    async () => {
      await a.kill()
      await b.kill()
      await until('the last one has noticed', async () => (await c.status('wsrep_ready')) === 'OFF')
      const failure = await store.paused().catch(error => error)
      assert.ok(isStoreError('UNREACHABLE')(failure), String(failure))
      const late = open()
      await assert.rejects(
        late.enqueue(newJob()),
        /^StoreError: no host of NAME takes writes \(.*: (its node is not connected to its cluster \(wsrep_ready\)|WSREP has not yet prepared node for application use)\)$/,
      )
      await c.query(`SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'`)
      await until('it takes writes', () =>
        late.enqueue(newJob()).then(
          () => true,
          () => false,
        ),
      )
      await store.enqueue(newJob())
    },
  )

  await t.test('time-outs that are too short, or too long, are told', async () => {
    const short = new MysqlStore(`${galera.url('jobs')}?answer-timeout=2`, 'NAME')
    t.after(() => short.close())
    assert.match(
      (await short.warnings(true)).join('\n'),
      /stands still for 3 s when it has lost a node, and answer-timeout is 2 s/,
    )
    const long = new MysqlStore(`${galera.url('jobs')}?answer-timeout=30`, 'NAME')
    t.after(() => long.close())
    assert.match((await long.warnings(true)).join('\n'), /left, and the next has answered, after up to 70 s/)
  })
})

type Node = Galera['nodes'][number]
