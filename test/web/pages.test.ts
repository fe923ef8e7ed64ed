/** Each page as a document, which is what the command shows that tells the same; and in HTML, without a browser. */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {mkdirSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import type {AddressInfo} from 'node:net'
import {createServer} from 'node:net'
import {join} from 'node:path'
import {after, before, describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import {jobqIn} from '../support/jobq.ts'
import {until} from '../support/until.ts'
import {type Site, startSite} from './site.ts'

const CONFIG = `export default {
  schedules: {nightly: {cron: '0 22 * * *', timeZone: 'Asia/Seoul', func: 'Report'}},
  maskArguments: {Pay: ['card', 'user.mail'], Secret: true, '*': ['token']},
}`
const WORKER = `export default {setJobStatus: true, work: async job => {
  console.log('works', job.arg)
  if (job.arg?.fails) throw new Error('no mail for "user' + job.arg.fails + '", code ' + job.arg.fails)
}}`

describe('pages', () => {
  const jobq = jobqIn({after} as Parameters<typeof jobqIn>[0])
  let site: Site
  const enqueue = async (...words: string[]) => {
    const {stdout, stderr} = await site.jobq.call(['enqueue', ...words], {cwd: site.jobq.folder})
    assert.equal(stderr, '')
    return Number(stdout)
  }

  before(async () => {
    writeFileSync(join(jobq.folder, 'jobq.config.mjs'), CONFIG)
    mkdirSync(join(jobq.folder, 'workers'))
    writeFileSync(join(jobq.folder, 'workers/Mail.mjs'), WORKER)
    for (let i = 0; i < 3; i++) await jobq.call(['enqueue', 'Mail', '--arg', `{"fails":${i}}`])
    const {stderr} = await jobq(['work', '--drain'])
    assert.match(stderr, / 3 Mail failed /)
    site = await startSite(jobq)
  })

  test('are the documents of the commands', async () => {
    await enqueue('Mail', '--arg', '{"to":"a"}', '--priority', '7', '--uniqkey', 'k')
    await enqueue('Later', '--delay', '1h')
    const json = async (...words: string[]) =>
      JSON.parse((await site.jobq.call([...words, '--json'], {cwd: site.jobq.folder})).stdout)
    const pages: [path: string, ...words: string[]][] = [
      ['/jobs', 'list'],
      ['/jobs?func=Mail&state=ready', 'list', '--func', 'Mail', '--state', 'ready'],
      ['/jobs?uniqkey=k', 'list', '--uniqkey', 'k'],
      ['/exceptions?all=1', 'list', '--failed'],
      ['/finished', 'list', '--finished'],
      ['/jobs/1', 'show', '1'],
      ['/jobs/2', 'show', '2'],
      ['/workers', 'status'],
      ['/schedules', 'schedules'],
    ]
    for (const [path, ...words] of pages)
      assert.deepEqual(await site.document(path), await json(...words), path)
    await until('counts are read anew', async () => {
      const told = await site.document<{total: {ready: number}}>('/')
      return told.total.ready === 1
    })
    const told = await site.document<{funcs: object[]; total: object}>('/')
    const stats = await json('stats')
    const withoutAges = (text: unknown) => JSON.stringify(text).replaceAll(/"oldest_ready_age":\d+/g, '')
    assert.equal(withoutAges(told), withoutAges(stats))
    assert.deepEqual(await site.document('/pauses'), {paused: []})
    assert.deepEqual(await site.document('/log'), [])
    await site.jobq.call(['cancel', '--all'])
  })

  test('failures are told in groups, by what does not vary', async () => {
    const groups = await site.document<Record<string, unknown>[]>('/failures')
    assert.equal(groups.length, 1)
    const {func, message, count, exception_id: exception, job_id: job, id} = groups[0]!
    assert.deepEqual([func, message, count], ['Mail', 'Error: no mail for "…", code #', 2])
    const rows = await site.document<Record<string, unknown>[]>(`/exceptions?func=Mail&group=${id}`)
    assert.equal(rows.length, 2)
    assert.deepEqual([rows[0]!.id, rows[0]!.job_id], [exception, job])
    assert.deepEqual(await site.document('/exceptions?func=Mail&group=other'), [])
  })

  test('say how far a job is that runs, and then what it has returned', async t => {
    const gate = join(jobq.folder, 'gate')
    writeFileSync(
      join(jobq.folder, 'workers/Long.mjs'),
      `import {existsSync} from 'node:fs'
      export default {keepResult: '1h', work: async job => {
        job.progress(0.4, 'page <4>')
        while (!existsSync(${JSON.stringify(gate)})) await new Promise(resolve => setTimeout(resolve, 20))
        return {pages: '<10>'}
      }}`,
    )
    const id = await enqueue('Long')
    const work = jobq.start(['work', '--drain', '--abilities', 'Long'])
    t.after(() => work.kill('SIGKILL'))
    const bar = /<progress max="1" value="0.4"[^>]*>40%<\/progress> 40% page &lt;4&gt;/
    for (const path of [`/jobs/${id}`, '/workers'])
      await until(`${path} has a bar`, async () => bar.test((await site.get(path)).text))
    assert.match((await site.get('/jobs?func=Long')).text, />running<\/span> 40%/)
    assert.match((await site.get(`/jobs/${id}`)).text, /id="facts" data-live data-busy/)
    writeFileSync(gate, '')
    assert.equal((await work.exited).code, 0)
    const {text, status} = await site.get(`/jobs/${id}`)
    assert.equal(status, 200)
    assert.match(
      text,
      /<h2>Result<\/h2>\s*<pre[^>]*>{\n {2}&quot;pages&quot;: &quot;&lt;10&gt;&quot;\n}<\/pre>/,
    )
    assert.match(text, />completed<\/span>/)
    assert.doesNotMatch(text, /data-busy|>Retry</)
  })

  test('of a job that its limits hold say what for', async () => {
    const id = await enqueue('Shared', '--uniqkey', '<acme>:1')
    const db = new Sqlite(jobq.db)
    db.exec(`INSERT INTO jobq_share (job_id, func_id, share_key, is_parked, waits_for, level, run_after)
      SELECT id, func_id, '<acme>', 1, 'rate', 0, run_after FROM job WHERE id = ${id};
      UPDATE job SET run_after = 4294967295 WHERE id = ${id}`)
    db.close()
    const {text} = await site.get(`/jobs/${id}`)
    assert.match(text, /Waits for<\/dt>\s*<dd>the rate of &lt;acme&gt;/)
    assert.match(text, /Due/)
    await site.jobq.call(['cancel', String(id)])
  })

  test('listings go on where the page before has ended, whatever is filtered', async () => {
    const queue = await JobQueue.open({db: site.jobq.db, durable: false, config: '/dev/null'})
    await queue.enqueueMany(
      (function* () {
        for (let i = 0; i < 160; i++)
          yield {func: `F${i % 3}`, arg: {nth: i, odd: i % 2 === 1}, priority: i % 5}
      })(),
    )
    await queue.close()
    const pagesOf = async (first: string) => {
      const rows: {id: number}[] = []
      let pages = 0
      for (let path: string | null = first; path !== null; pages++) {
        const {headers, text} = await site.get(path, {accept: 'application/json'})
        rows.push(...JSON.parse(text))
        path = /^<(.+)>; rel="next"$/.exec(headers.link?.toString() ?? '')?.[1] ?? null
      }
      return {ids: rows.map(({id}) => id), pages}
    }
    const {stdout} = await site.jobq.call(['list', '--json'])
    const all = (JSON.parse(stdout) as {id: number; arg: {odd: boolean}; func: string}[]) ?? []
    assert.deepEqual(await pagesOf('/jobs'), {ids: all.map(({id}) => id), pages: 4})
    const odd = all.filter(({arg}) => arg.odd).map(({id}) => id)
    assert.deepEqual(await pagesOf('/jobs?q=%22odd%22:TRUE'), {ids: odd, pages: 2})
    const ofOne = all.filter(({func}) => func === 'F1').map(({id}) => id)
    assert.deepEqual((await pagesOf('/jobs?func=F1&since=1h')).ids, ofOne)
    assert.deepEqual((await pagesOf('/jobs?func=Nobody')).ids, [])
    assert.deepEqual(
      (await pagesOf('/jobs?after=nonsense')).ids,
      all.map(({id}) => id),
    )
    const {text} = await site.get('/jobs')
    assert.match(text, /<a href="\/jobs\?after=ready[^"]+" rel="next" id="next">Next page<\/a>/)
    await site.jobq.call(['cancel', '--all'])
  })

  test('what is masked is masked wherever an argument is, and is not found by a search', async () => {
    const pay = await enqueue(
      'Pay',
      '--arg',
      '{"card":"4111-1111","user":{"mail":"m@x.org","n":12345678901234567890}}',
    )
    const secret = await enqueue('Secret', '--arg', '{"all":"hidden-word"}')
    const other = await enqueue('Other', '--arg', '{"mail":"seen","deep":[{"token":"tok-1"}]}')
    const bytes = await enqueue('Pay', '--serializer', 'none', '--arg', 'no JSON, card 4111-1111')
    for (const path of ['/jobs', `/jobs/${pay}`, `/jobs/${secret}`, `/jobs/${other}`, `/jobs/${bytes}`])
      for (const accept of ['text/html', 'application/json']) {
        const {text, status} = await site.get(path, {accept})
        assert.equal(status, 200)
        assert.doesNotMatch(text, /4111|m@x\.org|hidden-word|tok-1/, path)
      }
    const argOf = async (id: number) => (await site.document<{arg: unknown}>(`/jobs/${id}`)).arg
    assert.match(
      (await site.get(`/jobs/${pay}`, {accept: 'application/json'})).text,
      /"n":12345678901234567890/,
    )
    assert.equal(await argOf(secret), '***')
    assert.deepEqual(await argOf(other), {mail: 'seen', deep: [{token: '***'}]})
    assert.deepEqual(await site.document('/jobs?q=4111'), [])
    assert.equal((await site.document<unknown[]>('/jobs?q=seen')).length, 1)
    await site.jobq.call(['cancel', '--all'])
  })

  test('one field finds jobs, functions and keys', async () => {
    const id = await enqueue('Mail', '--uniqkey', 'order-7')
    for (const [q, path] of [
      [String(id), `/jobs/${id}`],
      ['Mail', '/jobs?func=Mail'],
      ['order-7', '/jobs?uniqkey=order-7'],
      ['anything else', '/jobs?q=anything+else'],
      ['999999', '/jobs?q=999999'],
    ] as const)
      assert.equal((await site.get(`/find?q=${encodeURIComponent(q)}`)).headers.location, path)
    await site.jobq.call(['cancel', '--all'])
  })

  test('what is not there is said so, in the form that was asked for', async () => {
    for (const [path, status, words] of [
      ['/jobs/987654', 404, /no job 987654/],
      ['/jobs/x', 400, /expected a whole number/],
      ['/jobs?state=odd', 400, /expected one of ready/],
      ['/jobs?since=odd', 400, /since: expected a time/],
      ['/nowhere', 404, /no such page/],
      ['/runs/nothing', 404, /no such action/],
    ] as const) {
      const html = await site.get(path, {accept: 'text/html'})
      assert.equal(html.status, status, path)
      assert.match(html.text, words)
      assert.match(html.headers['content-type'] ?? '', /^text\/html/)
      const {error} = await site.document<{error: {message: string; code: string}}>(path)
      assert.match(error.message, words)
    }
    assert.equal((await site.get('/actions')).status, 405)
  })

  test('the script and the sheet are kept for good, under names that change with them', async () => {
    const {text} = await site.get('/')
    const assets = [...text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, path]) => path!)
    assert.equal(assets.length, 3)
    for (const path of assets) {
      const {status, headers} = await site.get(path)
      assert.deepEqual([status, headers['cache-control']], [200, 'public, max-age=31536000, immutable'])
    }
    assert.equal((await site.get(assets[0]!.replace(/-\w+\./, '-000000000000.'))).status, 404)
  })

  test('for machines: health, metrics', async () => {
    const health = await site.get('/healthz')
    assert.deepEqual([health.status, JSON.parse(health.text)], [200, {ok: true}])
    const {text, headers} = await site.get('/metrics')
    assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/)
    assert.match(text, /^jobq_jobs\{func="Mail",state="failed"\} 2$/m)
  })
})

