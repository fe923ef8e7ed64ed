/**
 * The pages in a real browser, with JavaScript and without: each page, each action, what axe-core finds, narrow screens, the
 * dark, what is live.
 * WEB_SCREENSHOTS=docs/web makes the pictures of docs/web.md.
 */
import assert from 'node:assert/strict'
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {after, before, describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import type {Browser, BrowserContext, BrowserContextOptions, Page, Response} from 'playwright-core'
import sharp from 'sharp'
import {JobQueue} from '../../src/lib/index.ts'
import {NO_BROWSER, startBrowser} from '../support/browser.ts'
import {jobqIn} from '../support/jobq.ts'
import type {Started} from '../support/started.ts'
import {soon, until} from '../support/until.ts'
import {type Site, startSite, TOKEN} from './site.ts'

const AXE = join(import.meta.dirname, '../../node_modules/axe-core/axe.min.js')

const CONFIG = `export default {
  setJobStatus: undefined,
  schedules: {
    nightly: {cron: '0 22 * * *', timeZone: 'Asia/Seoul', func: 'Report'},
    hourly: {cron: '7 * * * *', timeZone: 'UTC', func: 'Sync'},
  },
}`.replace('  setJobStatus: undefined,\n', '')
const MAIL = `export default {setJobStatus: true, async work({arg}) {
  console.log('sending to', arg?.to)
  if (arg?.fails) throw new Error('connect ECONNREFUSED 10.0.0.' + arg.fails + ':25')
}}`
const SLOW = `export default {async work({signal}) {
  for (let i = 1; !signal.aborted; i++) {
    console.log('step', i, '<b>')
    await new Promise(resolve => setTimeout(resolve, 300))
  }
  throw signal.reason
}}`
const EVIL = `"><img src=x onerror="document.title='hurt'"><script>document.title='hurt'</script>'`

const PAGES = [
  ...[
    '/',
    '/jobs',
    '/jobs?func=Mail&q=ada',
    '/failures',
    '/exceptions',
    '/finished',
    '/workers',
    '/schedules',
  ],
  ...['/pauses', '/log', '/nowhere'],
]

describe('the pages in a browser', {skip: NO_BROWSER}, () => {
  const jobq = jobqIn({after} as Parameters<typeof jobqIn>[0])
  let site: Site
  let queue: JobQueue
  let work: Started
  let browser: Browser
  /** A job that runs, one that failed, one whose every text is markup. */
  let [running, failed, evil] = [0, 0, 0]

  before(async () => {
    writeFileSync(join(jobq.folder, 'jobq.config.mjs'), CONFIG)
    mkdirSync(join(jobq.folder, 'workers'))
    writeFileSync(join(jobq.folder, 'workers/Mail.mjs'), MAIL)
    writeFileSync(join(jobq.folder, 'workers/Slow.mjs'), SLOW)
    queue = await JobQueue.open({db: jobq.db, config: '/dev/null', durable: false})
    for (let i = 1; i <= 6; i++)
      await queue.enqueue('Mail', {arg: {to: `ada-${i}`, ...(i > 3 ? {fails: i} : {})}})
    work = jobq.start(['work', '--max-workers', '2'])
    await until('all are done', async () => (await queue.count('Mail')) === 0)
    failed = (await queue.exceptions())[0]!.jobId!
    running = (await queue.enqueue('Slow')).id
    await until('it runs', async () => (await queue.find(running))?.state === 'running')
    evil = (await queue.enqueue(EVIL, {arg: {[EVIL]: EVIL}, uniqkey: EVIL, delay: 7200})).id
    await queue.pause([EVIL])
    for (let i = 0; i < 70; i++)
      await queue.enqueue('Report', {arg: {month: i, for: 'ada'}, delay: 3600 + i, priority: i % 3})
    site = await startSite(jobq)
    browser = await startBrowser()
  })
  after(async () => {
    await browser?.close()
    await queue?.close()
    work?.kill('SIGKILL')
  })

  /**
   * A page of the browser, and what it complains of: whatever its own code throws, logs, or is refused. Playwright has no
   * time-outs for these. That it is closed is not waited for: where a page has the script, Chromium never answered in three of forty
   * runs, on a full machine; with the browser all are closed.
   */
  async function open(t: TestContext, options: BrowserContextOptions = {}) {
    const context = await soon('there is a context', browser.newContext(options))
    t.after(() => {
      void context.close().catch(() => {}) // that of a browser which has ended meanwhile
    })
    return {context, ...(await pageIn(context))}
  }

  async function pageIn(context: BrowserContext) {
    const page = await soon('there is a page', context.newPage())
    const complaints: string[] = []
    page.on('pageerror', error => complaints.push(error.message))
    page.on('console', message => {
      // Chromium logs each answer that is no success
      if (message.type() === 'error' && !/status of 404/.test(message.text())) complaints.push(message.text())
    })
    const go = async (path: string) => {
      await page.goto(`${site.url}${path}`)
      return page
    }
    return {page, go, complaints}
  }

  /** @param rules those that matter; all without */
  const violationsOf = async (page: Page, ...rules: string[]) => {
    await page.evaluate(readFileSync(AXE, 'utf8'))
    const only = rules.length > 0 ? {runOnly: rules} : {}
    const found = (await page.evaluate(`axe.run(${JSON.stringify(only)})`)) as {
      violations: {id: string; nodes: {html: string}[]}[]
    }
    return found.violations.map(({id, nodes}) => `${id}: ${nodes[0]!.html}`)
  }

  test('axe-core finds nothing, by day and by night; nothing is cut off on a narrow screen', async t => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const rules = colorScheme === 'light' ? ['color-contrast'] : [] // the same page but for its colours
      const {page, go, complaints} = await open(t, {
        colorScheme,
        bypassCSP: true, // for axe-core alone
        viewport: {width: colorScheme === 'light' ? 1280 : 360, height: 800},
      })
      const confirm = '/jobs'
      for (const path of [...PAGES, `/jobs/${running}`, `/jobs/${failed}`, `/jobs/${evil}`]) {
        await go(path)
        assert.deepEqual(await violationsOf(page, ...rules), [], `${colorScheme} ${path}`)
        if (colorScheme === 'dark')
          assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 360, path)
      }
      await go(confirm)
      await page.click('text=All that match >> xpath=.. >> button:has-text("Cancel")')
      assert.match((await page.textContent('h1'))!, /Is that meant/)
      assert.deepEqual(await violationsOf(page, ...rules), [], `${colorScheme} confirmation`)
      assert.deepEqual(complaints, [])
    }
  })

  test('nothing that a job says is run, and the policy refuses nothing of ours', async t => {
    const {page, go, complaints} = await open(t)
    for (const path of [
      ...PAGES,
      `/jobs/${running}`,
      `/jobs/${evil}`,
      `/jobs?q=${encodeURIComponent(EVIL)}`,
    ]) {
      await go(path)
      assert.notEqual(await page.title(), 'hurt')
      assert.equal(await page.locator('img').count(), 0)
    }
    assert.deepEqual(complaints, [])
  })

  for (const javaScriptEnabled of [true, false])
    describe(javaScriptEnabled ? 'with JavaScript' : 'without JavaScript', () => {
      const told = (page: Page) => page.textContent('[role=status]')

      test('pages are found, filtered, gone through', async t => {
        const {page, go, complaints} = await open(t, {javaScriptEnabled})
        await go('/')
        for (const name of [
          'Jobs',
          'Failures',
          'Finished',
          'Workers',
          'Schedules',
          'Pauses',
          'Log',
          'Overview',
        ]) {
          await page.click(`nav >> text="${name}"`)
          assert.equal(await page.textContent('nav a[aria-current]'), name)
        }
        await page.click('nav >> text=Jobs')
        await page.fill('[name=func]', 'Report')
        await page.selectOption('[name=state]', 'delayed')
        await page.fill('.filters [name=q]', '"month":6')
        await page.click('text=Show')
        const url = new URL(page.url())
        assert.deepEqual(
          ['func', 'state', 'q'].map(name => url.searchParams.get(name)),
          ['Report', 'delayed', '"month":6'],
        )
        assert.equal(await page.locator('#jobs tbody tr').count(), 11)
        await go('/jobs?func=Report')
        assert.equal(await page.locator('#jobs tbody tr').count(), 50)
        await page.click('text=Next page')
        assert.equal(await page.locator('#jobs tbody tr').count(), 20)
        await page.click('text=First page')
        assert.equal(await page.locator('#jobs tbody tr').count(), 50)
        await page.fill('#find', String(failed))
        await page.press('#find', 'Enter')
        await page.waitForURL(`**/jobs/${failed}`)
        assert.match((await page.textContent('#attempts'))!, /failed[\s\S]*ECONNREFUSED/)
        assert.match((await page.textContent('#output'))!, /sending to ada/)
        assert.deepEqual(complaints, [])
      })

      test('one job: priority, cancel; the page tells what was done', async t => {
        const {id} = await queue.enqueue('Once', {delay: 600})
        const {page, go, complaints} = await open(t, {javaScriptEnabled})
        await go(`/jobs/${id}`)
        await page.fill('[name=priority]', '12')
        await page.click('main >> text=Set')
        assert.match((await told(page))!, new RegExp(`Job ${id} has priority 12\\.`))
        assert.equal((await queue.find(id))!.priority, 12)
        await page.click('main >> text=Cancel')
        assert.equal(await queue.find(id), null)
        assert.deepEqual(complaints, [])
      })

      test('those that are ticked, once it is confirmed', async t => {
        const ids = []
        for (let i = 0; i < 3; i++) ids.push((await queue.enqueue('Some', {delay: 600})).id)
        const {page, go, complaints} = await open(t, {javaScriptEnabled})
        await go('/jobs?func=Some')
        await page.check(`[aria-label="Job ${ids[0]}"]`)
        await page.check(`[aria-label="Job ${ids[2]}"]`)
        await page.click('#chosen button:has-text("Cancel")')
        assert.match(
          (await page.textContent('.question'))!,
          new RegExp(`cancel 2 jobs: ${ids[0]}, ${ids[2]}`),
        )
        await page.click('text=No, go back')
        assert.equal(new URL(page.url()).pathname, '/jobs')
        assert.equal(await queue.count('Some'), 3)
        await page.check(`[aria-label="Job ${ids[0]}"]`)
        await page.check(`[aria-label="Job ${ids[2]}"]`)
        await page.click('#chosen button:has-text("Cancel")')
        await page.click('text=Yes, do it')
        assert.match((await told(page))!, /: 2 done\./)
        assert.deepEqual(
          (await queue.list({func: 'Some'})).map(({id}) => id),
          [ids[1]],
        )
        await queue.cancel(ids[1]!)
        assert.deepEqual(complaints, [])
      })

      test('all that match; it runs on by itself, and its page says how far it is', async t => {
        const func = `Many${javaScriptEnabled}`
        await queue.enqueueMany(
          (function* () {
            for (let i = 0; i < 600; i++) yield {func, delay: 600}
          })(),
        )
        const {page, go, complaints} = await open(t, {javaScriptEnabled})
        await go(`/jobs?func=${func}`)
        const all = page.locator('fieldset', {hasText: 'All that match'})
        await all.locator('[name=priority]').fill('3')
        await all.locator('button:has-text("Set")').click()
        // A slow machine does not count to the end
        assert.match((await page.textContent('main'))!, /It concerns (600|more than [1-5]?\d?\d) jobs\./)
        await page.click('text=Yes, do it')
        // On its page it is followed, with the script or without; a quick machine has done it by then
        if (new URL(page.url()).pathname.startsWith('/runs/'))
          await page.waitForSelector('#run:not([data-busy])', {timeout: 60_000})
        const [first] = await queue.list({func, limit: 1})
        await until('it is done', async () =>
          (await queue.list({func, limit: 600})).every(job => job.priority === 3),
        )
        assert.equal(first!.priority, 3)
        await go(`/jobs?func=${func}`)
        await page
          .locator('fieldset', {hasText: 'All that match'})
          .locator('button:has-text("Cancel")')
          .click()
        await page.click('text=Yes, do it')
        await until('they are gone', async () => (await queue.count(func)) === 0)
        assert.deepEqual(complaints, [])
      })

      test('pauses and schedules', async t => {
        const {page, go, complaints} = await open(t, {javaScriptEnabled})
        await go('/')
        await page.click('[aria-label="Pause Mail"]')
        assert.match((await told(page))!, /Mail is paused\./)
        assert.ok((await queue.paused()).includes('Mail'))
        await page.click('[aria-label="Resume Mail"]')
        assert.match((await told(page))!, /Mail is resumed\./)
        await go('/pauses')
        await page.fill('main [name=func]:visible', 'Report')
        await page.click('main >> text="Pause"')
        await page.click('[aria-label="Resume Report"]')
        assert.deepEqual(await queue.paused(), [EVIL])
        await go('/schedules')
        await page.click('[aria-label="Run now: hourly"]')
        assert.match((await told(page))!, /Job \d+ is enqueued\./)
        await go('/log')
        assert.match((await page.textContent('#log'))!, /run schedule hourly/)
        assert.deepEqual(complaints, [])
      })

      test('a failed job is retried from its page, and a group from theirs', async t => {
        const before = (await queue.exceptions({unretried: true, limit: 100})).length
        await queue.pause(['Mail'])
        const {page, go, complaints} = await open(t, {javaScriptEnabled})
        const [exception] = await queue.exceptions({unretried: true, limit: 1})
        await go(`/jobs/${exception!.jobId}`)
        await page.click('main >> text="Retry"')
        assert.match((await told(page))!, /Retried as job \d+\./)
        await go('/failures')
        assert.match((await page.textContent('#groups'))!, /connect ECONNREFUSED #/)
        await page.click('[aria-label^="Retry all of Mail"]')
        await page.click('text=Yes, do it')
        assert.match((await told(page))!, new RegExp(`: ${before - 1} done\\.`))
        assert.equal((await queue.exceptions({unretried: true})).length, 0)
        // They fail again, for the next
        await queue.resume(['Mail'])
        await until('they have failed', async () => {
          return (await queue.exceptions({unretried: true, limit: 100})).length === before
        })
        assert.deepEqual(complaints, [])
      })
    })

  test('a page that is seen follows what goes on, and rests while it is hidden', async t => {
    const {context, page, go, complaints} = await open(t)
    await go('/')
    await page.waitForSelector('#live:not([hidden])')
    const {id} = await queue.enqueue('Seen', {delay: 600})
    await page.waitForSelector('#funcs >> text=Seen')
    await page.evaluate(`
        Object.defineProperty(document, 'hidden', {value: true, configurable: true})
        document.dispatchEvent(new Event('visibilitychange'))`)
    assert.ok(await page.locator('#live').isHidden())
    await page.evaluate(`
        Object.defineProperty(document, 'hidden', {value: false})
        document.dispatchEvent(new Event('visibilitychange'))`)
    await page.waitForSelector('#live:not([hidden])')
    await queue.cancel(id)
    assert.deepEqual(complaints, [])
    await context.close()
  })

  test('what a job writes is seen as it writes it, until it is told to stop', async t => {
    const {page, go, complaints} = await open(t)
    await go(`/jobs/${running}`)
    await page.waitForSelector('#output:has-text("step")')
    const steps = async () => ((await page.textContent('#output')) ?? '').match(/step \d+ <b>/g)?.length ?? 0
    const seen = await steps()
    await until('there is more', async () => (await steps()) > seen)
    await page.click('text=Stop and cancel')
    assert.match((await page.textContent('[role=status]'))!, /was told to stop\./)
    await page.waitForSelector('#facts:has-text("aborted")')
    assert.deepEqual(complaints, [])
  })

  test('keys, times in the reader’s zone, the focus', async t => {
    const {page, go, complaints} = await open(t, {timezoneId: 'Asia/Seoul', locale: 'en-GB'})
    await go('/jobs?func=Report')
    assert.match((await page.getAttribute('#jobs time', 'title'))!, /GMT\+9|Korea/)
    await page.keyboard.press('/')
    assert.equal(await page.evaluate('document.activeElement.id'), 'find')
    await page.keyboard.type('n')
    assert.equal(await page.inputValue('#find'), 'n')
    await page.evaluate('document.activeElement.blur()')
    await page.keyboard.press('n')
    await page.waitForURL('**/jobs?*after=*')
    await go('/')
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate('document.activeElement.className'), 'skip')
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate('document.activeElement.id'), 'main')
    assert.deepEqual(complaints, [])
  })

  test('with a token: in by the login page, and out', async t => {
    const guarded = await startSite(jobq, [], {env: {JOBQ_WEB_TOKEN: TOKEN}})
    for (const javaScriptEnabled of [true, false]) {
      const {page, complaints} = await open(t, {javaScriptEnabled, bypassCSP: true})
      await page.goto(`${guarded.url}/jobs?func=Report`)
      if (javaScriptEnabled) assert.deepEqual(await violationsOf(page), [])
      await page.fill('#token', 'not-the-right-token')
      await page.click('button')
      assert.match((await page.textContent('[role=alert]'))!, /not the token/)
      await page.fill('#token', TOKEN)
      await page.click('button')
      assert.equal(new URL(page.url()).search, '?func=Report')
      assert.equal(await page.evaluate('document.cookie'), '')
      await page.click('text=Log out')
      assert.equal(new URL(page.url()).pathname, '/login')
      await page.goto(`${guarded.url}/`)
      assert.equal(new URL(page.url()).pathname, '/login')
      assert.deepEqual(
        complaints.filter(text => !/status of 401/.test(text)),
        [],
      )
    }
  })

  test('another site can neither act here nor frame it', async t => {
    const {createServer} = await import('node:http')
    const target = site.url.replace('127.0.0.1', 'localhost')
    const evilSite = createServer((_request, response) => {
      response.setHeader('content-type', 'text/html')
      response.end(`<form method=post action="${site.url}/actions"><input name=do value=pause>
          <input name=everything value=1><button>Win</button></form><iframe src="${site.url}/"></iframe>
          <script>fetch('${target}/actions', {method: 'POST', mode: 'no-cors', body: new URLSearchParams({do: 'pause', everything: '1'})})
          </script>`)
    })
    evilSite.listen(0, '127.0.0.1')
    t.after(() => evilSite.close())
    await until('it listens', () => evilSite.listening)
    const {port} = evilSite.address() as {port: number}
    const {page} = await open(t)
    for (const host of ['127.0.0.1', 'localhost']) {
      await page.goto(`http://${host}:${port}/`)
      const frame = page.frames().find(each => each !== page.mainFrame())
      assert.doesNotMatch((await frame?.content()) ?? '', /Overview/)
      const [answer] = await Promise.all([page.waitForResponse(/\/actions$/), page.click('button')])
      assert.equal(answer.status(), 403)
    }
    assert.deepEqual(await queue.paused(), [EVIL])
  })

  test('a first visit is small', async t => {
    const {page} = await open(t)
    const bodies: Promise<Buffer>[] = []
    const weigh = (response: Response) => {
      if (!response.url().endsWith('/live')) bodies.push(response.body())
    }
    page.on('response', weigh)
    const empty = await startSite(jobq, ['--db', join(jobq.folder, 'empty.db')])
    await page.goto(empty.url)
    await page.waitForSelector('#live:not([hidden])')
    page.off('response', weigh) // what it asks for from now on may be cut off by the end
    const bytes = (await Promise.all(bodies)).reduce((sum, {length}) => sum + length, 0)
    assert.ok(bodies.length >= 3) // the page, the sheet, the script
    t.diagnostic(`a first visit, without data: ${bytes} bytes`)
    assert.ok(bytes > 5000 && bytes < 60_000, `${bytes} bytes`)
  })

  test('pictures for docs/web.md', {skip: process.env.WEB_SCREENSHOTS === undefined}, async t => {
    const folder = process.env.WEB_SCREENSHOTS!
    mkdirSync(folder, {recursive: true})
    const {site, failed, working} = await exhibition(t)
    t.after(() => working.kill('SIGTERM'))
    const picture = async (page: Page, name: string) =>
      sharp(await page.screenshot())
        .png({palette: true, colours: 32, effort: 10})
        .toFile(join(folder, `${name}.png`))
    const {page} = await open(t, {viewport: {width: 1000, height: 560}})
    for (const [name, path] of [
      ...[['overview', '/'] as const, ['jobs', '/jobs'] as const, ['job', `/jobs/${failed}`] as const],
      ...(['failures', 'exceptions', 'finished', 'workers', 'schedules', 'pauses', 'log'] as const).map(
        name => [name, `/${name}`] as const,
      ),
    ]) {
      await page.goto(`${site.url}${path}`)
      await picture(page, name)
    }
    const dark = await open(t, {colorScheme: 'dark', viewport: {width: 400, height: 560}})
    await dark.page.goto(site.url)
    await picture(dark.page, 'narrow')
  })
})

