/**
 * Who is told the password: a server that asks for it and is neither on this machine nor known by TLS is not, unless the
 * address says so. The servers here speak just enough of their protocols to ask.
 */
import assert from 'node:assert/strict'
import {constants, generateKeyPairSync, privateDecrypt} from 'node:crypto'
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import {type AddressInfo, createServer, type Socket} from 'node:net'
import {networkInterfaces} from 'node:os'
import {describe, type TestContext, test} from 'node:test'
import {TLSSocket} from 'node:tls'
import {fileURLToPath} from 'node:url'
import {StoreError} from '../../src/lib/jobs/errors.ts'
import {prepareMysql} from '../../src/lib/store/mysql/store.ts'
import {postgresHosts} from '../../src/lib/store/postgres/connections/connection.ts'
import {Listener} from '../../src/lib/store/postgres/connections/watch.ts'
import {preparePostgres} from '../../src/lib/store/postgres/init.ts'
import {isLoopback} from '../../src/lib/store/shared/peer.ts'
import {timeoutsOf} from '../../src/lib/store/shared/silence.ts'
import {Home} from '../support/home.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

/** Of db.example.com, with its key, signed by itself. */
const CERTIFICATE = fileURLToPath(new URL('../fixtures/db.example.com.pem', import.meta.url))
const PASSWORD = 'hunter2'
const LOCAL = '127.0.0.1'
/** Another address of this machine: to a client it is as far away as any. */
const FAR = Object.values(networkInterfaces())
  .flatMap(addresses => addresses ?? [])
  .find(({internal, family}) => !internal && family === 'IPv4')?.address
const skip = FAR === undefined && 'this machine has no address but its own'

const KEYS = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: {type: 'spki', format: 'pem'},
  privateKeyEncoding: {type: 'pkcs8', format: 'pem'},
})
const OTHER_KEYS = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: {type: 'spki', format: 'pem'},
  privateKeyEncoding: {type: 'pkcs8', format: 'pem'},
})

test('loopback is what the system says it is', () => {
  for (const address of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])
    assert.ok(isLoopback(address), address)
  for (const address of ['10.0.0.1', '192.168.127.1', '::2', 'fe80::1', '::ffff:10.0.0.1', '', undefined])
    assert.ok(!isLoopback(address), address)
})

