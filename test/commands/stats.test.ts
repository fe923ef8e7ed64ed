import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {stripVTControlCharacters} from 'node:util'
import type {Database} from 'better-sqlite3'
import {parseExposition} from '../support/exposition.ts'
import {jobqIn} from '../support/jobq.ts'
import {funcId, now, openDatabase, seedException, seedJob, seedStatus} from '../support/seed.ts'
import {Picture} from '../support/terminal.ts'
import {until} from '../support/until.ts'

type T = Parameters<typeof jobqIn>[0]

async function prepared(t: T) {
  const jobq = jobqIn(t)
  assert.equal((await jobq(['init'])).code, 0)
  return {jobq, db: openDatabase(t, jobq.db)}
}

/** Two functions with something of everything, one that has only a name. */
function seedAll(db: Database): void {
  funcId(db, 'Idle')
  seedJob(db, {run_after: now() - 100})
  seedJob(db, {run_after: now() - 500, priority: 3})
  seedJob(db, {run_after: now() + 1000})
  seedJob(db, {grabbed_until: now() + 1000})
  seedJob(db, {func: 'Other', run_after: now() - 50})
  seedException(db)
  seedException(db, {retried: 1})
  for (const took of [1, 2, 2, 3, 100])
    seedStatus(db, {job_start_time: now() - 120 - took, job_end_time: now() - 120})
  seedStatus(db, {status: 'abort', job_start_time: now() - 90_000, job_end_time: now() - 86_400})
  seedStatus(db, {func: 'Other', job_start_time: now() - 207, job_end_time: now() - 200})
}

const COUNTS = {ready: 0, delayed: 0, running: 0, failed: 0, completed: 0, aborted: 0}

describe('stats --json', () => {
  test('has the promised keys, first and in their order', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const {stdout, stderr, code} = await jobq(['stats', '--json'])
    assert.equal(stderr, '')
    assert.equal(code, 0)
    const {funcs, total} = JSON.parse(stdout)
    const keys = ['ready', 'delayed', 'running', 'failed', 'completed', 'aborted', 'oldest_ready_age']
    assert.deepEqual(Object.keys(funcs[0]).slice(0, 8), ['func', ...keys])
    assert.deepEqual(Object.keys(total).slice(0, 7), keys)
    assert.deepEqual(
      funcs.map(({func}: {func: string}) => func),
      ['Idle', 'Notify', 'Other'],
    )
  })

  test('counts by function and in total', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const {funcs, total} = JSON.parse((await jobq(['stats', '--json'])).stdout)
    const [idle, notify, other] = funcs
    assert.partialDeepStrictEqual(idle, {func: 'Idle', ...COUNTS, oldest_ready_age: null})
    assert.partialDeepStrictEqual(notify, {
      ready: 2,
      delayed: 1,
      running: 1,
      failed: 1,
      completed: 5,
      aborted: 1,
    })
    assert.partialDeepStrictEqual(other, {...COUNTS, ready: 1, completed: 1})
    assert.partialDeepStrictEqual(total, {
      ready: 3,
      delayed: 1,
      running: 1,
      failed: 1,
      completed: 6,
      aborted: 1,
    })
    assert.ok(notify.oldest_ready_age >= 500 && notify.oldest_ready_age < 530)
    assert.ok(other.oldest_ready_age >= 50 && other.oldest_ready_age < 80)
    assert.equal(total.oldest_ready_age, notify.oldest_ready_age)
  })

  test('run times and jobs a minute, of the last hour', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const {funcs, total} = JSON.parse((await jobq(['stats', '--json'])).stdout)
    const [idle, notify, other] = funcs
    assert.partialDeepStrictEqual(idle, {
      run_time_median: null,
      run_time_p95: null,
      jobs_per_minute: null,
      per_minute: null,
    })
    assert.partialDeepStrictEqual(notify, {run_time_median: 2, run_time_p95: 100, jobs_per_minute: 0.08})
    assert.partialDeepStrictEqual(other, {run_time_median: 7, run_time_p95: 7, jobs_per_minute: 0.02})
    assert.partialDeepStrictEqual(total, {run_time_median: 2, run_time_p95: 100, jobs_per_minute: 0.1})
    for (const {per_minute: minutes} of [notify, other, total]) assert.equal(minutes.length, 60)
    assert.equal(Math.max(...notify.per_minute), 5)
    assert.ok(notify.per_minute.lastIndexOf(5) >= 56)
  })

  test('--func is one function, and a total of it', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const {funcs, total} = JSON.parse((await jobq(['stats', '--json', '--func', 'Other'])).stdout)
    assert.equal(funcs.length, 1)
    const {func, ...numbers} = funcs[0]
    assert.equal(func, 'Other')
    assert.deepEqual(numbers, total)
  })

  test('a pause shows', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    await jobq(['pause', 'Other'])
    const {funcs, total} = JSON.parse((await jobq(['stats', '--json'])).stdout)
    assert.deepEqual(
      funcs.map(({paused}: {paused: boolean}) => paused),
      [false, false, true],
    )
    assert.equal(total.paused, false)
  })

  test('an empty queue', async t => {
    const {funcs, total} = JSON.parse((await jobqIn(t)(['stats', '--json'])).stdout)
    assert.deepEqual(funcs, [])
    assert.partialDeepStrictEqual(total, {...COUNTS, oldest_ready_age: null, run_time_median: null})
  })
})

