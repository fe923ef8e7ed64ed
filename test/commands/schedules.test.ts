/** `jobq schedules` as a person calls it, and `schedules run`; what stats' metrics know of them. */
import assert from 'node:assert/strict'
import {describe, type TestContext, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {assertOneLine} from '../support/refusal.ts'
import {Workplace} from '../support/workplace.ts'

const SCHEDULES = {
  nightly: {
    cron: '0 22 * * *',
    timeZone: 'Asia/Seoul',
    func: 'Report',
    arg: {of: 'today'},
    priority: 5,
    uniqkey: 'night',
  },
  hourly: {cron: '0 * * * *', func: 'My::Digest'},
}

function place(t: TestContext, schedules: object | null = SCHEDULES): Workplace {
  const site = new Workplace(t)
  site.write('jobq.config.json', JSON.stringify(schedules ? {schedules} : {}))
  return site
}

describe('schedules', () => {
  test('lines for scripts, by name: before and after a job was enqueued', async t => {
    const site = place(t)
    const before = Math.floor(Date.now() / 1000)
    const {code, stdout, stderr} = await site.run(['schedules'])
    assert.deepEqual([code, stderr], [0, ''])
    const [hourly, nightly] = stdout.split('\n').map(line => line.split('\t'))
    assert.deepEqual(hourly!.toSpliced(4, 1), ['hourly', '0 * * * *', 'UTC', 'My::Digest', '\\N', '\\N', '0'])
    assert.deepEqual(nightly!.slice(0, 4), ['nightly', '0 22 * * *', 'Asia/Seoul', 'Report'])
    const [hour, night] = [Number(hourly![4]), Number(nightly![4])]
    assert.ok(hour % 3600 === 0 && hour > before && hour <= before + 3601)
    assert.ok(night % 86_400 === 13 * 3600 && night > before && night <= before + 86_401)
    assert.deepEqual(await site.run(['schedules', 'run', 'nightly']), printed(1))
    const [, line] = (await site.run(['schedules'])).stdout.split('\n')
    const fields = line!.split('\t')
    assert.ok(Number(fields[5]) >= before)
    assert.deepEqual(fields.slice(6), ['1', '1'])
  })

  test('--json', async t => {
    const site = place(t)
    const {code, stdout} = await site.run(['schedules', '--json'])
    assert.equal(code, 0)
    const [hourly, nightly] = JSON.parse(stdout)
    assert.deepEqual(
      {...hourly, next: typeof hourly.next},
      {
        ...{name: 'hourly', cron: '0 * * * *', time_zone: 'UTC', func: 'My::Digest', next: 'number'},
        ...{last: null, job_id: null, queued: false},
      },
    )
    assert.equal(nightly.name, 'nightly')
    assert.equal((await place(t, null).run(['schedules', '--json'])).stdout, '[]\n')
  })

  test('a table on a terminal', async t => {
    const home = new Home(t)
    home.write('jobq.config.json', JSON.stringify({schedules: SCHEDULES}))
    const env = {NO_COLOR: '1'}
    const {code, stdout} = await home.jobq(['schedules', '--db', 'jobs.db'], {tty: 'stdout', env})
    assert.equal(code, 0)
    const table = stdout.replaceAll('\r\n', '\n')
    assert.match(table, /^NAME +CRON +TIME ZONE +FUNC +NEXT +LAST +JOB\n/)
    assert.match(table, /\nnightly +0 22 \* \* \* +Asia\/Seoul +Report +in [\dhms ]+ +- +-\n/)
  })

  test('without one it says so, with or without a configuration', async t => {
    const none = await place(t, null).run(['schedules'])
    assert.deepEqual([none.code, none.stdout], [0, ''])
    assert.match(none.stderr, /^no schedules in \S+jobq\.config\.json; [^\n]+\n$/)
    const nowhere = await place(t, null).run(['schedules', '--config', '/dev/null'])
    assert.deepEqual([nowhere.code, nowhere.stdout], [0, ''])
    assert.match(nowhere.stderr, /^no schedules in a configuration: there is none; [^\n]+\n$/)
  })

  test('run enqueues the job as it is written; its uniqkey waiting: 3', async t => {
    const site = place(t)
    const {code, stdout} = await site.run(['schedules', 'run', 'nightly', '--json'])
    const {run_after: due, ...document} = JSON.parse(stdout)
    assert.deepEqual(
      [code, document],
      [0, {id: 1, func: 'Report', uniqkey: 'night', priority: 5, enqueued: true}],
    )
    assert.ok(Math.abs(due - Date.now() / 1000) < 60)
    assert.deepEqual(site.column('SELECT CAST(arg AS TEXT) FROM job'), ['{"of":"today"}'])
    const again = await site.run(['schedules', 'run', 'nightly'])
    assertOneLine(again, {
      exit: 3,
      says: [/already waiting \(job 1\) \(run it when that job has left the queue\)$/m],
    })
    assert.deepEqual(await site.run(['schedules', 'run', 'hourly']), printed(2))
    assert.deepEqual(await site.run(['schedules', 'run', 'hourly']), printed(3))
  })

  test('hooks of the configuration see it', async t => {
    const site = new Workplace(t)
    site.write(
      'jobq.config.mjs',
      `export default {schedules: {a: {cron: '@daily', func: 'Work', arg: 1}},
        hooks: [{name: 'it', preEnqueue: call => { call.arg = [call.arg] }}]}`,
    )
    assert.deepEqual(await site.run(['schedules', 'run', 'a']), printed(1))
    assert.deepEqual(site.column('SELECT CAST(arg AS TEXT) FROM job'), ['[1]'])
  })

  test('what can not be meant', async t => {
    const site = place(t)
    for (const [words, code, says] of [
      [['run'], 2, /expected nothing, or `run NAME`, got "run"/],
      [['run', 'a', 'b'], 2, /got "run a b"/],
      [['nightly'], 2, /got "nightly"/],
      [['run', 'nightl'], 4, /no schedule "nightl" in \S+ \(did you mean nightly\?/],
    ] as const)
      assertOneLine(await site.run(['schedules', ...words]), {exit: code, says: [says]})
    const bad = place(t, {a: {cron: '* * * *', func: 'Work'}})
    for (const words of [['schedules'], ['schedules', 'run', 'a'], ['work', '--once', '--exec', 'A=true']])
      assertOneLine(await bad.run(words), {
        exit: 2,
        says: [/jobq\.config\.json:1: schedules\.a\.cron: expected a cron/],
      })
    // An enqueue does not read what it does not need
    assert.deepEqual(await bad.run(['enqueue', 'Work']), printed(1))
  })

  test('of several databases the first has the jobs', async t => {
    const site = place(t)
    const flags = ['--db', 'a.db', '--db', 'b.db']
    for (const id of ['1:1', '1:2'])
      assert.deepEqual(await site.run(['schedules', 'run', 'hourly', ...flags]), printed(id))
    assert.equal((await site.run(['schedules', ...flags])).stdout.split('\n')[0]!.split('\t')[6], '1:2')
  })

  test("stats' metrics: the next tick, and the last", async t => {
    const site = place(t)
    assert.doesNotMatch((await place(t, null).run(['stats', '--prometheus'])).stdout, /^jobq_schedule/m)
    await site.run(['schedules', 'run', 'nightly'])
    const {stdout} = await site.run(['stats', '--prometheus'])
    const [hourly, nightly] = JSON.parse((await site.run(['schedules', '--json'])).stdout)
    const sample = (name: string, schedule: string) =>
      stdout.match(new RegExp(`^${name}\\{schedule="${schedule}"\\} (\\d+)$`, 'm'))?.[1]
    assert.equal(sample('jobq_schedule_next_timestamp_seconds', 'hourly'), String(hourly.next))
    assert.equal(sample('jobq_schedule_last_timestamp_seconds', 'nightly'), String(nightly.last))
    assert.equal(sample('jobq_schedule_last_timestamp_seconds', 'hourly'), undefined)
    assert.match(stdout, /^# TYPE jobq_schedule_last_timestamp_seconds gauge$/m)
  })
})
