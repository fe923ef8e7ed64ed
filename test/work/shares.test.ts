/** Limits of what is scarce over several `jobq work`: of each key so many at once, of a function and of a key so many in a while. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {test} from 'node:test'
import Sqlite, {type Database} from 'better-sqlite3'
import type {NewJob} from '../../src/lib/jobs/job.ts'
import {Site} from '../support/manager.ts'
import {until} from '../support/until.ts'

/** Notes `begin KEY ID PRIORITY` and `end KEY ID PRIORITY`, and naps for arg.ms in between. */
const NAP = `import {appendFileSync} from 'node:fs'
const say = (word, job) =>
  appendFileSync(process.env.RECORD, [word, job.arg.customer, job.id, job.priority].join(' ') + '\\n')
export default {
  async work(job) {
    say('begin', job)
    await new Promise(resolve => setTimeout(resolve, job.arg.ms))
    say('end', job)
  },
}
`

interface Note {
  word: string
  customer: string
  id: number
  priority: number
}

function notes(site: Site): Note[] {
  return site
    .read('record')
    .split('\n')
    .filter(Boolean)
    .map(line => {
      const [word, customer, id, priority] = line.split(' ') as [string, string, string, string]
      return {word, customer, id: Number(id), priority: Number(priority)}
    })
}

const begun = (site: Site) => notes(site).filter(({word}) => word === 'begin')
const ended = (site: Site) => notes(site).filter(({word}) => word === 'end')

function job(customer: string, ms: number, more: Partial<NewJob> = {}): NewJob {
  return {
    func: 'Call',
    arg: JSON.stringify({customer, ms}),
    uniqkey: null,
    priority: 0,
    due: {in: 0},
    ...more,
  }
}

async function enqueue(site: Site, jobs: readonly NewJob[]): Promise<void> {
  await using queue = await site.queue()
  await queue.addMany(jobs)
}

function config(limits: object): Record<string, string> {
  return {'workers/Call.js': NAP, 'jobq.config.json': JSON.stringify({funcs: {Call: limits}})}
}

const PER_CUSTOMER = {maxRunningPerKey: 2, shareBy: 'customer'}

async function waiting(site: Site): Promise<number> {
  await using queue = await site.queue()
  return (await queue.counts('Call'))[0]?.waiting ?? 0
}

/** @throws if more of a customer's ran at once */
function assertAtOnce(all: readonly Note[], most: number): void {
  const running = new Map<string, number>()
  for (const {word, customer} of all) {
    const now = (running.get(customer) ?? 0) + (word === 'begin' ? 1 : -1)
    running.set(customer, now)
    assert.ok(now <= most, `${now} of ${customer} ran at once`)
  }
}

test('two at once of each customer over two processes: never more, and all get done', async t => {
  const site = new Site(t, config(PER_CUSTOMER))
  const customers = ['a', 'b', 'c']
  await enqueue(
    site,
    Array.from({length: 180}, (_, i) => job(customers[i % 3]!, 5)),
  )
  const managers = [1, 2].map(() => site.work('--max-workers', '4', '--max-request-per-child', '0'))
  await until('all are done', () => ended(site).length === 180, 60_000)
  for (const manager of managers) assert.equal(await manager.end(), 0)
  assertAtOnce(notes(site), 2)
  assert.equal(new Set(begun(site).map(({id}) => id)).size, 180)
})

test('ten thousand of one customer in front starve nobody: those behind are done while hardly any of its are', async t => {
  const site = new Site(t, config(PER_CUSTOMER))
  await enqueue(
    site,
    Array.from({length: 10_000}, () => job('flood', 50, {priority: 5})),
  )
  await enqueue(
    site,
    Array.from({length: 20}, () => job('drop', 1)),
  )
  const manager = site.work('--max-workers', '4', '--max-request-per-child', '0')
  const drops = () => ended(site).filter(({customer}) => customer === 'drop').length
  await until('the others are done', () => drops() === 20, 60_000)
  assert.ok(ended(site).length < 2000, `${ended(site).length} were done before`)
  assertAtOnce(notes(site), 2)
  assert.equal(await manager.end(), 0)
})