describe('stats in a pipe', () => {
  test('a line a function, the total last', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const {stdout, stderr} = await jobq(['stats'])
    assert.equal(stderr, '')
    assert.match(
      stdout,
      /^Idle(\t0){6}(\t\\N){4}\t0\t0\nNotify\t2\t1\t1\t1\t5\t1\t5\d\d\t2\t100\t0.08\t0\t0\nOther\t1\t0\t0\t0\t1\t0\t\d\d\t7\t7\t0.02\t0\t0\ntotal\t3\t1\t1\t1\t6\t1\t5\d\d\t2\t100\t0.1\t0\t0\n$/,
    )
  })
})

describe('stats --prometheus', () => {
  test('is what its scraper reads, whatever a function is called', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    seedJob(db, {func: 'odd "name"\\with\nall'})
    const {stdout, stderr, code} = await jobq(['stats', '--prometheus'])
    assert.equal(stderr, '')
    assert.equal(code, 0)
    const families = parseExposition(stdout)
    const samples = new Map([...families.values()].flatMap(family => [...family.samples]))
    for (const [series, value] of Object.entries({
      'jobq_jobs{func="Notify",state="ready"}': 2,
      'jobq_jobs{func="Notify",state="delayed"}': 1,
      'jobq_jobs{func="Notify",state="running"}': 1,
      'jobq_jobs{func="Notify",state="failed"}': 1,
      'jobq_jobs{func="Notify",state="completed"}': 5,
      'jobq_jobs{func="Notify",state="aborted"}': 1,
      'jobq_jobs{func="Idle",state="ready"}': 0,
      'jobq_jobs{func="odd \\"name\\"\\\\with\\nall",state="ready"}': 1,
      'jobq_latency_seconds{func="Idle"}': 0,
      'jobq_workers{state="idle"}': 0,
      'jobq_workers{state="working"}': 0,
      'jobq_workers{state="none"}': 0,
    }))
      assert.equal(samples.get(series), value, series)
    assert.ok(samples.get('jobq_latency_seconds{func="Notify"}')! >= 500)
    assert.deepEqual(
      [...families].map(([name, {type}]) => `${type} ${name}`),
      [
        'gauge jobq_jobs',
        'gauge jobq_latency_seconds',
        'gauge jobq_workers',
        'gauge jobq_schedule_next_timestamp_seconds',
        'gauge jobq_schedule_last_timestamp_seconds',
        'counter jobq_jobs_processed_total',
        'histogram jobq_job_duration_seconds',
      ],
    )
  })

  test('what job_status keeps: attempts by outcome, and their run times', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const families = parseExposition((await jobq(['stats', '--prometheus'])).stdout)
    assert.deepEqual(Object.fromEntries(families.get('jobq_jobs_processed_total')!.samples), {
      'jobq_jobs_processed_total{func="Notify",outcome="completed"}': 5,
      'jobq_jobs_processed_total{func="Notify",outcome="failed"}': 0,
      'jobq_jobs_processed_total{func="Notify",outcome="aborted"}': 1,
      'jobq_jobs_processed_total{func="Other",outcome="completed"}': 1,
      'jobq_jobs_processed_total{func="Other",outcome="failed"}': 0,
      'jobq_jobs_processed_total{func="Other",outcome="aborted"}': 0,
    })
    const notify = [...families.get('jobq_job_duration_seconds')!.samples]
      .filter(([series]) => series.includes('func="Notify"'))
      .map(([series, value]) => [/le="(.*)"/.exec(series)?.[1] ?? series.split('{', 1)[0], value])
    assert.deepEqual(notify, [
      ['1', 1],
      ['5', 4],
      ['10', 4],
      ['30', 4],
      ['60', 4],
      ['300', 5],
      ['900', 5],
      ['1800', 5],
      ['3600', 6],
      ['+Inf', 6],
      ['jobq_job_duration_seconds_sum', 108 + 3600],
      ['jobq_job_duration_seconds_count', 6],
    ])
  })

  test('with --func it is of that function only, and of no workers', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const families = parseExposition((await jobq(['stats', '--prometheus', '--func', 'Other'])).stdout)
    const series = [...families.values()].flatMap(({samples}) => [...samples.keys()])
    assert.ok(series.length > 10 && series.every(name => name.includes('func="Other"')))
    assert.equal(families.has('jobq_workers'), false)
  })

  test('the workers of every running manager', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db, {func: 'Wait'})
    const work = jobq.start(['work', '--exec', 'Wait=sleep 600', '--shutdown-timeout', '0'])
    const workers = async () => {
      const {stdout} = await jobq(['stats', '--prometheus'])
      return Object.fromEntries(parseExposition(stdout).get('jobq_workers')!.samples)
    }
    await until('it works', async () => (await workers())['jobq_workers{state="working"}'] === 1)
    work.kill('SIGTERM')
    await work.exited
    assert.deepEqual(await workers(), {
      'jobq_workers{state="idle"}': 0,
      'jobq_workers{state="working"}': 0,
      'jobq_workers{state="none"}': 0,
    })
  })
})