describe('jobq web', () => {
  test('a filter that is misspelt, or of another listing, is refused: all would be listed', async t => {
    const site = await startSite(jobqIn(t))
    for (const path of ['/jobs?fnuc=Work', '/jobs?group=x', '/exceptions?state=ready', '/finished?tag=a']) {
      const {status, text} = await site.get(path, {accept: 'application/json'})
      assert.equal(status, 400, path)
      assert.match(text, /unknown field/, path)
    }
    assert.equal((await site.get('/exceptions?func=Work&all=1&run=none')).status, 200)
  })

  test('ends with 1 when another file has come to the place of its own', async t => {
    const jobq = jobqIn(t)
    await jobq(['enqueue', 'Work'])
    const {web} = await startSite(jobq)
    for (const end of ['-wal', '-shm']) rmSync(`${jobq.db}${end}`, {force: true})
    renameSync(jobq.db, `${jobq.db}.old`)
    const {code, stderr} = await web.exited
    assert.equal(code, 1)
    assert.match(stderr, /jobs?q?\.db/)
  })

  test('ends with 0 when it is told to, while pages listen', async t => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const site = await startSite(jobqIn(t))
      const {streamOf} = await import('./site.ts')
      const stream = await streamOf(`${site.url}/live`)
      stream.on('error', () => {})
      stream.resume()
      site.web.kill(signal)
      const {code, stderr} = await site.web.exited
      assert.deepEqual([code, stderr], [0, ''])
    }
  })

  test('says in one line that a port is taken', async t => {
    const jobq = jobqIn(t)
    const other = createServer()
    t.after(() => other.close())
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const {port} = other.address() as AddressInfo
    const {code, stderr, stdout} = await jobq(['web', '--port', String(port)])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(
      stderr,
      /^jobq: can't listen on 127\.0\.0\.1:\d+ \(.*EADDRINUSE.*\) \(choose another --port\)\n$/,
    )
  })

  test('refuses what can not be meant, and does not show the token', async t => {
    const jobq = jobqIn(t)
    writeFileSync(join(jobq.folder, 'short'), 'tooshort\n')
    for (const [words, says] of [
      [['--port', '70000'], /--port: expected a whole number from 0 to 65535/],
      [['--host', '0.0.0.0'], /--host 0\.0\.0\.0: expected a token/],
      [['--base-path', 'x y'], /--base-path: expected a path/],
      [['--allow-host', 'https://x'], /--allow-host: expected a name/],
      [['--token-file', 'short'], /--token-file short: expected at least 16 .*, got 8 characters/],
      [['--token-file', 'nowhere'], /--token-file: nowhere can't be read/],
      [['--user-header', 'a b'], /--user-header: expected a header's name/],
    ] as const) {
      const {code, stderr} = await jobq.call(['web', ...words])
      assert.equal(code, 2, stderr)
      assert.match(stderr, says)
      assert.doesNotMatch(stderr, /tooshort/)
    }
    const {code, stderr} = await jobq.call(['web', '--port', '0'], {env: {JOBQ_WEB_TOKEN: 'alsoshort'}})
    assert.equal(code, 2)
    assert.match(stderr, /^jobq: JOBQ_WEB_TOKEN: expected at least 16/)
    assert.doesNotMatch(stderr, /alsoshort/)
  })

  test('prints its address as a document under --json', async t => {
    const jobq = jobqIn(t)
    const web = jobq.start(['web', '--port', '0', '--base-path', '/q/', '--json'])
    const [line] = await web.prints(/^\{.*\}$/m)
    assert.match((JSON.parse(line) as {url: string}).url, /^http:\/\/127\.0\.0\.1:\d+\/q$/)
    web.kill('SIGTERM')
    assert.equal((await web.exited).code, 0)
  })

  test('answers 503, and no more than a sentence, while the database is out of reach', async t => {
    const jobq = jobqIn(t)
    const db = join(jobq.folder, 'gone.db')
    const site = await startSite(jobq, ['--db', db])
    assert.equal((await site.get('/healthz')).status, 200)
    renameSync(db, `${db}.away`)
    await until('it is noticed', async () => (await site.get('/healthz')).status === 503)
    const page = await site.get('/jobs')
    assert.equal(page.status, 503)
    assert.match(page.text, /role="alert"/)
    assert.doesNotMatch(page.text, /^\s+at /m)
  })
})
