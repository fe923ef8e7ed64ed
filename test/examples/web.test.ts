/**
 * examples/web end to end: the application and `jobq work` beside it as two processes, and a real browser that uploads a
 * picture and sees it get on.
 */
import assert from 'node:assert/strict'
import {readdirSync, readFileSync} from 'node:fs'
import {get, type IncomingMessage, request} from 'node:http'
import {join} from 'node:path'
import {after, before, describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import type {Page} from 'playwright-core'
import sharp from 'sharp'
import {upload} from '../../examples/web/load.ts'
import type {Picture} from '../../examples/web/pictures.ts'
import {NO_BROWSER, startBrowser} from '../support/browser.ts'
import {RUN_JS} from '../support/jobq.ts'
import {Started} from '../support/started.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const example = join(import.meta.dirname, '../../examples/web')
const photo = join(example, '../photo/photo.jpg')

describe('examples/web', () => {
  const folder = tempFolder({after} as Parameters<typeof tempFolder>[0])
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    WEB_DB: join(folder, 'web.db'),
    WEB_DATA: join(folder, 'data'),
    PORT: '0',
  }
  let web: Started
  let work: Started
  let url = ''

  before(async () => {
    web = new Started(process.execPath, [join(example, 'server.ts')], {cwd: folder, env})
    url = (await web.prints(/listening on (\S+)/))[1]!
    work = new Started(process.execPath, [RUN_JS, 'work'], {cwd: example, env})
  })
  after(async () => {
    for (const process of [web, work]) process.child.kill('SIGTERM')
    await Promise.all([web.exited, work.exited])
  })

  test('a picture is uploaded in a browser, and its state is seen to change', {
    skip: NO_BROWSER,
  }, async () => {
    const browser = await startBrowser()
    try {
      const page = await browser.newPage()
      const complaints = complaintsOf(page)
      await page.goto(url)
      await page.setInputFiles('input[type=file]', photo)
      await page.click('button')
      await page.waitForSelector('#answer:has-text("answered in")')
      for (const step of ['crop', 'thumbnail', 'notify'])
        await page.waitForSelector(`li [data-step=${step}][data-state=completed]`)
      // The square is shown, whole
      const isShown = `(image => image?.complete && image.naturalWidth === 320)(document.querySelector('li img'))`
      await page.waitForFunction(isShown)
      await screenshot(page)
      assert.deepEqual(complaints, [])
    } finally {
      await browser.close()
    }
  })

  test('what is no picture is refused, and nothing is stored', async () => {
    const before = await pictures()
    const form = new FormData()
    form.set('picture', new Blob(['not a picture'], {type: 'text/plain'}), 'notes.txt')
    const response = await fetch(`${url}/pictures`, {method: 'POST', body: form})
    assert.equal(response.status, 400)
    assert.deepEqual(await response.json(), {error: 'expected a picture'})
    assert.deepEqual(await pictures(), before)
  })

  test('a picture that is too large is refused, and leaves no file', async () => {
    const before = readdirSync(env.WEB_DATA)
    const form = new FormData()
    form.set('picture', new Blob([new Uint8Array(20_000_001)], {type: 'image/png'}), 'large.png')
    const response = await fetch(`${url}/pictures`, {method: 'POST', body: form})
    assert.equal(response.status, 413)
    assert.deepEqual(await response.json(), {error: 'expected at most 20 MB'})
    assert.deepEqual(readdirSync(env.WEB_DATA), before)
  })

  test('an upload that is cut short leaves no file', async () => {
    const before = readdirSync(env.WEB_DATA)
    const headers = {'content-type': 'multipart/form-data; boundary=part', 'content-length': 5_000_000}
    const cut = request(`${url}/pictures`, {method: 'POST', headers, agent: false})
    cut.on('error', () => {}) // the connection's end, which is meant
    cut.write('--part\r\nContent-Disposition: form-data; name="picture"; filename="cut.jpg"\r\n')
    cut.write('Content-Type: image/jpeg\r\n\r\n')
    cut.write(new Uint8Array(1_000_000))
    await until('it arrives', () => readdirSync(env.WEB_DATA).length > before.length)
    cut.destroy()
    await until('it is removed', () => readdirSync(env.WEB_DATA).length === before.length)
    assert.deepEqual(readdirSync(env.WEB_DATA), before)
  })

  test("another site's page is refused, and one that comes by another name", async () => {
    const {host} = new URL(url)
    const asked: [headers: Record<string, string>, status: number][] = [
      [{}, 200],
      [{origin: url}, 200],
      [{origin: 'https://example.com'}, 403],
      [{origin: 'null'}, 403],
      [{host: 'example.com'}, 403],
      [{host: host.replace('127.0.0.1', 'localhost')}, 200],
    ]
    for (const [headers, status] of asked) {
      const response = await ask('/pictures', headers)
      response.resume()
      assert.equal(response.statusCode, status, JSON.stringify(headers))
    }
  })

  test('so many pages may listen, and no more', async () => {
    const open: IncomingMessage[] = []
    try {
      for (let i = 0; i < 200; i++) open.push(await ask('/events', {}))
      assert.deepEqual([...new Set(open.map(({statusCode}) => statusCode))], [200])
      const refused = await ask('/events', {})
      refused.resume()
      assert.deepEqual([refused.statusCode, refused.headers['retry-after']], [503, '5'])
    } finally {
      for (const response of open) response.destroy()
    }
    await until('there is room again', async () => {
      const response = await ask('/events', {})
      response.destroy()
      return response.statusCode === 200
    })
  })

  test('200 uploads at once are all answered, and all their jobs done', async t => {
    const known = ids('picture').length
    const {answers, p50, p99, longest} = await upload(url, 200)
    t.diagnostic(
      `200 uploads at once: p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, longest ${longest.toFixed(0)} ms`,
    )
    assert.deepEqual([...new Set(answers.map(({status}) => status))], [201])
    assert.equal(ids('picture').length, known + 200)
    await until('all jobs are done', () => ids('job').length === 0, 120_000)
    await until('all is told', async () =>
      (await pictures()).every(({steps}) => Object.values(steps).every(({state}) => state === 'completed')),
    )
    assert.deepEqual(ids('exception_log'), [])
    const last = ids('picture').at(-1)
    const {width, height} = await sharp(join(folder, 'data', `${last}-crop.jpg`)).metadata()
    assert.deepEqual([width, height], [320, 320])
    const told = readFileSync(join(folder, 'data/notified.log'), 'utf8').trim().split('\n')
    for (let i = 1; i <= 200; i++) assert.ok(told.includes(`photo-${i}.jpg is ready`), `photo-${i}.jpg`)
  })

  test('an application that starts again goes on showing what was not done', async () => {
    work.child.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
    assert.equal((await upload(url, 1)).answers[0]!.status, 201)
    web.child.kill('SIGTERM')
    assert.equal((await web.exited).code, 0)
    web = new Started(process.execPath, [join(example, 'server.ts')], {cwd: folder, env})
    url = (await web.prints(/listening on (\S+)/))[1]!
    assert.equal((await pictures())[0]!.steps.crop.state, null)
    work = new Started(process.execPath, [RUN_JS, 'work'], {cwd: example, env})
    await until('it is done', async () => (await pictures())[0]!.steps.notify.state === 'completed')
  })

  test('what has failed says why; on a narrow screen as well, where nothing is cut off', {
    skip: NO_BROWSER,
  }, async () => {
    const form = new FormData()
    const name = `${'a-long-name-'.repeat(12)}.jpg`
    form.set('picture', new Blob(['no picture'], {type: 'image/jpeg'}), name)
    assert.equal((await fetch(`${url}/pictures`, {method: 'POST', body: form})).status, 201)
    const browser = await startBrowser()
    try {
      const page = await browser.newPage({viewport: {width: 360, height: 640}})
      await page.goto(url)
      await page.waitForSelector('li [data-step=crop][data-state=failed]')
      const reason = await page.textContent('li:has([data-state=failed]) .reason')
      assert.match(reason ?? '', /unsupported image format/)
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 360)
    } finally {
      await browser.close()
    }
  })

  function ask(path: string, headers: Record<string, string>): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      get(`${url}${path}`, {headers, agent: false}, resolve).on('error', reject)
    })
  }

  async function pictures(): Promise<Picture[]> {
    return (await fetch(`${url}/pictures`)).json() as Promise<Picture[]>
  }

  function ids(table: string): number[] {
    const db = new Sqlite(env.WEB_DB, {readonly: true})
    try {
      return db.prepare(`SELECT id FROM ${table} ORDER BY id`).pluck().all() as number[]
    } finally {
      db.close()
    }
  }
})

/** For the README, where WEB_SCREENSHOT says so: the page with one picture done and one just uploaded. */
async function screenshot(page: Page): Promise<void> {
  const path = process.env.WEB_SCREENSHOT
  if (path === undefined) return
  await page.setViewportSize({width: 860, height: 420})
  await page.screenshot({path})
}

/** What the page's own code throws or logs as an error. */
function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('pageerror', error => complaints.push(error.message))
  page.on('console', message => {
    if (message.type() === 'error') complaints.push(message.text())
  })
  return complaints
}
