/**
 * examples/web end to end: the application and `jobq work` beside it as two processes, and a real browser that uploads a
 * picture and sees it get on. The browser is Debian's Chromium, or what CHROMIUM names; without one its part is skipped,
 * with CI=true it fails.
 */
import assert from 'node:assert/strict'
import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {after, before, describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {chromium, type Page} from 'playwright-core'
import sharp from 'sharp'
import {upload} from '../../examples/web/load.ts'
import type {Picture} from '../../examples/web/pictures.ts'
import {RUN_JS} from '../support/jobq.ts'
import {Started} from '../support/started.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const example = join(import.meta.dirname, '../../examples/web')
const photo = join(example, '../photo/photo.jpg')
const CHROMIUM = [
  process.env.CHROMIUM ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]

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

  test('a picture is uploaded in a browser, and its state is seen to change', async t => {
    const executablePath = CHROMIUM.find(path => path !== '' && existsSync(path))
    if (!executablePath) return without(t, 'no Chromium: apt-get install chromium, or name one in CHROMIUM')
    const browser = await chromium.launch({executablePath, args: ['--no-sandbox', '--disable-gpu']})
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

function without(t: {skip(message: string): void}, missing: string): void {
  if (process.env.CI === 'true') throw new Error(missing)
  t.skip(missing)
}
