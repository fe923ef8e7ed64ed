/** When schedules tick: in the nights in which clocks are set, after a stop, and what is refused. All by explicit instants. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import {GRACE_SECONDS, type Schedule, schedulesIn} from '../src/lib/config/schedules.ts'
import {validateConfig} from '../src/lib/config/schema.ts'
import {ConfigError} from '../src/lib/jobs/errors.ts'
import {Home} from './support/home.ts'

function schedule(settings: object): Schedule {
  const value = {schedules: {it: {func: 'Work', ...settings}}}
  return schedulesIn(validateConfig(value, 'jobq.config.json', JSON.stringify(value)), null)[0]!
}

const seconds = (iso: string) => Date.parse(iso) / 1000
const iso = (time: number) => new Date(time * 1000).toISOString().slice(0, 16)

/** Its ticks behind `from` up to `to`, as `next` tells them; a walk by the second finds the same with `due`. */
function ticks(cron: string, timeZone: string, from: string, to: string): string[] {
  const it = schedule({cron, timeZone})
  const found: number[] = []
  for (let t = it.next(seconds(from)); t !== null && t <= seconds(to); t = it.next(t)) found.push(t)
  const passed: number[] = []
  // As a process sees them that looks every 31 s, and hears of each tick late
  for (let now = seconds(from), to_ = now; now < seconds(to) + 62; now += 31)
    for (const tick of it.due(to_, now))
      if (tick <= seconds(to)) {
        passed.push(tick)
        to_ = tick
      }
  assert.deepEqual(passed, found)
  return found.map(iso)
}

describe('the night in which clocks are set forward', () => {
  // 02:00 is 03:00: in Berlin at 01:00 UTC, in New York at 07:00 UTC
  test('a time that does not exist is the first moment behind the gap, once', () => {
    assert.deepEqual(ticks('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00Z', '2026-03-30T23:00Z'), [
      '2026-03-28T01:30',
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ])
    assert.deepEqual(ticks('30 2 * * *', 'America/New_York', '2026-03-07T00:00Z', '2026-03-09T23:00Z'), [
      '2026-03-07T07:30',
      '2026-03-08T07:00',
      '2026-03-09T06:30',
    ])
  })

  test('so are several times, which meet there; those beside the gap stay', () => {
    assert.deepEqual(ticks('15,30 2,14 * * *', 'Europe/Berlin', '2026-03-29T00:00Z', '2026-03-30T00:20Z'), [
      '2026-03-29T01:00',
      '2026-03-29T12:15',
      '2026-03-29T12:30',
      '2026-03-30T00:15',
    ])
    assert.deepEqual(ticks('0 3 * * *', 'Europe/Berlin', '2026-03-28T12:00Z', '2026-03-29T12:00Z'), [
      '2026-03-29T01:00',
    ])
  })

  test('a rhythm goes on in real time', () => {
    const berlin = ['00:30', '01:00', '01:30', '02:00'].map(time => `2026-03-29T${time}`)
    assert.deepEqual(ticks('*/30 * * * *', 'Europe/Berlin', '2026-03-29T00:10Z', '2026-03-29T02:10Z'), berlin)
    const newYork = ['06:30', '07:00', '07:30', '08:00'].map(time => `2026-03-08T${time}`)
    assert.deepEqual(
      ticks('*/30 * * * *', 'America/New_York', '2026-03-08T06:10Z', '2026-03-08T08:10Z'),
      newYork,
    )
  })
})

describe('the night in which clocks are set back', () => {
  // 03:00 is 02:00 in Berlin at 01:00 UTC; 02:00 is 01:00 in New York at 06:00 UTC
  test('a time that comes twice is the first of them, once', () => {
    assert.deepEqual(ticks('30 2 * * *', 'Europe/Berlin', '2026-10-24T00:00Z', '2026-10-26T23:00Z'), [
      '2026-10-24T00:30',
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ])
    assert.deepEqual(ticks('30 1 * * *', 'America/New_York', '2026-10-31T00:00Z', '2026-11-02T23:00Z'), [
      '2026-10-31T05:30',
      '2026-11-01T05:30',
      '2026-11-02T06:30',
    ])
  })

  test('so are several times', () => {
    assert.deepEqual(ticks('15,30 2,14 * * *', 'Europe/Berlin', '2026-10-25T00:00Z', '2026-10-25T20:00Z'), [
      '2026-10-25T00:15',
      '2026-10-25T00:30',
      '2026-10-25T13:15',
      '2026-10-25T13:30',
    ])
  })

  test('a rhythm goes on in real time, through both hours', () => {
    const berlin = ['00:00', '00:30', '01:00', '01:30', '02:00'].map(time => `2026-10-25T${time}`)
    assert.deepEqual(ticks('*/30 * * * *', 'Europe/Berlin', '2026-10-24T23:40Z', '2026-10-25T02:10Z'), berlin)
    const newYork = ['05:00', '05:30', '06:00', '06:30', '07:00'].map(time => `2026-11-01T${time}`)
    assert.deepEqual(
      ticks('*/30 * * * *', 'America/New_York', '2026-11-01T04:40Z', '2026-11-01T07:10Z'),
      newYork,
    )
  })
})