/** A queue that has something to show. */
async function exhibition(t: TestContext) {
  const jobq = jobqIn(t)
  writeFileSync(join(jobq.folder, 'jobq.config.mjs'), CONFIG)
  mkdirSync(join(jobq.folder, 'workers'))
  writeFileSync(join(jobq.folder, 'workers/Mail.mjs'), MAIL)
  writeFileSync(join(jobq.folder, 'workers/Thumbnail.mjs'), SLOW)
  const queue = await JobQueue.open({db: jobq.db, config: '/dev/null', durable: false})
  t.after(() => queue.close())
  for (let i = 0; i < 12; i++) {
    const arg = {to: `ada-${i}@example.com`, ...(i % 4 === 3 ? {fails: i} : {})}
    await queue.enqueue('Mail', {arg, uniqkey: `welcome-${i}`})
  }
  await jobq(['work', '--drain', '--abilities', 'Mail'])
  const db = new Sqlite(jobq.db)
  const insert = db.prepare(`INSERT INTO job_status (func_id, arg, status, job_start_time, job_end_time)
    VALUES ((SELECT id FROM func WHERE name = 'Mail'), 'null', 'completed', unixepoch() - ?, unixepoch() - ?)`)
  for (let i = 0; i < 900; i++) {
    const ago = Math.floor((i * 3500) / 900)
    const seconds = [0, 0, 1, 2, 6, 14][Math.floor(i * 7.3) % 6]!
    if (Math.sin(ago / 400) > -0.7) insert.run(ago + seconds, ago)
  }
  db.close()
  for (let i = 0; i < 30; i++)
    await queue.enqueue('Thumbnail', {arg: {picture: `${1000 + i}.jpg`}, priority: i % 3})
  for (let i = 0; i < 5; i++) await queue.enqueue('Report', {arg: {month: i}, delay: 3600 * i + 60})
  await queue.pause(['Report'])
  const working = jobq.start(['work', '--max-workers', '3'])
  await until('some run', async () => (await queue.list({state: 'running'})).length === 3)
  const site = await startSite(jobq)
  await site.post('/actions', {do: 'run', schedule: 'hourly'})
  await site.post('/actions', {do: 'pause', func: 'Sync'})
  await site.post('/actions', {do: 'cancel', all: 'jobs', func: 'Sync', confirm: 1})
  const {jobId: failed} = (await queue.exceptions())[0]!
  return {site, failed, working}
}
