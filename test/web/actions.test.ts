/** What is done from the pages, by forms as they send them: to one, to some, to all that match; each in the log. */
import assert from 'node:assert/strict'
import {mkdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {type TestContext, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {jobqIn} from '../support/jobq.ts'
import {until} from '../support/until.ts'
import {type Site, startSite} from './site.ts'

interface Row {
  id: number
  func: string
  priority: number
  state: string
}

async function setUp(t: TestContext, config = '') {
  const jobq = jobqIn(t)
  if (config) writeFileSync(join(jobq.folder, 'jobq.config.mjs'), config)
  const queue = await JobQueue.open({db: jobq.db, config: '/dev/null', durable: false})
  t.after(() => queue.close())
  const site = await startSite(jobq)
  return {jobq, queue, site}
}

/** What the page that one comes back to says was done, once it is. */
async function said(site: Site, fields: Parameters<Site['post']>[1]): Promise<string> {
  const {status, headers, text} = await site.post('/actions', fields)
  assert.equal(status, 303, text)
  const [, id] = /(?:run=|^\/runs\/)([\w-]+)/.exec(headers.location!)!
  await until('it is done', async () => {
    const {state} = await site.document<{state: string}>(`/runs/${id}`)
    return state !== 'running'
  })
  const page = await site.get(`/log?run=${id}`)
  const [, words = ''] = /<p class="told" role="status">(.*?)(?: <a [^>]*>More about it<\/a>)?<\/p>/s.exec(
    page.text,
  )!
  return words.trim().replaceAll('&quot;', '"')
}

const idsOf = (rows: readonly {id: number}[]) => rows.map(({id}) => id).sort((a, b) => a - b)

test('one job: cancelled, given a priority; what is not there is said', async t => {
  const {queue, site} = await setUp(t)
  const {id} = await queue.enqueue('Work', {arg: 1})
  const other = await queue.enqueue('Work', {arg: 2})
  assert.equal(await said(site, {do: 'priority', job: id, priority: 9}), `Job ${id} has priority 9.`)
  assert.equal((await queue.find(id))!.priority, 9)
  assert.equal(await said(site, {do: 'cancel', job: id, back: '/jobs'}), `Job ${id} is cancelled.`)
  assert.equal(await queue.find(id), null)
  assert.match(await said(site, {do: 'cancel', job: id}), new RegExp(`^no job ${id} is in the queue`))
  for (const [fields, words] of [
    [{do: 'cancel'}, /expected some to be chosen/],
    [{do: 'cancel', job: 'x'}, /job: expected a whole number/],
    [{do: 'priority', job: other.id, priority: '-1'}, /priority: expected a whole number/],
    [{do: 'priority', job: other.id}, /priority: expected a whole number/],
    [{do: 'cancel', all: 'jobs', tag: 'c=2', confirm: 1}, /unknown field &quot;tag&quot;/],
    [{do: 'retry', all: 'exceptions', fnc: 'Work', confirm: 1}, /unknown field &quot;fnc&quot;/],
    [{do: 'cancel', all: 'jobs', group: 'x', confirm: 1}, /unknown field &quot;group&quot;/],
    [{do: 'priority', all: 'jobs', group: 'x', priority: 3, confirm: 1}, /unknown field &quot;group&quot;/],
    [{do: 'retry', all: 'exceptions', state: 'running', confirm: 1}, /unknown field &quot;state&quot;/],
    [{do: 'pause', everything: 1, func: 'Work'}, /expected func or everything, got both/],
    [{do: 'explode', job: other.id}, /do: expected one of/],
    [{do: 'toString', job: other.id}, /do: expected one of/],
    [{do: 'pause', func: ''}, /expected a function name/],
    [{do: 'cancel', all: 'jobs', state: 'odd'}, /state: expected one of/],
  ] as const) {
    const {status, text} = await site.post('/actions', fields)
    assert.equal(status, 400)
    assert.match(text, words)
  }
  assert.deepEqual(idsOf(await queue.list()), [other.id])
})

test('some jobs: nothing is done before it is confirmed, and each is told', async t => {
  const {queue, site} = await setUp(t)
  const ids = []
  for (let i = 0; i < 4; i++) ids.push((await queue.enqueue('Work', {arg: i})).id)
  const [first, second, ...rest] = ids
  const asked = await site.post('/actions', {
    do: 'cancel',
    job: [first!, second!, 999],
    back: '/jobs?func=Work',
  })
  assert.equal(asked.status, 200)
  assert.match(asked.text, /cancel 3 jobs: 1, 2, 999[\s\S]*<strong>3<\/strong>/)
  assert.match(asked.text, /<a href="\/jobs\?func=Work">No, go back<\/a>/)
  assert.equal((await queue.list()).length, 4)
  assert.deepEqual(await site.document('/log'), [])
  // As the form of that page sends it
  const fields = Object.groupBy(
    asked.text.matchAll(/type="hidden" name="(\w+)" value="([^"]*)"/g),
    ([, name]) => name!,
  )
  const form = Object.fromEntries(
    Object.entries(fields).map(([name, found]) => [name, found!.map(([, , value]) => value!)]),
  )
  assert.equal(await said(site, form), 'cancel 3 jobs: 1, 2, 999: 2 done, 1 refused.')
  assert.deepEqual(idsOf(await queue.list()), rest)
})

test('all that match, however many pages that are, and no other', async t => {
  const {queue, site} = await setUp(t)
  await queue.enqueueMany(
    (function* () {
      for (let i = 0; i < 360; i++)
        yield {func: i % 2 ? 'Odd' : 'Even', arg: {nth: i, kind: i % 3 ? 'rest' : 'third'}, priority: i % 4}
    })(),
  )
  const count = async (func?: string) => (func ? queue.count(func) : queue.count())
  const asked = await site.post('/actions', {
    do: 'priority',
    priority: 50,
    all: 'jobs',
    func: 'Odd',
    q: '"third"',
  })
  assert.match(asked.text, /priority 50 for func Odd, with &quot;third&quot;[\s\S]*<strong>60<\/strong>/)
  const all = {all: 'jobs', confirm: 1}
  const done = await said(site, {...all, do: 'priority', priority: 50, func: 'Odd', q: '"third"'})
  assert.equal(done, 'priority 50 for func Odd, with "third": 60 done.')
  const raised = (await queue.list({limit: 1000})).filter(({priority}) => priority === 50)
  assert.equal(raised.length, 60)
  assert.ok(raised.every(({func, arg}) => func === 'Odd' && /"third"/.test(Buffer.from(arg!).toString())))
  // To what is behind them, too: a priority that is lower moves them on in the listing
  assert.match(await said(site, {...all, do: 'priority', priority: 0, func: 'Odd'}), /: [\d,]+ done\.$/)
  assert.ok((await queue.list({func: 'Odd', limit: 1000})).every(({priority}) => priority === 0))
  assert.match(await said(site, {...all, do: 'cancel', func: 'Odd', q: '"third"'}), /: 60 done\.$/)
  assert.equal(await count('Odd'), 120)
  assert.match(await said(site, {...all, do: 'cancel', func: 'Odd', state: 'delayed'}), /: 0 done\.$/)
  assert.match(await said(site, {...all, do: 'cancel', func: 'Odd'}), /: 120 done\.$/)
  assert.deepEqual([await count('Odd'), await count('Even')], [0, 180])
  assert.match(await said(site, {...all, do: 'cancel'}), /^cancel all: 180 done\.$/)
  assert.equal(await count(), 0)
  const log = await site.document<{what: string; jobs: number; who: string}[]>('/log')
  assert.deepEqual(log.map(({what, jobs}) => `${what}: ${jobs}`).slice(0, 3), [
    'cancel all: 180',
    'cancel func Odd: 120',
    'cancel func Odd, state delayed: 0',
  ])
})

test('a function whose name is a blank is that one, not all', async t => {
  const {queue, site} = await setUp(t)
  for (const func of [' ', 'Important']) await queue.enqueue(func)
  assert.match(await said(site, {do: 'cancel', all: 'jobs', func: ' ', confirm: 1}), /: 1 done\.$/)
  assert.deepEqual(
    (await queue.list()).map(({func}) => func),
    ['Important'],
  )
})

test('an argument that is deep makes no larger a page', async t => {
  const {jobq, queue, site} = await setUp(t)
  const deep = join(jobq.folder, 'deep')
  writeFileSync(deep, '['.repeat(5000) + ']'.repeat(5000))
  assert.equal((await jobq(['enqueue', 'Deep', '--arg-file', deep])).code, 0)
  const [job] = await queue.list({func: 'Deep'})
  const {status, text} = await site.get(`/jobs/${job!.id}`)
  assert.deepEqual([status, text.length < 100_000, text.includes('[[[[[')], [200, true, true])
})

test('failures: one, some, a group, all of a function', async t => {
  const {queue, site} = await setUp(t)
  const fail = async (func: string, messages: readonly string[]) => {
    for (const arg of messages) await queue.enqueue(func, {arg})
    await queue.work({
      workers: {[func]: ({arg}: {arg: unknown}) => Promise.reject(new Error(String(arg)))},
      mode: 'drain',
    })
  }
  await fail('Mail', ['no route to 10.0.0.1', 'no route to 10.0.0.2', 'disk full', 'no route to 7'])
  await fail('Other', ['no route to 10.0.0.1'])
  const groups =
    await site.document<{id: string; func: string; message: string; count: number}[]>('/failures')
  assert.deepEqual(groups.map(({func, message, count}) => [func, message, count]).sort(), [
    ['Mail', 'Error: disk full', 1],
    ['Mail', 'Error: no route to #', 3],
    ['Other', 'Error: no route to #', 1],
  ])
  const {id: group} = groups.find(({count}) => count === 3)!
  const asked = await site.post('/actions', {do: 'retry', all: 'exceptions', func: 'Mail', group})
  assert.match(asked.text, /retry func Mail, like Error: no route to #[\s\S]*<strong>3<\/strong>/)
  const confirmed = {all: 'exceptions', confirm: 1, do: 'retry'}
  assert.match(await said(site, {...confirmed, func: 'Mail', group}), /like Error: no route to #: 3 done\.$/)
  assert.equal(await queue.count('Mail'), 3)
  const left = await site.document<{func: string; id: number; job_id: number}[]>('/exceptions')
  assert.deepEqual(left.map(({func}) => func).sort(), ['Mail', 'Other'])
  const other = left.find(({func}) => func === 'Other')!
  assert.match(await said(site, {do: 'retry', exception: other.id}), /^Retried as job \d+\.$/)
  assert.match(await said(site, {do: 'retry', exception: other.id}), /was already retried/)
  assert.match(await said(site, {...confirmed, q: 'nowhere'}), /: 0 done\.$/)
  assert.match(await said(site, {...confirmed, q: 'DISK'}), /: 1 done\.$/)
  assert.equal(await queue.count(), 5)
  assert.deepEqual(await site.document('/exceptions'), [])
  assert.deepEqual(await site.document('/failures'), [])
})

test('pause, resume, and a schedule that is run', async t => {
  const config = `export default {schedules: {nightly: {cron: '0 22 * * *', timeZone: 'UTC', func: 'Report', arg: {a: 1}}}}`
  const {queue, site} = await setUp(t, config)
  assert.equal(await said(site, {do: 'pause', func: 'Work', back: '/pauses'}), 'Work is paused.')
  assert.equal(await said(site, {do: 'pause', func: ['Work', 'Other']}), 'Work, Other are paused.')
  assert.equal(await said(site, {do: 'resume', func: 'Other'}), 'Other is resumed.')
  assert.equal(await said(site, {do: 'pause', everything: 1}), 'Everything is paused.')
  assert.deepEqual((await queue.paused()).sort(), ['', 'Work'])
  assert.match((await site.get('/')).text, /Everything is paused\./)
  assert.equal(await said(site, {do: 'resume', func: 'Work'}), 'Work is resumed, but everything is paused.')
  assert.equal(await said(site, {do: 'resume', everything: 1}), 'Everything is resumed.')
  assert.equal(await said(site, {do: 'resume', func: 'Work'}), 'Work was not paused.')
  assert.match(await said(site, {do: 'run', schedule: 'nightly'}), /^Job \d+ is enqueued\.$/)
  assert.match(await said(site, {do: 'run', schedule: 'hourly'}), /^no schedule "hourly"/)
  assert.deepEqual(
    (await queue.list()).map(({func}) => func),
    ['Report'],
  )
  const log = await site.document<{what: string; jobs: number}[]>('/log')
  assert.deepEqual(log.map(({what, jobs}) => `${what}: ${jobs}`).reverse(), [
    ...[
      'pause Work: 0',
      'pause Work, Other: 0',
      'resume Other: 0',
      'pause everything: 0',
      'resume Work: 0',
      'resume everything: 0',
      'resume Work: 0',
    ],
    ...['run schedule nightly: 1', 'run schedule hourly: 0'],
  ])
})

test('what takes long has a page that says how far it is, and can be stopped; what is done stays done', async t => {
  const {jobq, queue, site} = await setUp(t)
  await queue.enqueueMany(
    (function* () {
      for (let i = 0; i < 30_000; i++) yield {func: 'Many', priority: 1}
    })(),
  )
  const begun = await site.post('/actions', {
    do: 'priority',
    priority: 2,
    all: 'jobs',
    confirm: 1,
    back: '/jobs',
  })
  assert.equal(begun.status, 303)
  const path = begun.headers.location!
  assert.match(path, /^\/runs\/[\w-]+\?back=%2Fjobs$/)
  const running = await site.get(path)
  assert.match(running.text, /<noscript><meta http-equiv="refresh" content="2"><\/noscript>/)
  assert.match(running.text, /<button>Stop<\/button>/)
  const run = () => site.document<{state: string; done: number}>(path)
  await until('some are done', async () => (await run()).done > 0)
  const stop = /name="stop" value="([\w-]+)"/.exec(running.text)![1]!
  assert.equal((await site.post('/actions', {stop})).status, 303)
  await until('it stops', async () => (await run()).state !== 'running')
  const {state, done} = await run()
  assert.equal(state, 'stopped')
  assert.ok(done > 0 && done < 30_000)
  const {stdout} = await jobq(['list', '--json'])
  assert.equal((JSON.parse(stdout) as Row[]).filter(({priority}) => priority === 2).length, done)
  const [last] = await site.document<{what: string; jobs: number}[]>('/log')
  assert.deepEqual([last!.what, last!.jobs], ['priority 2 for all', done])
})

test('a server that ends cuts an action short between two jobs, and the log says how far it came', async t => {
  const {jobq, queue, site} = await setUp(t)
  await queue.enqueueMany(
    (function* () {
      for (let i = 0; i < 30_000; i++) yield {func: 'Many', priority: 1}
    })(),
  )
  const begun = await site.post('/actions', {do: 'priority', priority: 2, all: 'jobs', confirm: 1})
  await until('some are done', async () => {
    return (await site.document<{done: number}>(begun.headers.location!)).done > 0
  })
  site.web.kill('SIGTERM')
  const {code, stderr} = await site.web.exited
  assert.deepEqual([code, stderr], [0, ''])
  const [last] = await (await startSite(jobq)).document<{jobs: number}[]>('/log')
  const {stdout} = await jobq(['list', '--json'])
  assert.equal((JSON.parse(stdout) as Row[]).filter(({priority}) => priority === 2).length, last!.jobs)
})

test('a job that runs is told to stop, and what it writes is told as it writes it', async t => {
  const {jobq, queue, site} = await setUp(t)
  mkdirSync(join(jobq.folder, 'workers'))
  const source = `export default {work: job => new Promise((resolve, reject) => {
    console.log('begun <b>')
    job.signal.addEventListener('abort', () => reject(job.signal.reason))
  })}`
  writeFileSync(join(jobq.folder, 'workers/Slow.mjs'), source)
  const {id} = await queue.enqueue('Slow')
  const work = jobq.start(['work'])
  await work.prints(/begun <b>/)
  const {streamOf} = await import('./site.ts')
  const stream = await streamOf(`${site.url}/jobs/${id}/output`)
  let events = ''
  stream.setEncoding('utf8')
  stream.on('data', part => {
    events += part
  })
  await until('it is told', () => /event: output\ndata: \{"text":"begun <b>\\n"/.test(events))
  assert.match(await said(site, {do: 'cancel', job: id}), new RegExp(`^Job ${id} was told to stop\\.$`))
  await until('the end is told', () => /event: end\ndata: \{"id":1,"outcome":"aborted"\}/.test(events))
  work.kill('SIGTERM')
  assert.equal((await work.exited).code, 0)
  const page = await site.get(`/jobs/${id}`)
  assert.match(page.text, /begun &lt;b&gt;/)
  assert.match(await said(site, {do: 'retry', job: id}), /^Retried as job \d+\.$/)
})