describe('what is due', () => {
  const NOW = seconds('2026-06-01T12:00:30Z')

  test('ticks of the last minute, each; none that is older', () => {
    const each = schedule({cron: '* * * * * *'})
    assert.deepEqual(each.due(NOW, NOW), [])
    assert.deepEqual(each.due(NOW + 1000, NOW), [])
    assert.deepEqual(each.due(NOW - 3, NOW), [NOW - 2, NOW - 1, NOW])
    const minute = each.due(NOW - 10_000, NOW)
    assert.deepEqual([minute.length, minute[0], minute.at(-1)], [GRACE_SECONDS + 1, NOW - GRACE_SECONDS, NOW])
    const daily = schedule({cron: '0 12 * * *'})
    const noon = seconds('2026-06-01T12:00:00Z')
    assert.deepEqual(daily.due(noon - 86_400, noon + GRACE_SECONDS), [noon])
    assert.deepEqual(daily.due(noon - 86_400, noon + GRACE_SECONDS + 1), [])
  })

  test('with catchUp one for all that were missed, and then each again', () => {
    const daily = schedule({cron: '0 12 * * *', catchUp: true})
    const noon = seconds('2026-06-01T12:00:00Z')
    assert.deepEqual(daily.due(noon - 5 * 86_400, noon + 3600), [noon])
    assert.deepEqual(daily.due(noon, noon + 3600), [])
    const each = schedule({cron: '* * * * * *', catchUp: true})
    assert.deepEqual(each.due(NOW - 10_000, NOW), [NOW])
    assert.deepEqual(each.due(NOW - 2, NOW), [NOW - 1, NOW])
  })
})

describe('a schedule that can not be meant', () => {
  const bad: [settings: string, says: RegExp][] = [
    [
      `{cron: '61 * * * *', func: 'R'}`,
      /:2: schedules\.night\.cron: expected a cron expression .*"61 \* \* \* \*"$/,
    ],
    [`{cron: '* * * *', func: 'R'}`, /:2: schedules\.night\.cron: expected a cron expression/],
    [`{cron: '0 0 1 1 * * 2030', func: 'R'}`, /cron: expected a cron expression/],
    [`{cron: '2026-12-24T18:00:00', func: 'R'}`, /cron: expected a cron expression/],
    [`{cron: '0 0 30 2 *', func: 'R'}`, /cron: expected a time that comes/],
    [`{cron: 5, func: 'R'}`, /cron: expected text, got 5/],
    [`{func: 'R'}`, /:2: schedules\.night: expected cron, got none/],
    [`{cron: '* * * * *'}`, /:2: schedules\.night: expected func, got none/],
    [`{cron: '* * * * *', func: ''}`, /:2: schedules\.night\.func: expected a function name/],
    [`{cron: '* * * * *', func: 'R', timeZone: 'Mars/X'}`, /timeZone: expected a time zone, got "Mars\/X"/],
    [`{cron: '* * * * *', func: 'R', zone: 'UTC'}`, /unknown key schedules\.night\.zone/],
    [`{cron: '* * * * *', func: 'R', priority: -1}`, /priority: expected at least 0, got -1/],
    [`{cron: '* * * * *', func: 'R', uniqkey: ''}`, /uniqkey: expected a uniqkey/],
    [`{cron: '* * * * *', func: 'R', arg: 1n}`, /schedules\.night\.arg: expected a value that JSON can hold/],
    [`{cron: '* * * * *', func: 'R', overlap: 'no'}`, /overlap: expected true or false/],
    [`'* * * * *'`, /schedules\.night: expected an object/],
    [`['* * * * *']`, /schedules\.night: expected an object, got an array/],
  ]

  test('is told by its key and line, when work or schedules is called', async t => {
    const {loadConfig} = await import('../src/lib/config/settings.ts')
    for (const [i, [settings, says]] of bad.entries()) {
      const home = new Home(t)
      const file = home.write(`${i}.mjs`, `export default {schedules: {\n night: ${settings}}}`)
      const read = async () => schedulesIn(await loadConfig(file), file)
      await assert.rejects(read, error => {
        assert.ok(error instanceof ConfigError, String(error))
        assert.match(error.message, says)
        assert.ok(error.message.startsWith(join(file)), error.message)
        return true
      })
    }
  })

  test("Perl's way of writing keys is understood", () => {
    const it = schedule({cron: '0 2 * * *', time_zone: 'Asia/Seoul', catch_up: 1})
    assert.deepEqual([it.timeZone, it.due(0, seconds('2026-06-01T12:00:00Z')).length], ['Asia/Seoul', 1])
  })
})
