/**
 * Ticks of schedules, by real dispatchers: each is one job, whoever is killed meanwhile and whatever clock a host has.
 * JOBQ_SCHEDULE_SECONDS=120 for the long form.
 */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {setTimeout as sleep} from 'node:timers/promises'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import {Clock} from '../faults/clock.ts'
import {type DatabaseKind, databaseKinds, type Prepared} from '../support/kinds.ts'
import {Random} from '../support/random.ts'
import type {Started} from '../support/started.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const SECONDS = Number(process.env.JOBQ_SCHEDULE_SECONDS ?? 10)
const NOP = '#!/bin/sh\nexit 0'

function configure(site: Workplace, schedules: object, more = ''): void {
  site.write('jobq.config.mjs', `export default {${more} schedules: ${JSON.stringify(schedules)}}`)
}

const EACH = {cron: '* * * * * *', func: 'Work', overlap: true}

/** What is written of each tick that has enqueued a job, and of each job: by triggers, whoever it is. */
const AUDITS: Record<DatabaseKind['name'], readonly string[]> = {
  SQLite: [
    'CREATE TRIGGER audit_tick AFTER UPDATE OF ran_at ON jobq_schedule BEGIN INSERT INTO audit_ticks VALUES (NEW.ran_at, NEW.job_id); END',
    'CREATE TRIGGER audit_job AFTER INSERT ON job BEGIN INSERT INTO audit_jobs VALUES (NEW.id); END',
  ],
  MySQL: [
    'CREATE TRIGGER audit_tick AFTER UPDATE ON jobq_schedule FOR EACH ROW INSERT INTO audit_ticks SELECT NEW.ran_at, NEW.job_id FROM DUAL WHERE NOT NEW.job_id <=> OLD.job_id',
    'CREATE TRIGGER audit_job AFTER INSERT ON job FOR EACH ROW INSERT INTO audit_jobs VALUES (NEW.id)',
  ],
  PostgreSQL: [
    "CREATE FUNCTION audit_tick() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit_ticks VALUES (NEW.ran_at, NEW.job_id); RETURN NULL; END'",
    'CREATE TRIGGER audit_tick AFTER UPDATE ON jobq_schedule FOR EACH ROW WHEN (NEW.job_id IS DISTINCT FROM OLD.job_id) EXECUTE FUNCTION audit_tick()',
    "CREATE FUNCTION audit_job() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit_jobs VALUES (NEW.id); RETURN NULL; END'",
    'CREATE TRIGGER audit_job AFTER INSERT ON job FOR EACH ROW EXECUTE FUNCTION audit_job()',
  ],
}

async function audit(kind: DatabaseKind, {query}: Prepared): Promise<void> {
  await query('CREATE TABLE audit_ticks (tick BIGINT, job BIGINT)')
  await query('CREATE TABLE audit_jobs (job BIGINT)')
  for (const sql of AUDITS[kind.name]) await query(sql)
}

const kinds = await databaseKinds()

for (const kind of kinds)
  test(`two dispatchers on ${kind.name}, killed and started again: each second is one job`, {
    skip: kind.skip,
  }, async t => {
    const prepared = await kind.create(t)
    const {db, query} = prepared
    await audit(kind, prepared)
    const site = new Workplace(t, {Work: NOP})
    configure(site, {each: EACH})
    // The database's clock counts: on a server, one host's may be wrong
    const clock = new Clock(t)
    clock.set(1)
    const start = (host: number) =>
      site.start(['work', '--db', db, '--max-workers', '2'], {
        env: host === 1 && kind.server ? clock.env : {},
      })
    const random = new Random()
    const hosts: (Started | null)[] = [start(0), start(1)]
    const row = async () => {
      const [row] = await query('SELECT passed_to FROM jobq_schedule')
      return row ? Number(row.passed_to) : null
    }
    await until('it is taken up', async () => (await row()) !== null)
    const begin = (await row())!
    let kills = 0
    let longest = 0
    for (let last = begin; (await row())! < begin + SECONDS; ) {
      const host = random.below(2)
      await new Promise(resolve => setTimeout(resolve, 100 + random.below(1200)))
      const process = hosts[host]
      if (process) {
        process.kill('SIGKILL')
        await process.exited
        hosts[host] = null
        kills++
      } else hosts[host] = start(host)
      const now = (await row())!
      longest = Math.max(longest, now - last)
      last = now
    }
    for (const [host, process] of hosts.entries()) hosts[host] = process ?? start(host)
    const behind = (await row())! + 3
    await until('both tick again', async () => (await row())! >= behind)
    for (const process of hosts) await process!.prints(/works Work/) // it listens to signals by then
    for (const process of hosts) process!.kill('SIGTERM')
    for (const process of hosts) assert.equal((await process!.exited).code, 0, process!.stderr)
    const end = (await row())!
    const ticks = await query('SELECT tick, job FROM audit_ticks ORDER BY tick, job')
    assert.deepEqual(
      ticks.map(({tick}) => Number(tick)),
      Array.from({length: end - begin}, (_, i) => begin + 1 + i),
      `each from ${begin} to ${end} once`,
    )
    const jobs = await query('SELECT job FROM audit_jobs ORDER BY job')
    assert.deepEqual(
      jobs.map(({job}) => Number(job)),
      ticks.map(({job}) => Number(job)).sort((a, b) => a - b),
    )
    t.diagnostic(`${end - begin} ticks, ${kills} kills, at most ${longest} s without one being seen`)
  })

