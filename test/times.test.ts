/** Times of day as they are written, by the clock of whoever writes them: in Berlin, and in the nights when it is set. */
import assert from 'node:assert/strict'
import {after, before, describe, test} from 'node:test'
import {parsePast, parseTime} from '../src/lib/jobs/time.ts'

const {TZ} = process.env
before(() => {
  process.env.TZ = 'Europe/Berlin'
})
after(() => {
  if (TZ === undefined) delete process.env.TZ
  else process.env.TZ = TZ
})

// +01:00 in winter, +02:00 in summer; 2026-03-29 has no 02:30, 2026-10-25 has two
type Row = [text: string, now: string, then: string]
const ahead: Row[] = [
  ['22:00', '2026-06-10T21:59:59+02:00', '2026-06-10T22:00+02:00'],
  ['22:00', '2026-06-10T22:00:00+02:00', '2026-06-11T22:00+02:00'],
  ['22:00', '2026-12-31T23:00+01:00', '2027-01-01T22:00+01:00'],
  ['8:30', '2026-06-10T22:00+02:00', '2026-06-11T08:30+02:00'],
  ['22:00:15', '2026-06-10T22:00+02:00', '2026-06-10T22:00:15+02:00'],
  ['00:00', '2026-06-10T22:00+02:00', '2026-06-11T00:00+02:00'],
  ['tomorrow', '2026-06-10T22:00+02:00', '2026-06-11T00:00+02:00'],
  ['tomorrow', '2026-02-28T00:00+01:00', '2026-03-01T00:00+01:00'],
  ['tomorrow 08:30', '2026-06-10T07:00+02:00', '2026-06-11T08:30+02:00'],
  // Clocks are set in between: the same time of day, whichever the distance
  ['22:00', '2026-03-28T23:00+01:00', '2026-03-29T22:00+02:00'],
  ['tomorrow 08:30', '2026-10-24T12:00+02:00', '2026-10-25T08:30+01:00'],
  ['tomorrow', '2026-10-25T02:30+01:00', '2026-10-26T00:00+01:00'],
  // Left out: an hour later
  ['02:30', '2026-03-28T23:00+01:00', '2026-03-29T03:30+02:00'],
  ['tomorrow 02:30', '2026-03-28T12:00+01:00', '2026-03-29T03:30+02:00'],
  ['2026-03-29T02:30', '2026-03-28T12:00+01:00', '2026-03-29T03:30+02:00'],
  // Twice: the first of them
  ['02:30', '2026-10-25T00:00+02:00', '2026-10-25T02:30+02:00'],
  ['02:30', '2026-10-25T02:45+02:00', '2026-10-26T02:30+01:00'],
  ['tomorrow 02:30', '2026-10-24T12:00+02:00', '2026-10-25T02:30+02:00'],
  ['2026-10-25 02:30', '2026-10-24T12:00+02:00', '2026-10-25T02:30+02:00'],
]
const back: Row[] = [
  ['22:00', '2026-06-10T22:00:01+02:00', '2026-06-10T22:00+02:00'],
  ['22:00', '2026-06-10T21:00+02:00', '2026-06-09T22:00+02:00'],
  ['yesterday', '2026-03-01T12:00+01:00', '2026-02-28T00:00+01:00'],
  ['yesterday 23:00', '2026-06-10T21:00+02:00', '2026-06-09T23:00+02:00'],
  ['02:30', '2026-03-29T12:00+02:00', '2026-03-29T03:30+02:00'],
  ['02:30', '2026-10-25T12:00+01:00', '2026-10-25T02:30+02:00'],
]

for (const [name, rows, parse] of [
  ['ahead', ahead, parseTime],
  ['back', back, parsePast],
] as const)
  describe(name, () => {
    for (const [text, now, then] of rows)
      test(`${text}, at ${now}`, () => {
        assert.deepEqual(parse(text, 'x', new Date(now)), {at: Date.parse(then) / 1000})
      })
  })