describe('MySQL', {concurrency: 4, skip}, () => {
  for (const plugin of ['caching_sha2_password', 'sha256_password']) {
    test(`${plugin}, from afar: not told, and what to do`, async t => {
      const server = await mysql(t, plugin)
      await assertNotTold(asked(server.url(FAR!), 'there'), server, /ssl=true.*server-public-key-path/)
    })

    test(`${plugin}, TLS as it comes: not told`, async t => {
      const server = await mysql(t, plugin)
      await assertNotTold(asked(server.url(FAR!, '?ssl-mode=PREFERRED'), 'there'), server, /ssl=true/)
    })

    test(`${plugin}, on this machine: told`, async t => {
      const server = await mysql(t, plugin)
      await assert.rejects(asked(server.url(LOCAL), 'here'), /Access denied/)
      assert.deepEqual(server.told, [PASSWORD])
    })

    for (const query of ['?ssl-mode=DISABLED', '?ssl=false'])
      test(`${plugin}, from afar, with ${query}: told`, async t => {
        const server = await mysql(t, plugin)
        await assert.rejects(asked(server.url(FAR!, query), 'there'), /Access denied/)
        assert.deepEqual(server.told, [PASSWORD])
      })

    test(`${plugin}, from afar, with the server's public key: only who has the other half can read it`, async t => {
      const home = new Home(t)
      const key = home.write('public_key.pem', KEYS.publicKey)
      const server = await mysql(t, plugin)
      const query = `?server-public-key-path=${key}`
      await assert.rejects(asked(server.url(FAR!, query), 'there'), /Access denied/)
      assert.deepEqual(server.told, [PASSWORD])
      const another = await mysql(t, plugin, OTHER_KEYS)
      await assert.rejects(asked(another.url(FAR!, query), 'there'), /Access denied/)
      assert.deepEqual(another.told, ['unreadable'])
    })
  }

  for (const host of [LOCAL, FAR!])
    test(`as clear text: not told to ${host === FAR ? 'a server afar' : 'one of this machine'}`, async t => {
      const server = await mysql(t, 'mysql_clear_password')
      await assert.rejects(asked(server.url(host), 'there'), StoreError)
      await server.gone()
      assert.deepEqual(server.told, [])
    })

  test('a file that the server asks for is not sent', async t => {
    const server = await asking(t, 'mysql', (socket, tell) => {
      let isIn = false
      socket.on('data', data => {
        const nth = data[3]! + 1
        if (!isIn) socket.write(packet(nth, [0, 0, 0, 2, 0, 0, 0]))
        else if (data.length > 4 && data[4] !== 3) tell(data.toString('latin1'))
        else socket.write(packet(nth, [0xfb], '/etc/passwd'))
        isIn = true
      })
      socket.write(packet(0, ...greeting('mysql_native_password', 0xf7)))
    })
    await assert.rejects(asked(server.url(LOCAL), 'here'), StoreError)
    await server.gone()
    assert.ok(
      server.told.every(said => !/root:/.test(said)),
      server.told.join(),
    )
  })

  test('a public key that is none is told before anyone is asked', async t => {
    const file = new Home(t).write('key', 'no key')
    const url = `mysql://u@127.0.0.1:1/d?server-public-key-path=`
    await assert.rejects(asked(url + file, 'there'), /server-public-key-path: expected a public key in PEM/)
    await assert.rejects(asked(`${url}${tempFolder(t)}/none`, 'there'), /path: can't read/)
  })
})

describe('PostgreSQL', {concurrency: 4, skip}, () => {
  test('from afar: not told, and what to do', async t => {
    const server = await postgres(t)
    await assertNotTold(reached(server.url(FAR!), 'there'), server, /sslmode=require.*sslmode=disable/)
  })

  test('on this machine: told', async t => {
    const server = await postgres(t)
    await assert.rejects(reached(server.url(LOCAL), 'here'), /authentication failed/)
    assert.deepEqual(server.told, [PASSWORD])
  })

  for (const query of ['?sslmode=disable', '?ssl=false', '?ssl=0'])
    test(`from afar, with ${query}: told`, async t => {
      const server = await postgres(t)
      await assert.rejects(reached(server.url(FAR!, query), 'there'), /authentication failed/)
      assert.deepEqual(server.told, [PASSWORD])
    })

  test('nor is it told by the connection that listens', async t => {
    const server = await postgres(t)
    const listener = new Listener(
      postgresHosts(server.url(FAR!), 'there'),
      timeoutsOf(server.url(FAR!)),
      async () => {},
      () => {},
    )
    const watcher = () => {}
    t.after(() => listener.remove(watcher))
    listener.add(watcher)
    await until('it has come again: so the first is over', () => server.asked > 1)
    assert.deepEqual(server.told, [])
  })
})

test('a certificate for another host is told as that, with both names', async t => {
  const file = encodeURIComponent(CERTIFICATE)
  const says = /^can't trust there: its certificate is for db\.example\.com, 192\.0\.2\.1, not for localhost$/
  for (const [scheme, query, open] of [
    ['mysql', `?ssl=true&ssl-ca=${file}`, asked],
    ['postgres', `?sslmode=require&sslrootcert=${file}`, reached],
  ] as const) {
    const server = await withTls(t, scheme)
    await assert.rejects(open(server.url('localhost', query), 'there'), (error: StoreError) => {
      assert.match(error.message, says)
      assert.match(error.hint, /^write the name that it is for into the address/)
      assert.equal(error.code, 'UNREACHABLE')
      return true
    })
  }
})

/** Connects, and goes. */
function reached(url: string, name: string): Promise<unknown> {
  return preparePostgres(url, name, {dryRun: true})
}

function asked(url: string, name: string): Promise<unknown> {
  return prepareMysql(url, name, {dryRun: true})
}

async function assertNotTold(opened: Promise<unknown>, server: Asking, hint: RegExp): Promise<void> {
  await assert.rejects(opened, (error: StoreError) => {
    assert.equal(error.code, 'UNREACHABLE')
    assert.match(error.message, /^refused to tell there the password: it asks for .* without TLS$/)
    assert.match(error.hint, hint)
    return true
  })
  await server.gone()
  assert.deepEqual(server.told, [])
}

/** A server that asks for passwords, and what it was told. */
interface Asking {
  readonly told: string[]
  readonly asked: number
  url(host: string, query?: string): string
  /** Until nobody is connected: no more will be told. */
  gone(): Promise<void>
}

async function asking(
  t: TestContext,
  scheme: string,
  serve: (socket: Socket, tell: (password: string) => void) => void,
): Promise<Asking> {
  const told: string[] = []
  let asked = 0
  const open = new Set<Socket>()
  const server = createServer(socket => {
    asked++
    open.add(socket)
    socket.on('error', () => {}) // it is left as soon as it asks
    socket.on('close', () => open.delete(socket))
    serve(socket, password => told.push(password))
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  const {port} = server.address() as AddressInfo
  return {
    told,
    get asked() {
      return asked
    },
    url: (host, query = '') => `${scheme}://u:${PASSWORD}@${host}:${port}/d${query}`,
    gone: () => until('nobody is connected', () => open.size === 0),
  }
}

/** Asks for the password itself, encrypted for its key, as for a user whom it has not in its cache. */
function mysql(t: TestContext, plugin: string, keys = KEYS): Promise<Asking> {
  const isCaching = plugin === 'caching_sha2_password'
  return asking(t, 'mysql', (socket, tell) => {
    let nth = 0
    const send = (...parts: Parts) => {
      socket.write(packet(nth++, ...parts))
    }
    const answers = [
      () => send([0xfe], `${plugin}\0`, SCRAMBLE, [0]),
      ...(isCaching ? [() => send([1, 4])] : []),
      (asks: Buffer) => (asks.length === 1 ? send([1], keys.publicKey) : refuse(asks)),
      (encrypted: Buffer) => refuse(encrypted),
    ]
    const refuse = (encrypted: Buffer) => {
      tell(decrypted(encrypted, keys.privateKey))
      send([0xff, 0x15, 0x04], '#28000Access denied')
    }
    socket.on('data', data => {
      nth = data[3]! + 1
      answers.shift()?.(data.subarray(4))
    })
    send(...greeting(plugin, 0xf7))
  })
}

type Parts = (Buffer | string | number[])[]

const SCRAMBLE = Buffer.from('abcdefghijklmnopqrst')

function packet(nth: number, ...parts: Parts): Buffer {
  const body = Buffer.concat(parts.map(part => Buffer.from(part as string)))
  return Buffer.concat([Buffer.from([body.length & 0xff, body.length >> 8, 0, nth]), body])
}

/** @param can the second byte of what the server says it can: 0x08 of it is TLS */
function greeting(plugin: string, can: number): Parts {
  return [
    [10],
    '8.4.0\0',
    [1, 0, 0, 0],
    SCRAMBLE.subarray(0, 8),
    [0, 0xff, can, 255, 2, 0, 0xff, 0xdf, 21, ...Array(10).fill(0)],
    SCRAMBLE.subarray(8),
    [0],
    `${plugin}\0`,
  ]
}

/** Each begins TLS as soon as it is asked to, and says no more. */
function withTls(t: TestContext, scheme: 'mysql' | 'postgres'): Promise<Asking> {
  const pem = readFileSync(CERTIFICATE)
  return asking(t, scheme, socket => {
    socket.once('data', asked => {
      socket.pause()
      if (scheme === 'postgres') socket.write('S')
      else socket.unshift(asked.subarray(4 + asked[0]!)) // what came with it
      new TLSSocket(socket, {isServer: true, key: pem, cert: pem}).on('error', () => {})
    })
    if (scheme === 'mysql') socket.write(packet(0, ...greeting('mysql_native_password', 0xff)))
  })
}

function decrypted(encrypted: Buffer, key: string): string {
  try {
    const padded = privateDecrypt(
      {key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1'},
      encrypted,
    )
    const bytes = padded.map((byte, i) => byte ^ SCRAMBLE[i % SCRAMBLE.length]!)
    return Buffer.from(bytes.subarray(0, -1)).toString()
  } catch {
    return 'unreadable'
  }
}

/** AuthenticationCleartextPassword to whoever comes. */
function postgres(t: TestContext): Promise<Asking> {
  return asking(t, 'postgres', (socket, tell) => {
    socket.once('data', () => {
      socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]))
      socket.once('data', data => {
        tell(data.subarray(5, -1).toString())
        const fields = Buffer.from('SFATAL\0C28P01\0Mpassword authentication failed\0\0')
        socket.end(Buffer.concat([Buffer.from([0x45, 0, 0, 0, fields.length + 4]), fields]))
      })
    })
  })
}
