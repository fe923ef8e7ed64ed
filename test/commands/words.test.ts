/** Words that no command takes: one line each that says what was expected, what was got and what to do. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home} from '../support/home.ts'
import {jobqIn, RUN_JS} from '../support/jobq.ts'
import {assertRefused, usage} from '../support/refusal.ts'

describe('a word that is no command', () => {
  const words: [word: string, hint: string][] = [
    ['push', '(here it is `jobq enqueue`; see `jobq --help`)'],
    ['add', '(here it is `jobq enqueue`; see `jobq --help`)'],
    ['run', '(here it is `jobq work`; see `jobq --help`)'],
    ['start', '(here it is `jobq work`; see `jobq --help`)'],
    ['ls', '(here it is `jobq list`; see `jobq --help`)'],
    ['LS', '(here it is `jobq list`; see `jobq --help`)'],
    ['ps', '(here it is `jobq status`; see `jobq --help`)'],
    ['errors', '(here it is `jobq list --failed`; see `jobq --help`)'],
    ['version', '(here it is `jobq --version`; see `jobq --help`)'],
    ['lsit', '(did you mean list? see `jobq --help`)'],
    ['STATUS', '(did you mean status? see `jobq --help`)'],
    ['enqueu', '(did you mean enqueue? see `jobq --help`)'],
    ['pasue', '(did you mean pause? see `jobq --help`)'],
    // An edit more, and it could be meant for something that does no harm
    ['pusae', '(see `jobq --help`)'],
    ['use', '(see `jobq --help`)'],
    ['coup', '(see `jobq --help`)'],
    ['', '(see `jobq --help`)'],
  ]
  for (const [word, hint] of words)
    test(JSON.stringify(word), async t => {
      const says = usage(`expected a command, got ${JSON.stringify(word)} ${hint}`)
      await assertRefused(new Home(t), [word], says)
      for (const asked of ['help', '--help', '-h']) {
        const {stderr, code} = await jobqIn(t)([asked, word])
        if (word !== '') assert.deepEqual([stderr, code], [`jobq: ${says.says.join('')}\n`, 2], asked)
      }
    })
})

describe('what a command does not take', () => {
  const refused: [words: string[], message: string, hint: string | RegExp][] = [
    [['list', '5'], 'expected flags only, got "5"', 'so many rows are --limit N; see `jobq list --help`'],
    [['list', '-5'], 'expected flags only, got "-5"', 'so many rows are --limit N'],
    [['list', 'Notify', 'x'], 'expected flags only, got "Notify"', 'those of a function are --func F'],
    [['list', '--', '-h'], 'expected flags only, got "-h"', 'see `jobq list --help`'],
    [['stats', 'F'], 'expected flags only, got "F"', 'a single function is --func F'],
    [['status', 'x'], 'expected flags only, got "x"', 'see `jobq status --help`'],
    [['init', 'jobs.db'], 'expected flags only, got "jobs.db"', 'a database is --db URL'],
    [['work', 'Notify'], 'expected flags only, got "Notify"', 'functions are --abilities A,B without blanks'],
    [['work', '--abilities', 'A,', 'B'], 'expected flags only, got "B"', 'functions are --abilities A,B'],
    [['copy', 'x.db'], 'expected flags only, got "x.db"', 'the other queue is --to URL'],
    [['copy'], 'expected the other queue, got no --to', 'write: jobq copy --db jobs.db --to '],
    [['wait'], 'expected ids of jobs, got none', 'write: jobq wait 7 8'],
    [['cancel', '--func', ''], '--func: expected a function name of 1 to 255 characters, got 0', ''],
    [['cancel', '--uniqkey', ''], '--uniqkey: expected a key of 1 to 255 characters, got 0', ''],
    [['list', '--uniqkey', ''], '--uniqkey: expected a key of 1 to 255 characters, got 0', ''],
    [
      ['wait', 'abc'],
      'ID: expected a whole number from 1 to 9007199254740991, got "abc"',
      '7, or with several databases 2:7',
    ],
    [['retry', '0'], 'EXCEPTION_ID: expected a whole number from 1 to 9007199254740991, got "0"', '2:7'],
    [
      ['enqueue', 'F', 'hello', 'world'],
      'expected one word that is no flag, FUNC, got also "hello"',
      "the job's argument is --arg JSON, any text is --serializer none --arg TEXT; see `jobq enqueue --help`",
    ],
    [['list', '--limit'], '--limit: expected a value (N), got none', 'see `jobq list --help`'],
    [['list', '--limit', '1', '--limit', '2'], '--limit: expected it once, got it twice', /./],
    [['list', '--state'], '--state: expected one of ready, delayed, waiting, running, got none', /./],
    [
      ['list', '--state', 'redy'],
      '--state: expected one of ready, delayed, waiting, running, got "redy"',
      'did you mean ready?',
    ],
    [['list', '--failed', '--finished'], 'expected one of --finished, --failed, got both', /./],
    [['retry', '1', '--func', 'F'], '--func: expected --all with it, got it alone', /./],
    [
      ['retry', '--all', '--since', 'tomorrow'],
      '--since: expected a time such as 2026-12-24T18:00, 22:00, yesterday 08:30, @1798135200 or how long ago (2h), got "tomorrow"',
      '',
    ],
    [['stats', '--watch', '-5'], '--watch: expected seconds from 0.1 to 86400, got "-5"', ''],
    [['stats', '--jsn'], 'unknown flag --jsn', 'did you mean --json?'],
    [['list', '-v'], 'unknown flag -v', 'see `jobq list --help`'],
  ]
  for (const [words, message, hint] of refused)
    test(words.join(' '), async t => {
      await assertRefused(new Home(t), words, usage(message, hint))
    })

  test('a value from the environment is told by its name there, one from the words by its flag', async t => {
    const home = new Home(t)
    const env = {JOBQ_MAX_WORKERS: 'many'}
    const expected = 'expected a whole number from 1 to 10000, got'
    await assertRefused(home, ['work', '--exec', 'F=true'], usage(`JOBQ_MAX_WORKERS: ${expected} "many"`), {
      env,
    })
    const given = ['work', '--exec', 'F=true', '--max-workers', 'few']
    await assertRefused(home, given, usage(`--max-workers: ${expected} "few"`), {
      env,
      command: [process.execPath, RUN_JS], // oclif keeps where a flag's value came from
    })
  })

  test('--since takes how long ago, however long', async t => {
    const jobq = jobqIn(t)
    await jobq(['init'])
    const {code, stderr} = await jobq(['retry', '--all', '--since', '40000d'])
    assert.deepEqual([code, stderr], [0, 'there is nothing to retry\n'])
  })
})

describe('help', () => {
  for (const words of [
    ['list', '--help'],
    ['list', '-h'],
    ['-h', 'list'],
    ['help', 'list'],
    ['list', 'x', '-h'],
    ['list', '-h', 'x'],
    ['list', '--nonsense', '--help'],
    ['help', 'list', 'x'],
  ])
    test(`comes wherever it is asked for: ${words.join(' ')}`, async t => {
      const {code, stdout, stderr} = await jobqIn(t)(words)
      assert.deepEqual([code, stderr], [0, ''])
      assert.match(stdout, /^Show waiting, failed or finished jobs\.\n\nUSAGE\n {2}\$ jobq list /)
    })
})