test('within a customer, and among what may run, the most important go first', async t => {
  const site = new Site(t, config({maxRunningPerKey: 1, shareBy: 'customer'}))
  await enqueue(
    site,
    Array.from({length: 120}, (_, i) => job(i % 2 === 0 ? 'a' : 'b', 1, {priority: (i * 37) % 101})),
  )
  const drain = site.work('--drain', '--max-workers', '1')
  assert.equal(await drain.exit(), 0)
  const priorities = begun(site).map(({priority}) => priority)
  assert.equal(priorities.length, 120)
  assert.deepEqual(
    priorities,
    priorities.toSorted((a, b) => b - a),
  )
})

test('a drain of one worker and one at once works all of a customer, though others wait for its place', async t => {
  const site = new Site(t, config({maxRunningPerKey: 1}))
  await enqueue(
    site,
    Array.from({length: 30}, (_, i) => job('a', 1, {uniqkey: `a:${i}`})),
  )
  const drain = site.work('--drain', '--max-workers', '4')
  assert.equal(await drain.exit(), 0)
  assert.equal(ended(site).length, 30)
  assertAtOnce(notes(site), 1)
})

/** The database itself notes what starts are counted. */
function noteStarts(site: Site): Database {
  const db = new Sqlite(site.db)
  db.exec(`CREATE TABLE noted (key TEXT, first INTEGER, last INTEGER, starts INTEGER);
    CREATE TRIGGER noting AFTER INSERT ON jobq_rate BEGIN
      INSERT INTO noted VALUES (new.share_key, new.first_ms, new.last_ms, new.starts); END`)
  return db
}

/** How many have started, and that it were never more in any such while. */
function startsOf(db: Database, key: string, {most, ms}: {most: number; ms: number}): number {
  type Noted = {first: number; last: number; starts: number}
  const noted = db
    .prepare('SELECT first, last, starts FROM noted WHERE key = ? ORDER BY rowid')
    .all(key) as Noted[]
  const counted = new Map<number, number>()
  const times: number[] = []
  for (const {first, last, starts} of noted) {
    const more = starts - (counted.get(first) ?? 0)
    counted.set(first, starts)
    for (let i = 0; i < more; i++) times.push(last)
  }
  for (const [i, at] of times.slice(most).entries())
    assert.ok(at - times[i]! >= ms, `${most + 1} starts of ${key} in ${at - times[i]!} ms`)
  return times.length
}

test('a rate over two processes: never more starts in any such while, and all get done', async t => {
  const site = new Site(t, config({rate: '10/1s'}))
  await enqueue(
    site,
    Array.from({length: 35}, () => job('a', 1)),
  )
  const db = noteStarts(site)
  t.after(() => db.close())
  const managers = [1, 2].map(() => site.work('--max-workers', '4', '--max-request-per-child', '0'))
  await until('all are done', () => ended(site).length === 35, 60_000)
  for (const manager of managers) assert.equal(await manager.end(), 0)
  assert.equal(startsOf(db, '', {most: 10, ms: 1000}), 35)
})

test('with jobs taken ahead no more start at once than a rate lets: none is counted before it can start', async t => {
  const site = new Site(t, config({rate: '4/1s'}))
  await enqueue(site, [job('long', 2500, {priority: 1}), ...Array.from({length: 12}, () => job('short', 1))])
  const manager = site.work('--prefetch', '20')
  await until('the long one is done', () => begun(site).length > 1)
  await new Promise(resolve => setTimeout(resolve, 300))
  assert.ok(begun(site).length <= 1 + 4, `${begun(site).length - 1} started at once`)
  await until('all are done', () => ended(site).length === 13)
  assert.equal(await manager.end(), 0)
})

