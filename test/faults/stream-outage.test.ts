/** `jobq enqueue --each` while the connection to its server breaks: the line is told what is known of it, and the next is stored. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {CuttingProxy} from '../support/cutting-proxy.ts'
import {Home} from '../support/home.ts'
import {databaseKinds} from '../support/kinds.ts'

const servers = (await databaseKinds()).filter(({server}) => server !== undefined)

for (const {name, skip, create} of servers)
  test(`${name}: an answer that is lost`, {
    skip,
  }, async t => {
    const {db, query} = await create(t)
    const {hostname, port} = new URL(db)
    const proxy = await CuttingProxy.to(hostname, Number(port || (name === 'MySQL' ? 3306 : 5432)))
    t.after(() => proxy.close())
    const through = Object.assign(new URL(db), {hostname: '127.0.0.1', port: String(proxy.port)}).href
    const home = new Home(t)
    const words = ['enqueue', 'F', '--args-from', '-', '--each', '--db', through]
    const started = home.start(words, {stdin: 'open'})
    const ask = (line: string) => started.child.stdin!.write(`${line}\n`)
    ask('1')
    await started.prints(/^1\n/m)
    proxy.cutAfter = '271828'
    ask('271828')
    await started.prints(/^jobq: line 2: /m)
    ask('3')
    await started.prints(/^3\n/m)
    started.child.stdin!.end()
    const {code, stdout, stderr} = await started.exited
    assert.deepEqual([code, stdout, proxy.cuts], [1, '1\n3\n', 1])
    assert.match(
      stderr,
      /^jobq: line 2: the connection to [^\n]+ broke [^\n]+ may have been stored [^\n]+\n$/,
    )
    const ids = (await query('SELECT id FROM job ORDER BY id')).map(({id}) => Number(id))
    assert.deepEqual(ids, [1, 2, 3])
  })
