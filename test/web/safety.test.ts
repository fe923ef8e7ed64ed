/** What attackers send: other sites through a visitor's browser, names that lead here, guesses, floods, markup in jobs. */
import assert from 'node:assert/strict'
import type {IncomingMessage} from 'node:http'
import {connect} from 'node:net'
import {after, before, describe, test} from 'node:test'
import {jobqIn} from '../support/jobq.ts'
import {until} from '../support/until.ts'
import {answerOf, type Site, startSite, streamOf, TOKEN} from './site.ts'

const FORM = 'application/x-www-form-urlencoded'

describe('on this machine, without a token', () => {
  const jobq = jobqIn({after} as Parameters<typeof jobqIn>[0])
  let site: Site

  before(async () => {
    site = await startSite(jobq, ['--allow-host', 'jobs.example.com'])
  })

  test('only a name of ours leads here: another one may have been made to', async () => {
    const {port} = new URL(site.url)
    for (const [host, status] of [
      [`127.0.0.1:${port}`, 200],
      [`localhost:${port}`, 200],
      [`LOCALHOST:${port}`, 200],
      [`[::1]:${port}`, 200],
      [`192.168.1.7:${port}`, 200],
      ['jobs.example.com', 200],
      ['Jobs.Example.com:443', 200],
      ['evil.example.com', 421],
      [`127.0.0.1.evil.com:${port}`, 421],
      ['localhost.evil.com', 421],
      ['jobs.example.com.evil.com', 421],
      ['127.0.0.1@evil.com', 400],
      ['evil.com#127.0.0.1', 421],
    ] as const)
      for (const path of ['/', '/healthz', '/metrics', '/jobs'])
        assert.equal((await site.get(path, {host})).status, status, `${host} ${path}`)
  })

  test('a form of another site changes nothing', async () => {
    await jobq.call(['enqueue', 'Work'])
    const own = new URL(site.url).origin
    const other = 'https://evil.example.com'
    const headers: Record<string, string>[] = [
      {},
      {origin: other},
      {origin: 'null'},
      {origin: 'file://'},
      {origin: own.replace(/\d+$/, '1')},
      {origin: own, 'sec-fetch-site': 'cross-site'},
      {origin: own, 'sec-fetch-site': 'same-site'},
      {origin: own, 'sec-fetch-site': 'none'},
      {origin: other, 'sec-fetch-site': 'same-origin'},
      {'sec-fetch-site': 'cross-site'},
      {referer: `${own}/`},
      {authorization: 'Bearer whatever-it-is-here', origin: other},
    ]
    for (const more of headers)
      for (const path of ['/actions', '/jobs', '/login', '/logout']) {
        const answer = await answerOf(`${site.url}${path}`, {
          method: 'POST',
          headers: {'content-type': FORM, ...more},
          body: 'do=cancel&job=1&confirm=1',
        })
        assert.equal(answer.status, 403, JSON.stringify(more))
      }
    assert.equal((await site.document<unknown[]>('/jobs')).length, 1)
    assert.deepEqual(await site.document('/log'), [])
    // From a page of ours, by either word; behind a proxy that has a name of its own, too
    for (const more of [
      {origin: own},
      {'sec-fetch-site': 'same-origin'},
      {origin: 'https://jobs.example.com', 'sec-fetch-site': 'same-origin'},
    ]) {
      const answer = await answerOf(`${site.url}/actions`, {
        method: 'POST',
        headers: {'content-type': FORM, ...more},
        body: 'do=pause&func=Work',
      })
      assert.equal(answer.status, 303, JSON.stringify(more))
    }
    await jobq.call(['resume', '--all'])
  })

  test('a GET changes nothing', async () => {
    for (const path of [
      '/actions?do=cancel&job=1',
      '/jobs?do=cancel&job=1&confirm=1',
      '/?do=pause&everything=1',
    ])
      await site.get(path)
    assert.equal((await site.document<unknown[]>('/jobs')).length, 1)
    assert.deepEqual(await site.document('/pauses'), {paused: []})
  })

  test('POST /jobs needs a token, even here', async () => {
    const origin = new URL(site.url).origin
    const headers = {'content-type': 'application/json', origin, 'sec-fetch-site': 'same-origin'}
    const answer = await answerOf(`${site.url}/jobs`, {
      method: 'POST',
      headers: {...headers},
      body: '{"func":"Work"}',
    })
    assert.equal(answer.status, 403)
    assert.match(answer.text, /JOBQ_WEB_TOKEN/)
    assert.equal((await site.document<unknown[]>('/jobs')).length, 1)
  })

  test('a document that is too deep to be read is told as that', async t => {
    const headers = {authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json'}
    const jobq = jobqIn(t)
    await jobq(['init'])
    const own = await startSite(jobq, [], {env: {JOBQ_WEB_TOKEN: TOKEN}})
    const body = `{"func":"Work","arg":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
    const answer = await answerOf(`${own.url}/jobs`, {method: 'POST', headers, body})
    assert.equal(answer.status, 400)
    assert.match(answer.text, /one that is too deep to be read here/)
  })

  test('every answer says that nothing may be loaded, framed, guessed or kept', async () => {
    for (const path of ['/', '/jobs', '/jobs/999', '/nowhere', '/healthz', '/metrics', '/login']) {
      const {headers, text} = await site.get(path)
      const policy = headers['content-security-policy']?.toString() ?? ''
      assert.match(policy, /default-src 'none'.*script-src 'self'.*frame-ancestors 'none'/)
      assert.doesNotMatch(policy, /unsafe|\*|data:/)
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['cache-control'], 'no-store')
      assert.equal(headers['referrer-policy'], 'same-origin')
      // Which would be refused
      assert.doesNotMatch(text, /<script(?! src=)|\sstyle=|\son\w+=|javascript:/i)
    }
  })

  test('a path leads to what is served, and nowhere else', async () => {
    for (const path of [
      '/assets/../../../../etc/passwd',
      '/assets/..%2f..%2f..%2fpackage.json',
      '/assets/%2e%2e/page.css',
      '/assets/page.css',
      '/assets/',
      '/jobs/..%2f..',
      '/jobs/1/../../etc/passwd',
      '/%00',
      '/jobs/%00',
      '/%ff',
      '//evil.example.com/',
      '/\\evil.example.com',
      '/jobs/1;x',
      `/${'a/'.repeat(3000)}`,
      '/__proto__',
      '/constructor',
    ]) {
      const {status, text} = await site.get(path)
      assert.ok([400, 404, 421].includes(status), `${path}: ${status}`)
      assert.doesNotMatch(text, /root:|"name": "jobq"|^\s+at .*:\d+:\d+/m)
    }
  })

  test('what is no request is cut off, and the next one is answered', async () => {
    const {port, hostname} = new URL(site.url)
    for (const text of [
      'GET http://evil.example.com/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
      'nonsense\r\n\r\n',
      `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`,
      'TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
      'CONNECT evil:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
      'OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
    ]) {
      const answer = await new Promise<string>(resolve => {
        let got = ''
        const socket = connect(Number(port), hostname, () => socket.end(text))
        socket.on('data', part => {
          got += part
        })
        socket.on('error', () => resolve(got))
        socket.on('close', () => resolve(got))
      })
      assert.doesNotMatch(answer, /^HTTP\/1\.1 200/, text.slice(0, 40))
      assert.doesNotMatch(answer, /^\s+at .*:\d+:\d+/m)
    }
    assert.equal((await site.get('/')).status, 200)
  })

  test('who goes away in the midst of a form leaves no word in the log', async () => {
    const {port, hostname, origin, host} = new URL(site.url)
    const head = [`Host: ${host}`, `Origin: ${origin}`, `Content-Type: ${FORM}`, 'Content-Length: 100']
    const socket = connect(Number(port), hostname)
    socket.write(['POST /actions HTTP/1.1', ...head, '', 'do=pause'].join('\r\n'))
    await new Promise(resolve => setTimeout(resolve, 300)) // it is read
    socket.destroy()
    await new Promise(resolve => setTimeout(resolve, 300))
    assert.equal((await site.get('/healthz')).status, 200)
    assert.equal(site.web.stderr, '')
  })

  test('a form that is too large, or of another kind, is refused', async () => {
    const {origin} = new URL(site.url)
    const send = (body: string, type = FORM) =>
      answerOf(`${site.url}/actions`, {
        method: 'POST',
        headers: {origin, 'sec-fetch-site': 'same-origin', 'content-type': type},
        body,
      })
    assert.equal((await send(`do=pause&func=${'x'.repeat(300_000)}`)).status, 413)
    assert.equal((await send('{"do":"pause"}', 'application/json')).status, 415)
    assert.equal((await send('do=pause&func=x', 'text/plain')).status, 415)
    assert.equal((await send('--x\r\n', 'multipart/form-data; boundary=x')).status, 415)
  })

  test('after a form one comes back to a page of ours, whatever it says', async () => {
    for (const back of [
      '//evil.com',
      'https://evil.com',
      '/\\evil.com',
      '\\\\evil.com',
      'javascript:1',
      '/a\r\nx: y',
      '',
    ])
      assert.match(
        (await site.post('/actions', {do: 'resume', func: 'Work', back})).headers.location ?? '',
        /^\/\?run=[\w-]+$/,
      )
  })

  test('a thousand listeners: so many are served, the others are told, and all else goes on', async () => {
    const open: IncomingMessage[] = []
    try {
      for (let i = 0; i < 10; i++) {
        const some = Array.from({length: 100}, () => streamOf(`${site.url}/live`))
        open.push(...(await Promise.all(some)))
      }
      const statuses = Object.groupBy(open, ({statusCode}) => String(statusCode))
      assert.deepEqual(
        Object.entries(statuses).map(([status, some]) => [status, some!.length]),
        [
          ['200', 100],
          ['503', 900],
        ],
      )
      assert.equal(statuses['503']![0]!.headers['retry-after'], '5')
      assert.equal((await site.get('/')).status, 200)
    } finally {
      for (const response of open) response.destroy()
    }
    await until('there is room again', async () => {
      const response = await streamOf(`${site.url}/live`)
      response.destroy()
      return response.statusCode === 200
    })
  })

  test('another site can not make its visitors listen', async () => {
    for (const from of ['cross-site', 'same-site', 'none'])
      for (const path of ['/live', '/jobs/1/output'])
        assert.equal((await site.get(path, {'sec-fetch-site': from})).status, 403)
  })

  test('what no column holds is a mistake, and none of the database’s', async () => {
    for (const [path, status] of [
      ['/jobs?uniqkey=%00', 400],
      [`/jobs?uniqkey=${'x'.repeat(300)}`, 400],
      ['/jobs?func=%00', 200],
      ['/jobs?q=%00%ff', 200],
      ['/find?q=%00', 303],
      ['/jobs?after=ready~1e400~-1e400~9007199254740991~99999', 200],
      ['/jobs?after=ready~x~y~1', 200],
      ['/exceptions?after=99999999999999999999', 200],
      ['/exceptions?after=1.99', 200],
      ['/log?after=999999999999999', 200],
      ['/jobs/9007199254740993', 400],
      ['/jobs/5:1', 404],
      ['/jobs?since=99999999999999w', 400],
    ] as const)
      assert.equal((await site.get(path)).status, status, path)
  })

  test('markup in whatever a job can set is text', async () => {
    const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'`
    await jobq.call(['enqueue', evil, '--arg', JSON.stringify({[evil]: evil}), '--uniqkey', evil])
    await jobq.call(['enqueue', 'Text', '--serializer', 'none', '--arg', `${evil}\u202e\u2066`])
    await jobq.call(['pause', evil])
    const pages = ['/', '/jobs', '/jobs/2', '/jobs/3', '/pauses', `/jobs?func=${encodeURIComponent(evil)}`]
    const queries = ['func', 'uniqkey', 'q'].map(name => `/jobs?${name}=${encodeURIComponent(evil)}`)
    const errors = [`/jobs?state=${encodeURIComponent(evil)}`, `/jobs/${encodeURIComponent(evil)}`]
    for (const path of [...pages, ...queries, ...errors, `/exceptions?group=${encodeURIComponent(evil)}`]) {
      const {text} = await site.get(path)
      assert.doesNotMatch(text, /<script>|<img|alert\(1\)<\/script>|[\u202a-\u202e\u2066-\u2069]/, path)
      assert.match(text, /^<!doctype html>/)
    }
    assert.match((await site.get('/jobs/2')).text, /&lt;script&gt;alert\(1\)&lt;\/script&gt;/)
  })
})

describe('with a token', () => {
  const jobq = jobqIn({after} as Parameters<typeof jobqIn>[0])
  const env = {JOBQ_WEB_TOKEN: TOKEN}
  const bearer = {authorization: `Bearer ${TOKEN}`}
  let site: Site

  before(async () => {
    site = await startSite(jobq, ['--host', '127.0.0.1'], {env})
  })

  test('nothing is told without it but whether the database can be asked', async () => {
    await jobq.call(['enqueue', 'Hidden'])
    for (const path of ['/', '/jobs', '/jobs/1', '/log', '/nowhere']) {
      const page = await site.get(path, {accept: 'text/html'})
      assert.deepEqual([page.status, page.headers.location], [303, `/login?next=${encodeURIComponent(path)}`])
      const json = await site.get(path, {accept: 'application/json'})
      assert.deepEqual([json.status, json.headers['www-authenticate']], [401, 'Bearer'])
      assert.doesNotMatch(page.text + json.text, /Hidden/)
    }
    for (const path of ['/live', '/jobs/1/output']) assert.notEqual((await site.get(path)).status, 200)
    assert.equal((await site.get('/metrics', {accept: 'application/json'})).status, 401)
    assert.equal((await site.get('/healthz')).status, 200)
    assert.equal((await site.post('/actions', {do: 'cancel', job: 1})).status, 401)
    assert.equal((await site.get('/jobs/1', bearer)).status, 200)
    assert.match((await site.get('/metrics', bearer)).text, /func="Hidden"/)
  })

  test('a person logs in, comes to where he was going, and out again', async () => {
    const login = await site.get('/login?next=%2Fjobs%3Ffunc%3DHidden')
    assert.match(login.text, /name="next" value="\/jobs\?func=Hidden"/)
    assert.doesNotMatch(login.text, /Hidden<|jobq\.db/)
    const wrong = await site.post('/login', {token: 'not-the-token-at-all', next: '/jobs'})
    assert.deepEqual([wrong.status, wrong.headers['set-cookie']], [401, undefined])
    const right = await site.post('/login', {token: TOKEN, next: '/jobs?func=Hidden'})
    assert.deepEqual([right.status, right.headers.location], [303, '/jobs?func=Hidden'])
    const [cookie = ''] = right.headers['set-cookie'] ?? []
    assert.match(cookie, /^jobq_session=\d+\.[\w-]+; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/)
    assert.doesNotMatch(cookie, new RegExp(TOKEN))
    const session = {cookie: cookie.split(';')[0]!}
    assert.match((await site.get('/', session)).text, /Hidden[\s\S]*Log out/)
    assert.equal((await site.post('/actions', {do: 'pause', func: 'Hidden'}, session)).status, 303)
    // A cookie goes along with what other sites send, too
    const elsewhere = {...session, origin: 'https://evil.com', 'sec-fetch-site': 'cross-site'}
    assert.equal((await site.post('/actions', {do: 'resume', func: 'Hidden'}, elsewhere)).status, 403)
    const out = await site.post('/logout', {}, session)
    assert.match(out.headers['set-cookie']![0]!, /^jobq_session=; .*Max-Age=0/)
    const secure = {origin: 'https://127.0.0.1', host: '127.0.0.1', 'sec-fetch-site': 'same-origin'}
    const behindProxy = await site.post('/login', {token: TOKEN}, secure)
    assert.match(behindProxy.headers['set-cookie']![0]!, /; Secure$/)
    for (const next of ['//evil.com', 'https://evil.com', '/\\evil.com'])
      assert.equal((await site.post('/login', {token: TOKEN, next})).headers.location, '/')
  })

  test('a cookie that was made up, changed or has run out lets nobody in', async () => {
    const {headers} = await site.post('/login', {token: TOKEN})
    const [, until = '', signature = ''] = /jobq_session=(\d+)\.([\w-]+)/.exec(headers['set-cookie']![0]!)!
    for (const value of [
      `${Number(until) + 1}.${signature}`,
      `${until}.${signature.slice(1)}`,
      `${until}.`,
      until,
      '',
      `1.${signature}`,
      `Infinity.${signature}`,
      `${until}.${signature}x`,
    ])
      assert.equal(
        (await site.get('/', {cookie: `jobq_session=${value}`, accept: 'text/html'})).status,
        303,
        value,
      )
    const good = {cookie: `a=b; jobq_session=${until}.${signature}; c=d`}
    assert.equal((await site.get('/', good)).status, 200)
    // Of another token
    const other = await startSite(jobq, [], {env: {JOBQ_WEB_TOKEN: `${TOKEN}-other`}})
    assert.equal((await other.get('/', {...good, accept: 'text/html'})).status, 303)
  })

  test('programs enqueue: what a line of a batch can say, and nothing else', async () => {
    const send = (body: string, headers: Record<string, string> = bearer) =>
      answerOf(`${site.url}/jobs`, {
        method: 'POST',
        headers: {'content-type': 'application/json', ...headers},
        body,
      })
    const enqueued = await send(
      '{"func":"Way","arg":{"big":12345678901234567890,"s":"é"},"uniqkey":"k","priority":3,"delay":60}',
    )
    assert.equal(enqueued.status, 201)
    const {id, run_after: due, ...rest} = JSON.parse(enqueued.text)
    assert.deepEqual(rest, {func: 'Way', uniqkey: 'k', priority: 3, enqueued: true})
    assert.equal(enqueued.headers.location, `/jobs/${id}`)
    const {stdout} = await jobq.call(['list', '--func', 'Way', '--json'])
    assert.match(stdout, /"arg":\{"big":12345678901234567890,"s":"é"\}/)
    const [job] = JSON.parse(stdout)
    assert.deepEqual([job.run_after, job.priority], [due, 3])
    const all = `{"func":"All","after":[${id}],"tags":{"a":"b"},"expires":"2h","tracked":true,"keep_result":"1h","token":"t"}`
    const [first, again] = [await send(all), await send(all)].map(({text}) => JSON.parse(text).id)
    assert.equal(again, first)
    const shown = JSON.parse((await jobq.call(['show', String(first), '--json'])).stdout)
    assert.deepEqual(
      [shown.state, shown.after, shown.tags],
      ['waiting', [{job_id: id, any_end: false}], {a: 'b'}],
    )
    assert.ok(shown.expires_at > 0)
    const written = await send('{"func":"Way","arg":[60.0],"priority":1e1,"delay":60.0}')
    assert.deepEqual([written.status, JSON.parse(written.text).priority], [201, 10])
    assert.match((await jobq.call(['list', '--func', 'Way', '--json'])).stdout, /"arg":\[60\.0\]/)
    for (const [body, status, says] of [
      ['{"func":"F","tags":{"a":1}}', 400, /tags/],
      ['{"func":"F","after":[77777]}', 404, /77777/],
      ['{"func":"Way","uniqkey":"k"}', 409, /already waiting/],
      ['{"func":""}', 400, /expected a function name/],
      ['{"arg":1}', 400, /func: expected/],
      ['{"func":"F","arg":1,"prio":3}', 400, /unknown key \\"prio\\"/],
      ['{"func":"F","priority":-1}', 400, /priority: expected a whole number/],
      ['{"func":"F","delay":1,"run_after":1}', 400, /delay or runAfter/],
      ['{"func":"F","run_after":"tomorrow"}', 400, /run_after: expected whole Unix seconds/],
      ['[1]', 400, /expected a JSON object/],
      ['{"func":', 400, /expected a JSON document, got text that ends too early/],
      ['', 400, /expected a JSON document/],
    ] as const) {
      const answer = await send(body)
      assert.equal(answer.status, status, body)
      assert.match(answer.text, says)
      assert.ok('error' in JSON.parse(answer.text))
    }
    assert.equal((await send('{"func":"F"}', {})).status, 403)
    assert.equal((await send('{"func":"F"}', {authorization: 'Bearer wrong-wrong-wrong-1'})).status, 403)
    const {headers} = await site.post('/login', {token: TOKEN})
    const cookie = headers['set-cookie']![0]!.split(';')[0]!
    const own = {cookie, origin: new URL(site.url).origin, 'sec-fetch-site': 'same-origin'}
    assert.equal((await send('{"func":"F"}', own)).status, 401)
    assert.equal(
      (
        await answerOf(`${site.url}/jobs`, {
          method: 'POST',
          headers: {...bearer, 'content-type': 'text/plain'},
          body: '{"func":"F"}',
        })
      ).status,
      415,
    )
  })

  test('after ten wrong ones none from there is looked at for a while, right or wrong', async () => {
    const other = await startSite(jobq, [], {env})
    const statuses = []
    for (let i = 0; i < 12; i++)
      statuses.push((await other.post('/login', {token: `wrong-wrong-wrong-${i}`})).status)
    assert.deepEqual(statuses, [...Array.from({length: 10}, () => 401), 429, 429])
    const right = await other.post('/login', {token: TOKEN})
    assert.deepEqual([right.status, right.headers['set-cookie']], [429, undefined])
    assert.ok(Number(right.headers['retry-after']) > 0)
    assert.equal((await other.get('/jobs', {...bearer, accept: 'application/json'})).status, 429)
  })

  test('who asks is told by a proxy only where a flag says so', async () => {
    const said = {'x-forwarded-user': 'Anna'}
    await site.post('/actions', {do: 'pause', func: 'A'}, {...bearer, ...said})
    const proxied = await startSite(jobq, ['--user-header', 'X-Forwarded-User'], {env})
    await proxied.post('/actions', {do: 'pause', func: 'B'}, {...bearer, ...said})
    await proxied.post('/actions', {do: 'pause', func: 'C'}, bearer)
    const log = await site.document<{who: string; what: string}[]>('/log', bearer)
    const whoOf = (what: string) => log.find(row => row.what === what)?.who
    assert.deepEqual(['pause A', 'pause B', 'pause C'].map(whoOf), ['token', 'Anna', 'token'])
  })
})

test('--read-only refuses every action, and shows no button for one', async t => {
  const jobq = jobqIn(t)
  await jobq.call(['enqueue', 'Work'])
  const site = await startSite(jobq, ['--read-only', '--public-metrics'], {env: {JOBQ_WEB_TOKEN: TOKEN}})
  const bearer = {authorization: `Bearer ${TOKEN}`}
  for (const action of ['cancel', 'priority', 'retry', 'pause', 'resume', 'run', 'stop'])
    assert.equal((await site.post('/actions', {do: action, job: 1, confirm: 1}, bearer)).status, 403)
  const {status} = await answerOf(`${site.url}/jobs`, {
    method: 'POST',
    headers: {...bearer, 'content-type': 'application/json'},
    body: '{"func":"Work"}',
  })
  assert.equal(status, 403)
  assert.equal((await site.document<unknown[]>('/jobs', bearer)).length, 1)
  for (const path of ['/', '/jobs', '/jobs/1', '/failures', '/exceptions', '/pauses', '/schedules'])
    assert.doesNotMatch((await site.get(path, bearer)).text, /action="\/actions"|type="checkbox" form/)
  assert.equal((await site.get('/metrics')).status, 200)
})
