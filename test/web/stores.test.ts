/** The pages and their actions on each kind of database, and on several at once. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {type TestContext, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {webHandler} from '../../src/lib/web.ts'
import {databaseKinds} from '../support/kinds.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const URL_ = 'http://localhost'
const PAGES = [
  '/',
  '/jobs',
  '/failures',
  '/exceptions',
  '/finished',
  '/workers',
  '/schedules',
  '/pauses',
  '/log',
]

for (const {name, skip, create} of await databaseKinds())
  test(`on ${name}`, {skip}, async t => pagesOn(t, [(await create(t)).db]))

test('on several databases, of which a job is 2:7', async t => {
  const folder = tempFolder(t)
  await pagesOn(t, [join(folder, '1.db'), join(folder, '2.db')])
})

async function pagesOn(t: TestContext, db: readonly string[]): Promise<void> {
  const queue = await JobQueue.open({db, config: '/dev/null', durable: false})
  t.after(() => queue.close())
  const web = webHandler(queue, {authorize: () => 'Ünal'})
  t.after(() => web.close())
  const document = async <T>(path: string): Promise<{rows: T[]; next: string | null}> => {
    const answer = await web.fetch(new Request(`${URL_}${path}`, {headers: {accept: 'application/json'}}))
    const text = await answer.text()
    assert.equal(answer.status, 200, `${path}: ${text}`)
    const next = /^<(.+)>/.exec(answer.headers.get('link') ?? '')?.[1] ?? null
    return {rows: JSON.parse(text) as T[], next}
  }
  const all = async <T>(first: string) => {
    const rows: T[] = []
    for (let path: string | null = first; path !== null; ) {
      const page: {rows: T[]; next: string | null} = await document<T>(path)
      rows.push(...page.rows)
      path = page.next
    }
    return rows
  }
  const act = async (fields: Record<string, string>) => {
    const body = new URLSearchParams({...fields, confirm: '1'})
    const headers = {origin: URL_, 'sec-fetch-site': 'same-origin', accept: 'application/json'}
    const answer = await web.fetch(new Request(`${URL_}/actions`, {method: 'POST', headers, body}))
    const run = (await answer.json()) as {id: string; done: number; state: string}
    await until('it is done', async () => {
      const {rows} = await document<never>(`/runs/${run.id}`)
      Object.assign(run, rows)
      return run.state !== 'running'
    })
    return [run.state, run.done]
  }

  for (let i = 0; i < 12; i++) await queue.enqueue('Mail', {arg: {nth: i}, uniqkey: i === 0 ? 'k' : null})
  await queue.work({
    workers: {Mail: async () => Promise.reject(new Error(`no route to 10.0.0.${Math.random()}`))},
    mode: 'drain',
  })
  for (let i = 0; i < 70; i++)
    await queue.enqueue('Later', {arg: {kind: i % 2 ? 'odd' : 'even'}, priority: i % 3, delay: 600 + (i % 5)})
  for (const path of PAGES) assert.equal((await web.fetch(new Request(`${URL_}${path}`))).status, 200, path)
  interface Row {
    id: number | string
  }
  const ids = async (path: string) => (await all<Row>(path)).map(({id}) => String(id))
  const jobs = await ids('/jobs')
  assert.deepEqual([jobs.length, new Set(jobs).size], [70, 70])
  const listed = await queue.list({limit: 100})
  assert.deepEqual(
    jobs,
    listed.map(({id, db}) => String(db === undefined ? id : `${db}:${id}`)),
  )
  assert.equal((await ids('/jobs?q=odd')).length, 35)
  assert.equal((await ids('/exceptions?q=NO+ROUTE')).length, 12)
  const groups = await all<{id: string; count: number}>('/failures')
  assert.deepEqual(
    groups.map(({count}) => count),
    [12],
  )
  const one = await web.fetch(new Request(`${URL_}/jobs/${jobs[0]}`))
  assert.match(await one.text(), /Later/)
  assert.deepEqual(await act({do: 'cancel', all: 'jobs', q: '"odd"'}), ['done', 35])
  assert.deepEqual(await act({do: 'priority', priority: '9', job: (await ids('/jobs'))[0]!}), ['done', 1])
  assert.deepEqual(await act({do: 'retry', all: 'exceptions', func: 'Mail', group: groups[0]!.id}), [
    'done',
    12,
  ])
  assert.equal(await queue.count('Mail'), 12)
  assert.deepEqual(await act({do: 'pause', func: 'Mail'}), ['done', 1])
  assert.deepEqual(await queue.paused(), ['Mail'])
  const log = await all<{who: string; what: string; jobs: number}>('/log')
  assert.equal(log.length, 4)
  assert.deepEqual(
    log.find(({what}) => what.startsWith('retry')),
    {...log.find(({what}) => what.startsWith('retry'))!, who: 'Ünal', jobs: 12},
  )
}
