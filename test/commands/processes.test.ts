/**
 * Each command as a process of its own: it says and does what it says and does when it is called in a process that stays, as most
 * tests call it, and it ends; once with what it is there for, and once with what goes wrong.
 */
import assert from 'node:assert/strict'
import {readdirSync} from 'node:fs'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {Home} from '../support/home.ts'
import {seedException} from '../support/seed.ts'
import type {Finished} from '../support/started.ts'

const CASES: Record<string, [words: string, code: number][]> = {
  cancel: [
    ['1 2', 0],
    ['1 99', 4],
  ],
  check: [
    ['', 0],
    ['--max-failed 0', 2],
    ['--db nowhere/x.db', 3],
  ],
  completion: [
    ['bash', 0],
    ['ksh', 2],
  ],
  copy: [
    ['--to other.db', 0],
    ['--to jobs.db', 2],
  ],
  edit: [
    ['1 --priority 5', 0],
    ['99 --priority 5', 4],
  ],
  enqueue: [
    ['G --arg {"a":1.0} --priority 3', 0],
    ['--args-from numbers --func G --json', 2],
    ['G --args-from numbers', 0],
    ['G --arg {', 2],
    ['F --uniqkey k', 3],
  ],
  help: [
    ['list', 0],
    ['lsit', 2],
  ],
  init: [
    ['--db new.db', 0],
    ['--db nowhere/x.db', 1],
  ],
  list: [
    ['', 0],
    ['--json --failed', 0],
    ['--func Never', 4],
  ],
  logs: [
    ['99', 4],
    ['1 2', 2],
  ],
  pause: [
    ['F', 0],
    ['', 2],
  ],
  prune: [
    ['--failed', 0],
    ['--failed --older-than soon', 2],
  ],
  resume: [
    ['--all', 0],
    ['', 2],
  ],
  retry: [
    ['1', 0],
    ['99', 4],
  ],
  schedules: [
    ['', 0],
    ['x', 2],
  ],
  show: [
    ['1 --json', 0],
    ['99', 4],
  ],
  stats: [
    ['--json', 0],
    ['--func Never', 4],
  ],
  status: [
    ['--json', 0],
    ['x', 2],
  ],
  top: [['', 2]],
  wait: [
    ['1 --timeout 1s', 1],
    ['99', 4],
  ],
  web: [['--port x', 2]],
  work: [['--once --drain', 2]],
}

describe('as a process of its own, as it is where it is called', () => {
  for (const [command, cases] of Object.entries(CASES))
    test(command, async t => {
      for (const [words, code] of cases) {
        const line = [command, ...words.split(' ').filter(Boolean)]
        const [alone, called] = [await prepared(t), await prepared(t)]
        const own = await alone.alone(line, ENV)
        assert.deepEqual([own.code, own.signal], [code, null], `${line.join(' ')}: ${own.stderr}`)
        assert.deepEqual(told(own, alone), told(await called.call(line, ENV), called), line.join(' '))
        assert.deepEqual(rows(alone), rows(called))
        assert.deepEqual(names(alone), names(called))
      }
    })

  test('there is no other command', () => {
    const files = readdirSync(new URL('../../src/commands', import.meta.url))
    assert.deepEqual(files.map(name => name.replace('.ts', '')).sort(), Object.keys(CASES).sort())
  })
})

test('what a configuration throws where nobody can catch it is told as its own', async t => {
  const home = new Home(t)
  for (const stray of [
    "setTimeout(() => { throw new Error('later') }, 1)",
    "Promise.reject(new Error('later'))",
  ]) {
    home.write('jobq.config.mjs', `${stray}\nexport default {}`)
    const {code, stderr} = await home.jobq(['work', '--exec', 'F=true', '--db', 'jobs.db'])
    assert.equal(code, 1)
    assert.match(
      stderr,
      /^jobq: an error of \/[^\n]*\/jobq\.config\.mjs that nobody has caught: later \([^\n]*\)$/m,
    )
    assert.doesNotMatch(stderr, /defect/)
  }
})

const ENV = {env: {JOBQ_DB: 'jobs.db'}}

/** With a job that has a key, another, a failure and a file. */
async function prepared(t: {after(end: () => void): void}) {
  const home = new Home(t)
  for (const more of [
    ['--uniqkey', 'k'],
    ['--delay', '2d'],
  ])
    assert.equal((await home.call(['enqueue', 'F', ...more], ENV)).code, 0)
  const db = new Sqlite(home.path('jobs.db'))
  seedException(db, {func: 'F'})
  db.close()
  home.write('numbers', '1\n2\n')
  return home
}

/** Without what is different each time. */
function told({stdout, stderr, ...end}: Finished, home: Home) {
  const steady = (text: string) =>
    text.replaceAll(home.folder, '~').replace(/\b1\d{9}(\.\d+)?\b|\b\d+ ?s\b|(?<=_age":)\d+/g, 'TIME')
  return {...end, stdout: steady(stdout), stderr: steady(stderr)}
}

function rows(home: Home) {
  return home.jobs().map(({run_after: _, enqueue_time: __, ...row}) => row)
}

function names(home: Home): string[] {
  return Object.keys(home.files()).map(name => name.replace(home.folder, '~'))
}
