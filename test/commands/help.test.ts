/** `jobq help`: what `--help` says, with the same exit status. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {jobqIn} from '../support/jobq.ts'

describe('help', () => {
  const same: [words: string[], as: string[]][] = [
    [['help'], ['--help']],
    [
      ['help', 'work'],
      ['work', '--help'],
    ],
    [
      ['help', 'work', 'x', '--json'],
      ['work', '--help'],
    ],
    [
      ['help', '--json', 'work'],
      ['-h', 'work'],
    ],
    [
      ['help', 'help'],
      ['help', '--help'],
    ],
    [
      ['help', 'nonsense'],
      ['nonsense', '--help'],
    ],
    [['help', 'wrok'], ['wrok']],
  ]
  for (const [words, as] of same)
    test(`jobq ${words.join(' ')} is jobq ${as.join(' ')}`, async t => {
      const jobq = jobqIn(t)
      assert.deepEqual(await jobq(words), await jobq(as))
    })

  test('a command is shown; of help itself, that it takes one', async t => {
    const jobq = jobqIn(t)
    const {code, stdout, stderr} = await jobq(['help', 'work'])
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /^Work jobs: .*\n\nUSAGE\n {2}\$ jobq work /)
    assert.match((await jobq(['help', 'help'])).stdout, /\n {2}\$ jobq help \[COMMAND\]\n/)
  })

  test('what is no command: the closest that is one, exit 2', async t => {
    const {code, stdout, stderr} = await jobqIn(t)(['help', 'wrok'])
    assert.deepEqual([code, stdout], [2, ''])
    assert.equal(stderr, 'jobq: expected a command, got "wrok" (did you mean work? see `jobq --help`)\n')
  })
})