test('a rate of each key: each has its own, and what waits for it starts by itself', async t => {
  const site = new Site(t, config({ratePerKey: '3/1s', shareBy: 'customer'}))
  await enqueue(
    site,
    Array.from({length: 20}, (_, i) => job(i % 2 === 0 ? 'a' : 'b', 1)),
  )
  const db = noteStarts(site)
  t.after(() => db.close())
  const managers = [1, 2].map(() => site.work('--max-workers', '3', '--max-request-per-child', '0'))
  await until('all are done', () => ended(site).length === 20, 60_000)
  for (const manager of managers) assert.equal(await manager.end(), 0)
  for (const customer of ['a', 'b']) assert.equal(startsOf(db, customer, {most: 3, ms: 1000}), 10)
})

test('what a killed dispatcher has left parked is worked by another', async t => {
  const site = new Site(t, config(PER_CUSTOMER))
  await enqueue(
    site,
    Array.from({length: 12}, () => job('a', 60_000)),
  )
  const first = site.work('--max-workers', '4')
  await until('two run', () => begun(site).length === 2)
  await until('the others are parked', async () => (await waiting(site)) === 10)
  first.signal('SIGKILL')
  await first.exit()
  // One's lease has run out, which would take a minute; the other's has been taken away
  const db = new Sqlite(site.db)
  db.exec(`UPDATE job SET arg = '{"customer": "a", "ms": 1}';
    DELETE FROM job WHERE id = (SELECT min(id) FROM job WHERE grabbed_until > 0);
    UPDATE job SET grabbed_until = 1 WHERE grabbed_until > 0`)
  db.close()
  const second = site.work('--max-workers', '4')
  await until('the others are done', () => ended(site).length === 11, 60_000)
  assert.equal(await second.end(), 0)
  assertAtOnce(notes(site).slice(2), 2)
})

test('a reload without the limit frees all that is parked', async t => {
  const site = new Site(t, config({maxRunningPerKey: 1, shareBy: 'customer'}))
  const manager = site.work('--max-workers', '4')
  await enqueue(
    site,
    Array.from({length: 4}, () => job('a', 2000)),
  )
  await until('the others are parked', async () => (await waiting(site)) === 3)
  site.write('jobq.config.json', '{}')
  manager.signal('SIGHUP')
  await until('all run', () => begun(site).length === 4)
  await until('all are done', () => ended(site).length === 4)
  assert.equal(await waiting(site), 0)
  assert.equal(await manager.end(), 0)
})

test('executables say it in their line', async t => {
  const script = `#!/bin/sh
# jobq: max-running-per-key=1 share-by=customer
echo "begin a $JOBQ_ID 0" >> "$RECORD"
sleep 0.05
echo "end a $JOBQ_ID 0" >> "$RECORD"
`
  const site = new Site(t, {'workers/Call': script})
  await enqueue(
    site,
    Array.from({length: 8}, () => job('a', 0)),
  )
  const drain = site.work('--drain', '--max-workers', '4')
  assert.equal(await drain.exit(), 0)
  assert.equal(ended(site).length, 8)
  assertAtOnce(notes(site), 1)
})

test('what is wrong with a limit is said before anything is taken', async t => {
  for (const [limits, says] of [
    [{rate: '100'}, /funcs\.Call\.rate: expected a rate such as 100\/1m/],
    [{ratePerKey: 7}, /funcs\.Call\.ratePerKey: expected a rate such as 100\/1m/],
    [{rate: '0/1m'}, /funcs\.Call\.rate: expected a rate/],
    [{maxRunningPerKey: -1}, /funcs\.Call\.maxRunningPerKey: expected at least 0/],
    [{shareBy: ''}, /funcs\.Call\.shareBy: expected the name of a member/],
  ] as const) {
    const site = new Site(t, config(limits))
    const refused = site.work('--drain')
    assert.equal(await refused.exit(), 2)
    assert.match(refused.log, says)
  }
})

