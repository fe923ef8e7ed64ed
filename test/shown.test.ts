/**
 * What of a stranger's text is shown: never a character that a terminal obeys, that breaks a line or turns it around,
 * on whatever way it comes out; and a document says the same all the same.
 */
import assert from 'node:assert/strict'
import {copyFileSync, readFileSync} from 'node:fs'
import {after, before, describe, test} from 'node:test'
import {parseExposition} from './support/exposition.ts'
import {type Jobq, jobqIn} from './support/jobq.ts'
import {openDatabase, seedException, seedJob, seedStatus} from './support/seed.ts'

const EVIL = 'a\u001b[31mb\u009b1mc\u007fd\u202ee\u2066f\u2028g\u200fh\u0007'
const UNPRINTABLE = /[^\P{Cc}\n\t]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u
function assertShown(text: string): void {
  assert.notEqual(text, '')
  assert.doesNotMatch(text, UNPRINTABLE)
}

const ends: (() => void)[] = []
const file = {after: (end: () => unknown) => ends.unshift(end as () => void)}
const first = jobqIn(file)
before(async () => {
  await first(['init'])
  const db = openDatabase(file, first.db)
  const row = {func: EVIL, uniqkey: EVIL, arg: JSON.stringify({[EVIL]: EVIL})}
  seedJob(db, row)
  seedJob(db, {...row, uniqkey: 'text', arg: EVIL})
  seedException(db, {...row, message: EVIL, uniqkey: 'other'})
  seedStatus(db, row)
  db.pragma('wal_checkpoint(TRUNCATE)')
})
after(() => {
  for (const end of ends) end()
})

/** With a copy of the first one's database. */
function seeded(t: {after(end: () => void): void}): Jobq {
  const jobq = jobqIn(t)
  copyFileSync(first.db, jobq.db)
  return jobq
}

describe('what a stranger named', () => {
  const shown: string[][] = [
    ['list'],
    ['list', '--json'],
    ['list', '--failed'],
    ['list', '--failed', '--json'],
    ['list', '--finished'],
    ['list', '--finished', '--json'],
    ['stats'],
    ['stats', '--json'],
    ['stats', '--prometheus'],
    ['pause', EVIL],
    ['pause', EVIL, '--json'],
    ['pause', `${EVIL}2`],
    ['resume', EVIL],
    ['retry', '--all', '--dry-run'],
    ['retry', '--all', '--json'],
    ['enqueue', EVIL, '--json'],
    ['enqueue', EVIL, '--arg', '-1', '--json'],
    ['enqueue', EVIL, '--uniqkey', EVIL],
    ['enqueue', EVIL, '--uniqkey', EVIL, '--json'],
    ['enqueue', EVIL, '--arg', EVIL],
    ['list', '--func', `${EVIL}2`],
    ['list', '--db', `./${EVIL}/x`],
    ['init', '--db', `${EVIL}.db`],
    ['init', '--db', `${EVIL}.db`, '--dry-run'],
    ['work', '--once', '--debug', '--exec', `${EVIL}=printf '%s' "$WHAT"; printf '%s' "$WHAT" >&2; exit 1`],
    ['work', '--once', '--debug', '--json', '--exec', `${EVIL}=printf '%s' "$WHAT"; exit 1`],
    [EVIL],
    ['list', EVIL],
    ['list', `--${EVIL}`],
    ['list', '--state', EVIL],
  ]
  for (const words of shown) {
    const name = words.join(' ').replaceAll(EVIL, 'EVIL')
    test(`in a pipe: jobq ${name}`, async t => {
      const jobq = seeded(t)
      const {stdout, stderr} = await jobq(words, {env: {WHAT: EVIL}})
      assertShown(stdout + stderr)
      if (words.includes('--json'))
        assert.ok(stdout.includes('a\\u001b[31mb\\u009b1mc\\u007fd\\u202e'), stdout)
    })
    test(`on a terminal: jobq ${name}`, async t => {
      const jobq = seeded(t)
      const {stdout} = await jobq(words, {tty: 'all', columns: 400, env: {WHAT: EVIL, NO_COLOR: '1'}})
      assertShown(stdout.replaceAll('\r', ''))
    })
  }

  test('is the same value in a document', async t => {
    const jobq = seeded(t)
    const [first, second] = JSON.parse((await jobq(['list', '--json'])).stdout)
    assert.deepEqual([first.func, first.uniqkey, first.arg], [EVIL, EVIL, {[EVIL]: EVIL}])
    assert.equal(second.arg, EVIL)
    const [failed] = JSON.parse((await jobq(['list', '--failed', '--json'])).stdout)
    assert.deepEqual([failed.func, failed.message], [EVIL, EVIL])
    const {error} = JSON.parse((await jobq(['list', '--func', `${EVIL}2`, '--json'])).stdout)
    assert.ok(error.message.includes('d\u202ee') || error.message.includes('d\\u202ee'), error.message)
  })

  test('is one label of a metric, the same in both', async t => {
    const jobq = seeded(t)
    const {stdout} = await jobq(['stats', '--prometheus'])
    const families = parseExposition(stdout)
    const label = EVIL.replace(new RegExp(UNPRINTABLE, 'gu'), char => `\\\\u${hex(char)}`)
    assert.equal(families.get('jobq_jobs')!.samples.get(`jobq_jobs{func="${label}",state="ready"}`), 2)
  })

  test('is plain in the log file', async t => {
    const jobq = seeded(t)
    const words = ['work', '--drain', '--debug', '--log', 'log', '--exec', `${EVIL}=printf '%s' "$WHAT"`]
    await jobq(words, {env: {WHAT: EVIL}})
    const log = readFileSync(`${jobq.folder}/log`, 'utf8')
    assertShown(log)
    assert.match(log, /\| a\\u001b\[31mb\\u009b1mc\\u007fd\\u202ee\\u2066f\\u2028g\\u200fh\\u0007\n/)
  })
})

function hex(char: string): string {
  return char.charCodeAt(0).toString(16).padStart(4, '0')
}
