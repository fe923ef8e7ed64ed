/**
 * Whatever comes in over a socket: on the line between the dispatcher and a worker's process, at the admin
 * port. The dispatcher goes on, settles its jobs, and answers the next one.
 */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {connect, createServer, type Socket} from 'node:net'
import {join} from 'node:path'
import {text} from 'node:stream/consumers'
import {test} from 'node:test'
import fc from 'fast-check'
import {Channel} from '../../src/lib/work/executors/channel.ts'
import {fuzz, nastyJson, nastyText} from '../support/fuzz.ts'
import {freePort} from '../support/machine.ts'
import {Site} from '../support/manager.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const line = fc.oneof(
  nastyJson.map(value => JSON.stringify(value)),
  nastyText,
  fc.uint8Array({maxLength: 20}).map(bytes => Buffer.from(bytes).toString('latin1')),
  fc.constantFrom('', '{', '[]', '{"kind":"ended"}', '\r', 'null'),
)

test('a line is a message or nonsense, however it is cut', async t => {
  const server = createServer().listen(join(tempFolder(t), 'sock'))
  t.after(() => server.close())
  await once(server, 'listening')
  const input = fc.tuple(fc.array(line, {maxLength: 5}), fc.array(fc.nat(40), {maxLength: 4}))
  await fuzz(t, [300, 6000], input, async ([lines, cuts]) => {
    const client = connect(server.address() as string)
    const [socket] = (await once(server, 'connection')) as [Socket]
    const heard: unknown[] = []
    const closed = new Promise<void>(onClose => {
      new Channel(socket, {
        onMessage: message => heard.push({message}),
        onNonsense: nonsense => heard.push({nonsense}),
        onClose,
      })
    })
    const bytes = Buffer.from(lines.map(each => `${each}\n`).join(''))
    let at = 0
    for (const cut of cuts) {
      client.write(bytes.subarray(at, at + cut))
      at += cut
    }
    client.end(bytes.subarray(at))
    await closed
    assert.equal(heard.length, bytes.toString('utf8').split('\n').length - 1)
    return heard.length
  })
})

/** What a job may try that knows how workers speak. */
const said = fc.oneof(
  line,
  fc
    .record(
      {
        kind: fc.constantFrom('ended', 'free', 'retry', 'loaded', 'loading', 'refused'),
        run: fc.constantFrom(0, 1, 2, 3, -1, 1.5),
        rss: fc.constantFrom(0, -1, 'x'),
        outcome: fc.record({
          kind: fc.constantFrom('completed', 'failed', 'aborted', 'replaced', 'released', 'died'),
          ...{message: nastyText, reason: nastyText, how: nastyText},
          ...{retryIn: fc.constantFrom(null, 0, 2 ** 32), jobs: nastyJson},
        }),
        ...{failure: nastyText, file: nastyText, message: nastyText, hint: nastyText, retryIn: fc.nat()},
        ...{workers: nastyJson, hasPlugins: fc.boolean()},
      },
      {requiredKeys: ['kind']},
    )
    .map(message => JSON.stringify(message)),
)

test('what jobs write to the line of their own process harms no other', async t => {
  const site = new Workplace(t, {
    Speaks: `import {writeSync} from 'node:fs'
      export default {serializer: 'none', work: job => { writeSync(3, job.arg); return new Promise(() => {}) }}`,
    Next: `export default {work() {}}`,
  })
  const saying = fc
    .array(said, {minLength: 1, maxLength: 2})
    .map(lines => lines.map(each => `${each}\n`).join(''))
  const together = fc.array(saying, {minLength: 6, maxLength: 6})
  await fuzz(t, [1, 10], together, async texts => {
    await site.enqueue(
      ...texts.map((arg): [string, object] => [
        'Speaks',
        {arg: Buffer.from(arg), serializer: 'none', priority: 1},
      ]),
      ...texts.map((): [string] => ['Next']),
    )
    site.rows('UPDATE job SET grabbed_until = 0') // as they came
    const {code, stdout, stderr} = await site.drain(
      '--max-workers',
      '4',
      '--max-time',
      '20s',
      '--shutdown-timeout',
      '0',
    )
    assert.doesNotMatch(stderr, /^\s+at .*:\d+:\d+\)?$|unexpected: /m)
    assert.ok([0, 5, 143].includes(code!), `${code}: ${stdout}${stderr}`)
    assert.equal(stderr.match(/ Next completed /g)?.length, texts.length, stderr)
    site.rows('DELETE FROM job')
    return code
  })
})

test('the admin port takes whatever is sent to it, and answers the next one', async t => {
  const site = new Site(t, {'workers/Nap.js': 'export default {work() {}}'})
  const port = await freePort()
  const manager = site.work('--admin-port', String(port))
  await manager.logs(/works Nap/)
  const input = fc.tuple(
    fc.uint8Array({maxLength: 200}),
    fc.constantFrom('end', 'destroy', 'reset', 'flood', 'stay'),
  )
  const staying: Socket[] = []
  t.after(() => {
    for (const socket of staying) socket.destroy()
  })
  await fuzz(t, [150, 4000], input, async ([bytes, how]) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {}) // it may be hung up on in the midst of what it sends
    const closed = new Promise(resolve => socket.once('close', resolve))
    socket.write(bytes)
    if (how === 'flood') for (let i = 0; i < 20; i++) socket.write(Buffer.alloc(10_000, bytes[0] ?? 0))
    if (how === 'stay') return void staying.push(socket)
    if (how === 'reset') socket.resetAndDestroy()
    else if (how === 'destroy') socket.destroy()
    else socket.resume().end()
    await closed
    return how
  })
  for (const socket of staying) socket.destroy()
  await until('it answers again', async () =>
    /^[A_.]( [A_.])*\n$/.test(await text(connect(port, '127.0.0.1')).catch(() => '')),
  )
  await site.enqueue('Nap', 1)
  await manager.logs(/ Nap completed /)
  assert.doesNotMatch(manager.log, /^\s+at .*:\d+:\d+\)?$|unexpected: /m)
  assert.equal(await manager.end(), 0)
})
