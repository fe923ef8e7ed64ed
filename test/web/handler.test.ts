/** `webHandler` in an application: by Request and Response, and by node:http, at a path of its own. */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {join} from 'node:path'
import {type TestContext, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {type WebOptions, webHandler} from '../../src/lib/web.ts'
import {tempFolder} from '../support/temp.ts'
import {fromTools, missingTools} from '../support/tools.ts'
import {until} from '../support/until.ts'
import {answerOf, TOKEN} from './site.ts'

/** What is used of Express, whose types are not at hand. */
interface Express {
  use(
    handler: (request: IncomingMessage & {user?: string}, response: ServerResponse, next: () => void) => void,
  ): void
  use(path: string, handler: (request: IncomingMessage, response: ServerResponse) => void): void
  listen(port: number, host: string): Server
}

const HOST = 'www.example.com'
const OWN = {origin: `https://${HOST}`, 'sec-fetch-site': 'same-origin'}

async function setUp(t: TestContext, options: WebOptions) {
  const queue = await JobQueue.open({db: join(tempFolder(t), 'jobs.db'), config: '/dev/null', durable: false})
  const web = webHandler(queue, {hosts: [HOST], ...options})
  t.after(async () => {
    await web.close()
    await queue.close()
  })
  const get = (path: string, headers: Record<string, string> = {}) =>
    web.fetch(new Request(`https://${HOST}${path}`, {headers}))
  const post = (path: string, body: string | URLSearchParams, headers: Record<string, string> = {}) =>
    web.fetch(new Request(`https://${HOST}${path}`, {method: 'POST', body, headers: {...OWN, ...headers}}))
  return {queue, web, get, post}
}

test('at a path of its own: every link, form and redirect stays below it', async t => {
  const {queue, get, post} = await setUp(t, {basePath: '/admin/jobq/', authorize: () => 'Anna'})
  const {id} = await queue.enqueue('Work', {delay: 60})
  for (const path of ['', '/', '/jobs', `/jobs/${id}`, '/failures', '/pauses', '/schedules', '/log']) {
    const answer = await get(`/admin/jobq${path}`)
    assert.equal(answer.status, 200, path)
    const links = [
      ...(await answer.text()).matchAll(/(?:href|src|action|data-live|data-follow)="([^"#][^"]*)"/g),
    ]
    assert.ok(links.length > 10)
    for (const [, link] of links) assert.match(link!, /^\/admin\/jobq(\/|$)/)
  }
  for (const path of ['/', '/jobs', '/admin', '/admin/jobqq/', '/admin/jobq2', '/other/admin/jobq/'])
    assert.equal((await get(path)).status, 404, path)
  const form = new URLSearchParams({do: 'cancel', job: String(id), back: '/jobs?state=delayed'})
  const done = await post('/admin/jobq/actions', form)
  assert.match(done.headers.get('location')!, /^\/admin\/jobq\/jobs\?state=delayed&run=[\w-]+$/)
  const [action] = (await (await get('/admin/jobq/log', {accept: 'application/json'})).json()) as {
    who: string
  }[]
  assert.equal(action!.who, 'Anna')
  const asset = /src="([^"]+)"/.exec(await (await get('/admin/jobq/')).text())![1]!
  assert.equal((await get(asset)).status, 200)
})

test('who may come in is asked at each request, and what is null is nobody', async t => {
  const asked: string[] = []
  const {queue, get, post} = await setUp(t, {
    authorize: async request => {
      asked.push(new URL(request.url).pathname)
      return request.headers.get('x-team') === 'blue' ? 'blue team' : null
    },
  })
  assert.equal((await get('/jobs')).status, 403)
  assert.equal((await get('/jobs', {'x-team': 'blue'})).status, 200)
  assert.equal((await get('/login', {'x-team': 'blue'})).status, 404)
  assert.deepEqual(asked, ['/jobs', '/jobs', '/login'])
  assert.equal((await get('/healthz')).status, 200)
  const send = (headers: Record<string, string>) =>
    post('/jobs', '{"func":"Work"}', {'content-type': 'application/json', ...headers})
  assert.equal((await send({})).status, 403)
  assert.equal((await send({'x-team': 'blue'})).status, 201)
  assert.equal((await send({'x-team': 'blue', origin: 'https://evil.com'})).status, 403)
  assert.equal(await queue.count(), 1)
})

test('whoever has no name is nobody, whatever authorize answers instead', async t => {
  const told: string[] = []
  let answer: unknown
  const {queue, get, post} = await setUp(t, {
    authorize: () => answer as null,
    onTrouble: message => told.push(message),
  })
  for (answer of [null, undefined, false, 0, '', ' ', true, {name: 'ada'}]) {
    assert.equal((await get('/jobs')).status, 403, String(answer))
    const job = await post('/jobs', '{"func":"Work"}', {'content-type': 'application/json'})
    assert.equal(job.status, 403, String(answer))
    const action = await post('/actions', new URLSearchParams({do: 'pause', everything: '1', confirm: '1'}))
    assert.equal(action.status, 403, String(answer))
  }
  assert.deepEqual(await queue.paused(), [])
  assert.equal(await queue.count(), 0)
  assert.deepEqual(
    [...new Set(told)],
    [
      'authorize: expected a name or null, got boolean: refused',
      'authorize: expected a name or null, got object: refused',
    ],
  )
})

