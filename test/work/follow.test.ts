/** `jobq logs --follow`: what a job writes, as it writes it; and nothing of that stays behind. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

/** Writes a line at each file that appears. */
const STEPS = `#!/bin/sh
# jobq: max-retries=1
step() { while [ ! -e "$HOME/$1$JOBQ_RETRY_CNT" ]; do sleep 0.02; done; }
echo "one $JOBQ_RETRY_CNT"; step a
echo two >&2; step b
printf three
exit $((1 - JOBQ_RETRY_CNT))`

const left = (site: Workplace) =>
  site.column(
    'SELECT job_id FROM jobq_order UNION ALL SELECT job_id FROM jobq_output WHERE attempt_id IS NULL',
  )

describe('logs --follow', {concurrency: 3}, () => {
  test('waits for the job, prints as it comes, through its attempts, and ends with it', async t => {
    const site = new Workplace(t, {Steps: STEPS})
    await site.enqueue(['Steps'])
    const follower = site.start(['logs', '1', '--follow'])
    await until('it is ordered', () => site.column('SELECT * FROM jobq_order').length === 1)
    const work = site.work()
    for (const [nth, says] of [/one 0\n$/, /threeone 1\n$/].entries()) {
      await follower.prints(says)
      if (nth === 0)
        assert.equal(
          (await site.run(['logs', '1'])).stderr,
          'jobq: no output is kept of job 1; it runs: see --follow\n',
        )
      site.write(`a${nth}`, '')
      await follower.prints(nth === 0 ? /^one 0\ntwo\n$/ : /one 1\ntwo\n$/)
      site.write(`b${nth}`, '')
    }
    const {code, stdout, stderr} = await follower.exited
    assert.deepEqual([code, stdout], [0, 'one 0\ntwo\nthreeone 1\ntwo\nthree'])
    assert.equal(stderr, 'jobq: attempt 1 failed; it is tried again\n')
    assert.deepEqual(left(site), [])
    work.kill('SIGTERM')
    await work.exited
  })

  test('begins with what was kept so far; where nothing is kept, with what comes; all to the last line', async t => {
    for (const keep of ['16k', 'none']) {
      const site = new Workplace(t, {Steps: STEPS})
      await site.enqueue(['Steps'])
      const work = site.work('--keep-output', keep)
      await work.prints(/one 0$/m)
      const follower = site.start(['logs', '1', '--follow', '--json'])
      await until(
        'it is heard',
        () => site.column('SELECT * FROM jobq_order WHERE heard_at > 0').length === 1,
      )
      for (const step of ['a0', 'b0', 'a1', 'b1']) site.write(step, '')
      const {code, stdout} = await follower.exited
      const told = stdout
        .trim()
        .split('\n')
        .map(line => JSON.parse(line))
      assert.equal(code, 0)
      assert.deepEqual(told.at(-1), {job_id: 1, outcome: 'completed', message: ''})
      const text = told.map(({output = ''}) => output).join('')
      assert.equal(text, `${keep === 'none' ? '' : 'one 0\n'}two\nthreeone 1\ntwo\nthree`)
      assert.deepEqual(left(site), [])
      work.kill('SIGTERM')
      await work.exited
    }
  })

  test('every line of modules, to the last one, and none twice', async t => {
    const site = new Workplace(t, {
      Mod: `export default {keepOutput: 'none', async work({arg}) {
        for (let i = 0; i < arg; i++) { console.log('line', i); if (i % 50 === 0) await new Promise(done => setTimeout(done, 30)) }
        process.stdout.write('end'); throw new Error('no') }}`,
    })
    const ids = await site.enqueue(['Mod', {arg: 1}], ['Mod', {arg: 2000}], ['Mod', {arg: 300}])
    const followers = ids.map(id => site.start(['logs', String(id), '--follow']))
    await until('all are ordered', () => site.column('SELECT * FROM jobq_order').length === 3)
    await site.drain('--max-workers', '2')
    for (const [i, lines] of [1, 2000, 300].entries()) {
      const {code, stdout, stderr} = await followers[i]!.exited
      assert.equal(stdout, `${Array.from({length: lines}, (_, n) => `line ${n}\n`).join('')}end`)
      assert.deepEqual([code, stderr], [5, 'jobq: it ended: failed (Error: no)\n'])
    }
    assert.deepEqual(left(site), [])
  })

  test('what comes faster than it is told is left out, and said; the end is there', async t => {
    const site = new Workplace(t, {Fast: '#!/bin/sh\nseq 1 400000'})
    await site.enqueue(['Fast'])
    const follower = site.start(['logs', '1', '--follow'])
    await until('it is ordered', () => site.column('SELECT * FROM jobq_order').length === 1)
    await site.drain()
    const {code, stdout, stderr} = await follower.exited
    assert.equal(code, 0)
    assert.match(stdout, /\n399999\n400000\n$/)
    assert.match(stderr, /^(jobq: some of what it wrote before is left out\n)+$/)
    assert.deepEqual(left(site), [])
  })

  test('Ctrl-C ends it with 130, and takes the order back', async t => {
    const site = new Workplace(t, {Steps: STEPS})
    await site.enqueue(['Steps'])
    const follower = site.start(['logs', '1', '--follow'])
    await until('it is ordered', () => left(site).length === 1)
    follower.kill('SIGINT')
    const {code, stdout, stderr} = await follower.exited
    assert.deepEqual([code, stdout, stderr], [130, '', ''])
    assert.deepEqual(left(site), [])
  })

  test('of two, one that is stopped takes nothing from the other', async t => {
    const site = new Workplace(t, {Steps: STEPS})
    await site.enqueue(['Steps'])
    const work = site.work()
    await work.prints(/one 0$/m)
    const first = site.start(['logs', '1', '--follow'])
    await first.prints(/one 0\n$/)
    const second = site.start(['logs', '1', '--follow'])
    await second.prints(/one 0\n$/)
    second.kill('SIGINT')
    assert.equal((await second.exited).code, 130)
    for (const step of ['a0', 'b0', 'a1', 'b1']) site.write(step, '')
    const {code, stdout, stderr} = await first.exited
    assert.deepEqual([code, stdout], [0, 'one 0\ntwo\nthreeone 1\ntwo\nthree'])
    assert.equal(stderr, 'jobq: attempt 1 failed; it is tried again\n')
    site.rows('UPDATE jobq_order SET ordered_at = ordered_at - 100')
    await until('nothing is left', () => left(site).length === 0, 20_000)
    work.kill('SIGTERM')
    await work.exited
  })

  test('one that was killed is followed for half a minute more at most', async t => {
    const site = new Workplace(t, {Steps: STEPS})
    await site.enqueue(['Steps'])
    const follower = site.start(['logs', '1', '--follow'])
    await until('it is ordered', () => left(site).length === 1)
    const work = site.work()
    await follower.prints(/one 0/)
    follower.kill('SIGKILL')
    await follower.exited
    site.rows('UPDATE jobq_order SET ordered_at = ordered_at - 100')
    await until('nothing is left', () => left(site).length === 0, 20_000)
    site.write('a0', '')
    await work.prints(/two$/m)
    assert.deepEqual(left(site), [])
  })

  test('of an application only the end: it says so', async t => {
    const site = new Workplace(t)
    const [id] = await site.enqueue(['Mine'])
    const queue = await JobQueue.open({db: site.db})
    t.after(() => queue.close())
    const going = Promise.withResolvers<void>()
    const working = queue.work({workers: {Mine: () => going.promise}, mode: 'drain'})
    const follower = site.start(['logs', String(id), '--follow'])
    await follower.prints(/can not be followed/)
    going.resolve()
    const {code, stdout, stderr} = await follower.exited
    assert.deepEqual([code, stdout], [0, ''])
    assert.match(stderr, /^jobq: what it writes can not be followed[^\n]*\n$/)
    await working
    assert.deepEqual(left(site), [])
  })

  test('one that has ended: what was kept; one that is not known: exit 4', async t => {
    const site = new Workplace(t, {Bad: '#!/bin/sh\necho no; exit 1'})
    await site.enqueue(['Bad'])
    await site.drain()
    const {code, stdout, stderr} = await site.run(['logs', '1', '--follow'])
    assert.deepEqual([code, stdout, stderr], [5, 'no\n', 'jobq: it ended: failed (exited with status 1)\n'])
    assert.equal((await site.run(['logs', '9', '--follow'])).code, 4)
    assert.equal((await site.run(['logs', '1', '--follow', '--attempt', '1'])).code, 2)
    assert.deepEqual(left(site), [])
  })
})