test('show says what a job waits for, copy takes it along, --job works it at once', async t => {
  const site = new Site(t, config(PER_CUSTOMER))
  await enqueue(site, [job('a', 60_000), job('a', 60_000), job('a', 1), job('b', 1)])
  const manager = site.work('--max-workers', '3')
  await until('the third is parked, the fourth done', async () => {
    return (await waiting(site)) === 1 && ended(site).length === 1
  })
  const shown = site.run('show', '3')
  assert.equal(await shown.exit(), 0)
  assert.match(shown.out, /^state +waiting\n.*^waits +for a place of a\ndue +\d{4}-/ms)
  const json = site.run('show', '3', '--json')
  await json.exit()
  const {run_after, ...parked} = JSON.parse(json.out).parked
  assert.deepEqual(parked, {waits_for: 'place', key: 'a'})
  assert.ok(run_after < 4_000_000_000)
  const copied = site.run('copy', '--to', join(site.folder, 'other.db'))
  assert.deepEqual([await copied.exit(), copied.out], [0, '1\n'])
  const other = new Sqlite(join(site.folder, 'other.db'), {readonly: true})
  assert.deepEqual(other.prepare('SELECT run_after FROM job').pluck().all(), [run_after])
  other.close()
  const chosen = site.run('work', '--job', '3')
  assert.equal(await chosen.exit(), 0)
  assert.deepEqual(
    ended(site).map(({id}) => id),
    [4, 3],
  )
  manager.signal('SIGTERM')
  manager.signal('SIGTERM')
  await manager.exit()
})

test("an application's own workers share, too; a limit that is none is refused", async t => {
  const site = new Site(t, {})
  await using queue = await site.queue()
  const jobs = Array.from({length: 12}, (_, i) => ({
    func: 'Call',
    uniqkey: `${i % 2 === 0 ? 'a' : 'b'}:${i}`,
  }))
  await queue.enqueueMany(jobs)
  let [running, most, done] = [0, 0, 0]
  const work = async ({uniqkey}: {uniqkey: string | null}) => {
    if (!uniqkey!.startsWith('a')) return
    most = Math.max(most, ++running)
    await new Promise(resolve => setTimeout(resolve, 5))
    running--
    done++
  }
  const summary = await queue.work({
    workers: {Call: {maxRunningPerKey: 1, work}},
    concurrency: 4,
    mode: 'drain',
  })
  assert.deepEqual([summary.completed, most, done], [12, 1, 6])
  await assert.rejects(
    queue.work({workers: {Call: {rate: 'often', work}}, mode: 'drain'}),
    /workers\.Call: rate: expected a rate such as 100\/1m/,
  )
})

test('with several databases each counts its own', async t => {
  const site = new Site(t, config(PER_CUSTOMER))
  const first = site.db
  const second = join(site.folder, 'second.db')
  for (const db of [first, second]) {
    site.db = db
    await enqueue(
      site,
      Array.from({length: 10}, () => job('a', 20)),
    )
  }
  site.env.JOBQ_DB = `${first},${second}`
  const drain = site.work('--drain', '--max-workers', '8')
  assert.equal(await drain.exit(), 0)
  assert.equal(ended(site).length, 20)
  assertAtOnce(notes(site), 4)
})

test('a drain does not wait for a rate', async t => {
  const site = new Site(t, config({rate: '3/1h'}))
  await enqueue(
    site,
    Array.from({length: 5}, () => job('a', 1)),
  )
  const drain = site.work('--drain', '--max-workers', '4')
  assert.equal(await drain.exit(), 0)
  assert.equal(ended(site).length, 3)
  assert.match(drain.out, /^3 completed in \S+ s\n2 jobs of Call may not start now by their limits$/m)
  const again = site.work('--once')
  assert.equal(await again.exit(), 6)
  await using queue = await site.queue()
  assert.equal((await queue.counts('Call'))[0]!.ready, 2)
})
