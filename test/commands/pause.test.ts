/** `jobq pause` and `resume` as a person calls them: what is stopped is what was named. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {Home} from '../support/home.ts'
import {jobqIn} from '../support/jobq.ts'
import {assertRefused, usage} from '../support/refusal.ts'

describe('pause and resume', () => {
  for (const command of ['pause', 'resume'])
    test(`${command} of nothing in particular is refused, and --all is everything`, async t => {
      const home = new Home(t)
      await home.jobq(['enqueue', 'Notify'])
      const hint = `\`jobq ${command} --all\` for everything on every host`
      await assertRefused(home, [command], usage('expected functions or --all, got neither', hint))
      await assertRefused(home, [command, 'Notify', '--all'], usage('expected functions or --all, got both'))
      await assertRefused(home, [command, ''], usage('FUNC: expected a function name'))
      await assertRefused(home, [command, '--al'], usage('unknown flag --al (did you mean --all?'))
    })

  test('what is paused is told, and lifted by name or all at once', async t => {
    const jobq = jobqIn(t)
    for (const func of ['Notify', 'Digest', 'Report']) await jobq(['enqueue', func])
    const says = async (...words: string[]) => {
      const {stdout, stderr, code} = await jobq(words)
      assert.deepEqual([stderr, code], ['', 0])
      return stdout
    }
    assert.equal(await says('pause', 'Notify', 'Digest'), 'paused: Digest, Notify\n')
    assert.equal(await says('pause', '--all', '--json'), '{"paused":["","Digest","Notify"]}\n')
    assert.equal(await says('resume', 'Notify'), 'resumed: Notify\nstill paused: everything, Digest\n')
    assert.equal(await says('resume', '--all'), 'resumed: everything, Digest\n')
    assert.equal(await says('resume', '--all'), 'nothing of that was paused\n')
  })

  test('a function that was never enqueued is done as asked, with a word', async t => {
    const jobq = jobqIn(t)
    await jobq(['enqueue', 'Notify'])
    const word =
      'jobq: no job of "Notfy" was ever enqueued here (did you mean Notify? `jobq stats` shows the functions there are)\n'
    const paused = await jobq(['pause', 'Notfy', 'Notify'])
    assert.deepEqual(paused, {code: 0, signal: null, stdout: 'paused: Notfy, Notify\n', stderr: word})
    const resumed = await jobq(['resume', 'Notfy'])
    assert.deepEqual([resumed.stdout, resumed.stderr], ['resumed: Notfy\nstill paused: Notify\n', ''])
    const again = await jobq(['resume', 'Notfy'])
    assert.deepEqual([again.code, again.stderr], [0, word])
    for (const words of [
      ['list'],
      ['list', '--failed'],
      ['stats'],
      ['stats', '--prometheus'],
      ['copy', '--to', 'x.db'],
    ]) {
      const {code, stdout, stderr} = await jobq([...words, '--func', 'Notfy'])
      assert.deepEqual([code, stdout, stderr], [4, '', word], words.join(' '))
    }
  })
})