describe('schedules, while jobq work runs', {concurrency: 2}, () => {
  const jobs = (site: Workplace, func = 'Work') =>
    site.column<string>(
      'SELECT CAST(arg AS TEXT) FROM job JOIN func ON func.id = func_id WHERE name = ?',
      func,
    )
  const passedTo = (site: Workplace, name: string) =>
    site.column<number>('SELECT passed_to FROM jobq_schedule WHERE name = ?', name)[0]
  const moveBack = (site: Workplace, name: string, seconds: number) =>
    site.rows('UPDATE jobq_schedule SET passed_to = passed_to - ? WHERE name = ?', seconds, name)
  /** Works what no schedule enqueues, until the test ends it. */
  async function work(site: Workplace, ...flags: string[]) {
    const work = site.work('--exec', 'Other=true', ...flags)
    await work.prints(/works Other/)
    return work
  }

  async function end(work: Started): Promise<string> {
    work.kill('SIGTERM')
    const {code, stderr} = await work.exited
    assert.equal(code, 0, stderr)
    return stderr
  }

  test('while the last job waits no other is added; the ticks are passed; a paused function is no matter', async t => {
    const site = new Workplace(t)
    configure(site, {each: {...EACH, overlap: false, arg: {a: 1}}})
    await site.run(['pause', 'Work'])
    const running = await work(site)
    await until('there is one', () => jobs(site).length === 1)
    const first = passedTo(site, 'each')!
    await until('others are passed', () => passedTo(site, 'each')! > first + 1)
    assert.deepEqual(jobs(site), ['{"a":1}'])
    await end(running)
  })

  test('what was missed for long is not enqueued, or with catchUp once; what is late by seconds is', async t => {
    const site = new Workplace(t)
    const daily = {cron: '0 0 * * *', func: 'Work'}
    configure(site, {
      skips: {...daily, arg: 'skips'},
      catches: {...daily, arg: 'catches', catchUp: true},
      late: {...EACH, arg: 'late'},
    })
    await end(await work(site)) // first sight: nothing of the past
    assert.deepEqual(
      jobs(site).filter(arg => arg !== '"late"'),
      [],
    )
    site.rows('DELETE FROM job')
    for (const name of ['skips', 'catches']) moveBack(site, name, 5 * 86_400)
    // Should this be within a minute of midnight, `skips` is merely late
    const isMidnight = (Date.now() / 1000) % 86_400 < 70
    const since = passedTo(site, 'late')!
    const running = await work(site)
    await until('it ticks', () => passedTo(site, 'late')! > since && jobs(site).includes('"catches"'))
    await end(running)
    const args = jobs(site)
    assert.equal(args.filter(arg => arg === '"catches"').length, 1)
    assert.equal(args.filter(arg => arg === '"late"').length, passedTo(site, 'late')! - since)
    if (!isMidnight) assert.ok(!args.includes('"skips"'))
  })

  test('HUP: new, changed and removed ones; a change runs no tick of the past; what is wrong is told', async t => {
    const site = new Workplace(t)
    configure(site, {a: {...EACH, arg: 'a'}, b: {cron: '0 0 1 1 *', func: 'Work', arg: 'b', catchUp: true}})
    const running = await work(site)
    await until('a ticks', () => jobs(site).includes('"a"'))
    moveBack(site, 'b', 40 * 86_400)
    const back = passedTo(site, 'b')!
    // Of this rhythm ticks have passed since then
    configure(site, {
      b: {cron: '0 0 * * *', func: 'Work', arg: 'b', catchUp: true},
      c: {...EACH, arg: 'c'},
    })
    running.kill('SIGHUP')
    await until('c ticks', () => jobs(site).includes('"c"'))
    const last = passedTo(site, 'a')!
    const count = jobs(site).filter(arg => arg === '"c"').length
    await until('c ticks again', () => jobs(site).filter(arg => arg === '"c"').length > count)
    assert.equal(passedTo(site, 'a'), last)
    assert.ok(passedTo(site, 'b')! > back + 39 * 86_400)
    assert.ok(!jobs(site).includes('"b"'))
    configure(site, {c: {cron: 'each minute', func: 'Work'}})
    running.kill('SIGHUP')
    await running.prints(/not reloaded: .*schedules\.c\.cron: expected a cron expression/)
    const now = passedTo(site, 'c')!
    await until('c goes on', () => passedTo(site, 'c')! > now)
    await end(running)
  })

  test('two of different configurations: the one that was read last ticks, the other says so', async t => {
    const site = new Workplace(t)
    configure(site, {a: {...EACH, arg: 'old'}})
    const old = await work(site)
    await until('the old one ticks', () => jobs(site).includes('"old"'))
    configure(site, {a: {...EACH, arg: 'new', timeZone: 'Asia/Seoul'}})
    const young = await work(site)
    await until('the new one ticks', () => jobs(site).includes('"new"'))
    await old.prints(
      /schedule a: another jobq work has read since that it is "\* \* \* \* \* \*" in Asia\/Seoul/,
    )
    const count = jobs(site).filter(arg => arg === '"old"').length
    const since = passedTo(site, 'a')!
    await until('it goes on', () => passedTo(site, 'a')! > since + 1)
    assert.equal(jobs(site).filter(arg => arg === '"old"').length, count)
    await end(young)
    assert.equal((await end(old)).match(/another jobq work/g)!.length, 1)
  })

  test('hooks and plugins see each tick as an enqueue; one that throws is told, once a tick', async t => {
    const site = new Workplace(t)
    configure(
      site,
      {good: {...EACH, arg: {n: 1}, uniqkey: 'k', priority: 3}, bad: {...EACH, func: 'Bad'}},
      `hooks: [{name: 'it', preEnqueue(call) {
        if (call.func === 'Bad') throw new Error('not now')
        call.context.from = 'hook'
        call.arg = {...call.arg, seen: call.uniqkey}
      }}],`,
    )
    const running = await work(site)
    await until('there is one', () => jobs(site).length === 1)
    await running.prints(/schedule bad: no job for the tick of [\dT:.-]+Z: .*not now/)
    assert.deepEqual(jobs(site), ['{"n":1,"seen":"k"}'])
    assert.deepEqual(site.column('SELECT context FROM jobq_context'), ['{"from":"hook"}'])
    assert.deepEqual(site.column('SELECT priority FROM job'), [3])
    const since = passedTo(site, 'good')!
    await until('the key is taken, and it is passed', () => passedTo(site, 'good')! > since)
    const log = await end(running)
    const told = log.match(/schedule bad: no job for the tick of \S+/g)!
    assert.equal(new Set(told).size, told.length)
    assert.deepEqual(jobs(site, 'Bad'), [])
  })

  test('a database that is locked for seconds loses no tick', async t => {
    const site = new Workplace(t)
    configure(site, {each: EACH})
    const running = await work(site)
    await until('it ticks', () => jobs(site).length > 0)
    const lock = new Sqlite(site.db)
    t.after(() => lock.close())
    lock.exec('BEGIN IMMEDIATE')
    const since = passedTo(site, 'each')!
    await until('ticks have come and gone', () => Date.now() / 1000 > since + 3)
    assert.equal(passedTo(site, 'each'), since)
    lock.exec('COMMIT')
    await until('it has passed them', () => passedTo(site, 'each')! > since + 3)
    await end(running)
    const ran = passedTo(site, 'each')!
    const [{first}] = site.rows<{first: number}>('SELECT min(enqueue_time) AS first FROM job') as [
      {first: number},
    ]
    assert.equal(jobs(site).length, ran - first + 1)
  })

  test('two reloads while the database is locked: the last one counts', async t => {
    const site = new Workplace(t)
    configure(site, {a: {...EACH, arg: 'a'}})
    const running = await work(site, '--debug')
    await until('it ticks', () => jobs(site).length > 0)
    const lock = new Sqlite(site.db)
    t.after(() => lock.close())
    lock.exec('BEGIN IMMEDIATE')
    for (const [nth, cron] of ['0 0 1 1 *', '0 0 2 1 *'].entries()) {
      configure(site, {a: {cron, func: 'Work'}, b: {...EACH, arg: 'b'}})
      running.kill('SIGHUP')
      await until('it reloads', () => (running.stderr.match(/reloading/g)?.length ?? 0) > nth)
      await sleep(200) // what it has read is being taken up: that waits for the lock
    }
    lock.exec('COMMIT')
    await until('b ticks', () => jobs(site).includes('"b"'))
    assert.doesNotMatch(running.stderr, /another jobq work/)
    await end(running)
  })

  test('only who works for ever ticks; what can not be a schedule ends any work with 2', async t => {
    const site = new Workplace(t)
    configure(site, {each: EACH})
    await site.enqueue(['Other'])
    assert.equal((await site.drain('--exec', 'Other=sleep 2')).code, 0)
    assert.deepEqual(site.column('SELECT name FROM jobq_schedule'), [])
    configure(site, {each: {...EACH, cron: 'x'}})
    const {code, stderr} = await site.drain('--exec', 'Other=true')
    assert.equal(code, 2)
    assert.match(stderr, /^jobq: [^\n]*schedules\.each\.cron: expected a cron expression[^\n]*\n$/)
  })

  test('one of a function that has no worker here is told, unless it was said which are worked', async t => {
    const site = new Workplace(t, {Work: NOP})
    configure(site, {yearly: {cron: '0 0 1 1 *', func: 'Report'}, monthly: {cron: '0 0 1 * *', func: 'Work'}})
    for (const [words, says] of [
      [[], /Z jobq: schedule yearly: Report has no worker here; its jobs wait for another `jobq work`$/m],
      [['--abilities', 'Work'], null],
    ] as const) {
      const work = site.start(['work', ...words])
      await work.prints(/ works /)
      work.kill('SIGTERM')
      await work.exited
      if (says) assert.match(work.stderr, says)
      assert.equal(work.stderr.split('schedule').length - 1, says ? 1 : 0, work.stderr)
    }
  })

  test('an application that works ticks, too; its queue shows and runs them', async t => {
    const site = new Workplace(t)
    configure(site, {each: {...EACH, arg: 7}, yearly: {cron: '0 0 1 1 *', func: 'Work', arg: 'by hand'}})
    await using queue = await JobQueue.open({db: site.db, config: site.path('jobq.config.mjs')})
    const args: unknown[] = []
    const ending = new AbortController()
    const enqueued: number[] = []
    queue.on('enqueue', ({id}) => enqueued.push(id))
    const done = queue.work({
      workers: {Work: async job => void args.push(job.arg)},
      signal: ending.signal,
    })
    await until('it has worked two', () => args.length >= 2)
    const {id} = await queue.runSchedule('yearly')
    await until('it is worked', () => args.includes('by hand'))
    const [each, yearly] = await queue.schedules()
    assert.deepEqual(
      [each!.name, each!.cron, each!.timeZone, each!.func, each!.next! - each!.last! >= 1],
      ['each', '* * * * * *', 'UTC', 'Work', true],
    )
    assert.deepEqual(yearly!.lastJob, {id})
    assert.ok(enqueued.includes(id) && enqueued.includes(each!.lastJob!.id))
    await assert.rejects(queue.runSchedule('monthly'), /no schedule "monthly"/)
    ending.abort()
    await done
  })
})
