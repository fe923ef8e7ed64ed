/** How far jobs say they are: told while they run, of modules, executables and functions of an application. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {describe, type TestContext, test} from 'node:test'
import pg from 'pg'
import {JobQueue, type Progress} from '../../src/lib/index.ts'
import {readProgress} from '../../src/lib/jobs/side-tables/progress.ts'
import {databaseKinds} from '../support/kinds.ts'
import type {TestServer} from '../support/servers.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const WORKERS = {
  Pages: `import {existsSync} from 'node:fs'
export default {async work(job) {
  for (let page = 1; page <= 4; page++) job.progress(page / 10, \`page \${page} of 10\`)
  while (!existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 5))
}}`,
  Script: `#!/bin/sh
echo "::jobq progress=12.5 an eighth" >&"$JOBQ_PROGRESS"
echo "::jobq progress=200 is none"
while ! test -e "$HOME/go"; do sleep 0.05; done`,
  Wrong: 'export default {work(job) { job.progress(2) }}',
}

const kinds = await databaseKinds()

test('a line says how far a job is, also one that ends as on Windows', () => {
  const half = {fraction: 0.5, text: 'page 5'}
  assert.deepEqual(readProgress('::jobq progress=50 page 5'), half)
  assert.deepEqual(readProgress('::jobq progress=50 page 5\r'), half)
  assert.deepEqual(readProgress('::jobq progress=50 page\u20285'), {fraction: 0.5, text: 'page\u20285'})
  assert.equal(readProgress('::jobq progress=101 page 5'), null)
})

for (const kind of kinds)
  describe(`progress on ${kind.name}`, {
    concurrency: 2,
    skip: kind.skip,
  }, () => {
    async function place(t: TestContext) {
      const {db, query} = await kind.create(t)
      const site = new Workplace(t, WORKERS)
      const queue = await JobQueue.open({db})
      t.after(() => queue.close())
      return {site, queue, query, db}
    }

    test('is seen while a job runs, what it said last, and leaves with it', async t => {
      const {site, queue, query, db} = await place(t)
      const pages = await queue.enqueue('Pages', {tracked: true})
      const script = await queue.enqueue('Script')
      const said: Progress[] = []
      const waiting = queue.wait(pages, {onProgress: progress => said.push(progress)})
      const flags = ['--max-workers', '3', '--jobs-per-child', '2', '--db', db]
      const work = site.start(['work', '--abilities', 'Pages,Script', ...flags])
      const progressOf = async ({id}: {id: number}) => (await queue.find(id))?.progress
      const PAGES = {fraction: 0.4, text: 'page 4 of 10'}
      const SCRIPT = {fraction: 0.125, text: 'an eighth'}
      await until('both are told', async () => {
        const found = JSON.stringify([await progressOf(pages), await progressOf(script)])
        return found === JSON.stringify([PAGES, SCRIPT])
      })
      await until('who waits has heard', () => said.at(-1)?.fraction === 0.4)
      const run = (...words: string[]) => site.run([...words, '--db', db])
      assert.match((await run('show', String(pages.id))).stdout, /\nprogress +40% page 4 of 10\n/)
      const listed = JSON.parse((await run('list', '--state', 'running', '--json')).stdout)
      assert.deepEqual(
        listed.map(({progress}: {progress: Progress}) => progress).sort(),
        [PAGES, SCRIPT].sort(),
      )
      await until('status has it', async () => {
        const {stdout} = await run('status')
        return /\t12% an eighth\n/.test(stdout) && /\t40% page 4 of 10\n/.test(stdout)
      })
      assert.match(work.stderr, /Script \| ::jobq progress=200 is none\n/)
      assert.doesNotMatch(work.stderr, /an eighth/)
      site.write('go', '')
      assert.equal((await waiting).outcome, 'completed')
      await until(
        'nothing is left of it',
        async () => (await query('SELECT job_id FROM jobq_progress')).length === 0,
      )
      work.kill('SIGTERM')
      assert.equal((await work.exited).code, 0)
    })

    test('of functions of an application is told to its listeners; what is no part of 1 is a mistake', async t => {
      const {queue, query} = await place(t)
      await queue.enqueue('Pages')
      await queue.enqueue('Wrong')
      await queue.enqueue('Rounded')
      const events: unknown[] = []
      queue.on('progress', ({func, fraction, text}) => events.push([func, fraction, text]))
      const heard = Promise.withResolvers<void>()
      queue.on('progress', () => heard.resolve())
      const workers = {
        Pages: async (job: {progress(fraction: number, text?: string): void}) => {
          job.progress(0.1)
          job.progress(0.25, 'a quarter')
          await heard.promise
        },
        Rounded(job: {progress(fraction: number): void}) {
          for (const part of [0 / 0, 1 + 1e-9, -1e-9, 1]) job.progress(part)
        },
        Wrong: (job: {progress(fraction: number): void}) => job.progress(40),
      }
      await queue.work({workers, mode: 'drain'})
      assert.deepEqual(events, [['Pages', 0.25, 'a quarter']])
      const [{message} = {message: ''}, ...others] = await queue.exceptions()
      assert.deepEqual(others, [])
      assert.match(message, /^progress: expected a part from 0 to 1, got 40 /)
      assert.deepEqual(await query('SELECT job_id FROM jobq_progress'), [])
    })
  })

const postgres = kinds.find(({name}) => name === 'PostgreSQL')!

describe('a database of PostgreSQL that has not all characters', {skip: postgres.skip}, () => {
  async function latin1(t: TestContext): Promise<string> {
    const {url} = postgres.server as TestServer
    const name = `jobq_test_${randomBytes(6).toString('hex')}`
    const admin = new pg.Client(url)
    await admin.connect()
    t.after(async () => {
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
      await admin.end()
    })
    await admin.query(
      `CREATE DATABASE ${name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`,
    )
    const db = Object.assign(new URL(url), {pathname: `/${name}`}).href
    await JobQueue.init({db})
    return db
  }

  test('progress is told with ? in their place, and all jobs go on', async t => {
    const db = await latin1(t)
    const site = new Workplace(t, {
      Smile: `#!/bin/sh
echo "::jobq progress=50 half \u{1f600}" >&"$JOBQ_PROGRESS"
while ! test -e "$HOME/go"; do sleep 0.05; done`,
    })
    const queue = await JobQueue.open({db})
    const {id} = await queue.enqueue('Smile')
    const work = site.start(['work', '--drain', '--db', db])
    await until('it is told', async () => (await queue.find(id))?.progress?.text === 'half ?')
    site.write('go', '')
    assert.equal((await work.exited).code, 0)
    assert.match(work.stderr, /Smile completed/)
    await queue.close()
  })

  test('who has them in his name acts as others do, and is told with ? in their place', async t => {
    const queue = await JobQueue.open({db: await latin1(t)})
    await queue.logAction({who: 'Łukasz', what: 'cancel 7'})
    assert.deepEqual(
      (await queue.actions({limit: 9})).map(({who, what}) => [who, what]),
      [['?ukasz', 'cancel 7']],
    )
    await queue.close()
  })

  test('a result that has them is kept', async t => {
    const db = await latin1(t)
    const site = new Workplace(t, {
      Smile: `export default {work: () => ({face: '\u{1f600}', name: 'Zoë', ключ: 1})}`,
    })
    const queue = await JobQueue.open({db})
    const {id} = await queue.enqueue('Smile', {keepResult: '1h'})
    assert.equal((await site.drain('--db', db)).code, 0)
    const shown = await queue.show(id)
    assert.deepEqual(shown?.result?.value, {face: '\u{1f600}', name: 'Zoë', ключ: 1})
    await queue.close()
  })

  test('keys of what is scarce that have them are limited as others are', async t => {
    const db = await latin1(t)
    const site = new Workplace(t, {
      Scarce: '#!/bin/sh\n# jobq: max-running-per-key=1 share-by=to\nsleep 0.2',
    })
    const queue = await JobQueue.open({db})
    for (const to of ['\u{1f600}', '\u{1f600}', 'ä', 'ä', 'a']) await queue.enqueue('Scarce', {arg: {to}})
    const work = site.start(['work', '--max-workers', '5', '--db', db])
    await until('three run, two wait', async () => {
      const states = (await queue.list({limit: 9})).map(({state}) => state).sort()
      return states.join() === 'running,running,running,waiting,waiting'
    })
    await until('all are done', async () => (await queue.count()) === 0)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0, work.stderr)
    await queue.close()
  })
})
