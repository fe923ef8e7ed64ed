/** Words that no command takes: one line each that says what was expected, what was got and what to do. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home} from '../support/home.ts'
import {jobqIn} from '../support/jobq.ts'
import {assertRefused, usage} from '../support/refusal.ts'

describe('a word that is no command', {concurrency: 4}, () => {
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
      const {stderr, code} = await jobqIn(t)(['help', word])
      if (word !== '') assert.deepEqual([stderr, code], [`jobq: ${says.says.join('')}\n`, 2])
    })
})