test('what authorize throws is told as its own, and not shown', async t => {
  const told: string[] = []
  const {get} = await setUp(t, {
    authorize: () => {
      throw new Error('the directory is down: secret')
    },
    onTrouble: message => told.push(message),
  })
  const answer = await get('/')
  assert.equal(answer.status, 500)
  assert.doesNotMatch(await answer.text(), /secret|handler\.ts/)
  assert.deepEqual(told, ['authorize threw: the directory is down: secret'])
})

test('the queue stays the application’s: it is open when the pages are closed', async t => {
  const {queue, web, get} = await setUp(t, {token: TOKEN})
  await web.close()
  assert.equal((await queue.enqueue('Work')).func, 'Work')
  await queue.close()
  const answer = await get('/jobs', {authorization: `Bearer ${TOKEN}`})
  assert.equal(answer.status, 503)
})

test('a stream ends when its reader goes, and when the pages are closed', async t => {
  const {queue, web, get} = await setUp(t, {authorize: () => 'me'})
  const first = await get('/live')
  await first.body!.cancel()
  const second = await get('/live')
  const reader = second.body!.getReader()
  let text = ''
  const read = (async () => {
    for (;;) {
      const {done, value} = await reader.read()
      if (done) return
      text += Buffer.from(value).toString()
    }
  })()
  await until('it begins', () => text.startsWith('retry: '))
  await until('a change is told', async () => {
    await queue.enqueue('Work')
    return text.includes('event: change')
  })
  await web.close()
  await read
})

test('by Express, at a path of its own and behind a login of its own', {skip: missingTools}, async t => {
  const {queue, web} = await setUp(t, {
    basePath: '/jobq',
    authorize: async (_request, incoming) => (incoming as {user?: string} | undefined)?.user ?? null,
  })
  const {id} = await queue.enqueue('Work', {delay: 60})
  const {default: express} = (await fromTools('express')) as {default: () => Express}
  const app = express()
  app.use((request, _response, next) => {
    if (request.headers.cookie === 'session=7') request.user = 'Ada'
    next()
  })
  app.use('/jobq', web.node)
  const server = app.listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jobq`
  const headers = {cookie: 'session=7'}
  assert.equal((await answerOf(`${url}/jobs`)).status, 403)
  const page = await answerOf(`${url}/jobs/${id}`, {headers})
  assert.equal(page.status, 200)
  assert.match(page.text, /href="\/jobq\/jobs"/)
  const body = new URLSearchParams({do: 'cancel', job: String(id)})
  const done = await fetch(`${url}/actions`, {
    method: 'POST',
    body,
    headers: {...headers, origin: new URL(url).origin},
    redirect: 'manual',
  })
  assert.equal(done.status, 303)
  assert.equal(await queue.count(), 0)
  const log = await fetch(`${url}/log`, {headers: {...headers, accept: 'application/json'}})
  assert.equal(((await log.json()) as {who: string}[])[0]!.who, 'Ada')
})

test('by node:http, for a server that has other pages, too', async t => {
  const {queue, web} = await setUp(t, {basePath: '/jobq', token: TOKEN})
  const {node} = web // as Express would be given it
  await queue.enqueue('Work')
  const server = createServer((request, response) => {
    if (request.url?.startsWith('/jobq')) node(request, response)
    else response.end('elsewhere')
  })
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  assert.equal((await answerOf(`${url}/other`)).text, 'elsewhere')
  const headers = {authorization: `Bearer ${TOKEN}`}
  assert.match((await answerOf(`${url}/jobq/jobs`, {headers})).text, /Work/)
  const head = await answerOf(`${url}/jobq/jobs`, {headers, method: 'HEAD'})
  assert.deepEqual([head.status, head.text], [200, ''])
  for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS'])
    assert.equal((await answerOf(`${url}/jobq/jobs`, {headers, method})).status, 405)
})

test('options that can not be meant are refused', async t => {
  const queue = await JobQueue.open({db: ':memory:', config: '/dev/null'})
  t.after(() => queue.close())
  for (const [options, says] of [
    [{}, /expected token or authorize, got neither/],
    [{token: TOKEN, authorize: () => 'x'}, /expected token or authorize, got both/],
    [{token: 'short'}, /token: expected at least 16 .*, got 5 characters/],
    [{token: `${TOKEN} x`}, /without blanks/],
    [{token: TOKEN, basePath: 'jobq'}, /basePath: expected a path such as \/jobq/],
    [{token: TOKEN, basePath: '/a/../b'}, /basePath: expected a path/],
    [{token: TOKEN, hosts: ['https://x.org']}, /hosts: expected a name such as/],
    [{token: TOKEN, readonly: true}, /unknown option readonly/],
    [{token: TOKEN, readOnly: 'yes'}, /readOnly: expected true or false/],
  ] as const) {
    assert.throws(() => webHandler(queue, options as WebOptions), says)
  }
})