describe('stats --watch', () => {
  for (const [signal, args] of [
    ['SIGINT', ['--watch', '0.1']],
    ['SIGTERM', ['--watch=0.1']],
  ] as const)
    test(`${args.join(' ')}: prints again and again; stopped by ${signal} it is done`, async t => {
      const {jobq, db} = await prepared(t)
      seedJob(db)
      const watch = jobq.start(['stats', ...args])
      await watch.prints(/total\t1\t(.*\n)+total\t1\t/)
      seedJob(db)
      await watch.prints(/total\t2\t/)
      watch.kill(signal)
      const {code, stderr, stdout} = await watch.exited
      assert.equal(code, 0)
      assert.equal(stderr, '')
      assert.match(stdout, /^(Notify\t.*\ntotal\t.*\n)+$/)
    })

  test('bare, as the last word and before another flag', async t => {
    const jobq = jobqIn(t)
    for (const args of [
      ['--json', '--watch'],
      ['--watch', '--json'],
    ]) {
      const watch = jobq.start(['stats', ...args])
      await watch.prints(/\n/)
      watch.kill('SIGINT')
      const {code, stdout} = await watch.exited
      assert.equal(code, 0)
      for (const line of stdout.trimEnd().split('\n')) assert.deepEqual(JSON.parse(line).funcs, [])
    }
  })

  test('on a terminal it is drawn on the other screen, and the last picture stays', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db)
    const watch = jobq.start(['stats', '--watch', '0.1'], {tty: 'stdout', stdin: 'open'})
    const picture = new Picture(watch)
    const [title] = await picture.shows(/Notify +1 +0 +0 +0/)
    assert.ok(picture.isOther)
    assert.match(title!, /^\d\d:\d\d:\d\d {2}every 0.1 s, Ctrl-C ends$/)
    seedJob(db)
    const rows = await picture.shows(/Notify +2 +0 +0 +0/)
    assert.match(rows[2]!, /^FUNC +READY/)
    assert.equal(watch.stdout.split('FUNC').length, 2, 'what has not changed is not drawn again')
    watch.child.stdin!.write('\u0003') // Ctrl-C
    const {code, stdout, stderr} = await watch.exited
    assert.equal(code, 0)
    assert.equal(stderr, '')
    const last = stdout.slice(stdout.lastIndexOf('\u001b[?25h\u001b[?1049l'))
    const [head, row, ...more] = stripVTControlCharacters(last).trimEnd().split(/\r?\n/)
    assert.match(head!, /^FUNC +READY +DELAYED +RUNNING +FAILED/)
    assert.match(row!, /^Notify +2 +0 +0 +0/)
    assert.deepEqual(more, [])
  })

  test('on a terminal, while the database is locked: a second Ctrl-C ends it, and gives the screen back', async t => {
    const {jobq, db} = await prepared(t)
    seedJob(db)
    db.pragma('journal_mode = DELETE') // where a writer keeps readers out
    const watch = jobq.start(['stats', '--watch', '0.1'], {tty: 'stdout', stdin: 'open'})
    await watch.prints(/Ctrl-C ends/)
    db.exec('BEGIN EXCLUSIVE')
    let [drawn, at] = ['', 0]
    await until('the picture stands still', () => {
      if (watch.stdout !== drawn) [drawn, at] = [watch.stdout, performance.now()]
      return performance.now() - at > 1500 // fifteen times what it takes otherwise
    })
    for (const times of [1, 2]) {
      watch.child.stdin!.write('\u0003')
      await watch.prints(new RegExp(`(\\^C[^]*){${times}}`))
    }
    const {stdout} = await watch.exited
    assert.match(stdout, /\u001b\[\?7h\u001b\[\?25h\u001b\[\?1049l.*FUNC.*Notify /s)
    assert.equal(stdout.split('\u001b[?1049l').length, 2)
  })

  for (const seconds of ['0', '0.01', 'x', '-1', '1e9', '100000'])
    test(`--watch ${seconds} is refused`, async t => {
      const {code, stdout, stderr} = await jobqIn(t)(['stats', '--watch', seconds])
      assert.match(stderr, /^jobq: [^\n]*(--watch|-1)[^\n]*\n$/)
      assert.equal(stdout, '')
      assert.equal(code, 2)
    })
})

describe('stats on a terminal', () => {
  test('is a table with totals, run times and a curve', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const {stdout} = await jobq(['stats'], {tty: 'all', columns: 170})
    assert.match(stdout, /\u001b\[3\dm/)
    const lines = stripVTControlCharacters(stdout).trimEnd().split('\n')
    assert.match(
      lines[0]!,
      /^FUNC +READY +DELAYED +RUNNING +FAILED +RETRYING +COMPLETED +ABORTED +OLDEST +MEDIAN +P95 +PER MIN +LAST HOUR$/,
    )
    assert.match(lines[1]!, /^Idle( +0){7}( +-){4}$/)
    assert.match(lines[2]!, /^Notify +2 +1 +1 +1 +0 +5 +1 +8m \d+s +2s +1m 40s +0.08 +█ *$/)
    assert.match(lines[4]!, /^total +3 +1 +1 +1 +0 +6 +1 +8m \d+s +2s +1m 40s +0.1 .*█ *$/)
    assert.equal(lines.length, 5)
  })

  test('on a narrow one, the times come below the counts', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    const {stdout} = await jobq(['stats'], {tty: 'all', columns: 80, env: {NO_COLOR: '1'}})
    const [counts, times] = stdout.split('\n\n')
    assert.match(counts!, /^FUNC .* OLDEST\nIdle .*\nNotify .*\nOther .*\ntotal [^\n]*$/)
    assert.match(times!, /^FUNC +MEDIAN +P95 +PER MIN +LAST HOUR\nNotify .*█\nOther .*█\ntotal .*█[^\n]*\n$/)
  })

  test('fits, whatever a function is called', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    seedStatus(db, {func: 'MyApp::Worker::Image::Thumbnail::Large::AndMore'})
    for (const columns of [80, 100, 131, 132, 150]) {
      const {stdout} = await jobq(['stats'], {tty: 'all', columns, env: {NO_COLOR: '1'}})
      for (const line of stdout.trimEnd().split('\n')) assert.ok(line.length <= columns, line)
    }
  })

  test('an empty queue is a friendly word on stderr', async t => {
    const {stdout, stderr, code} = await jobqIn(t)(['stats'], {tty: 'stdout'})
    assert.deepEqual([stdout, code], ['', 0])
    assert.match(stderr, /no job was ever enqueued here/)
  })
})

describe('stats: what can not be meant', () => {
  test('a function that was never enqueued', async t => {
    const {jobq, db} = await prepared(t)
    seedAll(db)
    for (const form of [[], ['--prometheus'], ['--watch', '0.1']]) {
      const {code, stdout, stderr} = await jobq(['stats', '--func', 'Nope', ...form])
      assert.equal(code, 4)
      assert.equal(stdout, '')
      assert.match(stderr, /^jobq: no job of "Nope" was ever enqueued here[^\n]*\n$/)
    }
  })

  test('two forms at once', async t => {
    const jobq = jobqIn(t)
    const two = await jobq(['stats', '--json', '--prometheus'])
    assert.equal(two.code, 2)
    assert.equal(JSON.parse(two.stdout).error.code, 'USAGE')
    const watched = await jobq(['stats', '--prometheus', '--watch'])
    assert.equal(watched.code, 2)
    assert.match(watched.stderr, /expected one of --watch, --prometheus, got both/)
  })
})
