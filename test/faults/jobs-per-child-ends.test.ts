/** Several jobs at once in one child, of which one is stopped, cancelled, crashes or throws: what becomes of the others. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {begun, ids, noted, pids, WAITS, worker} from '../support/child-jobs.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const TOLD = 'await new Promise(resolve => job.signal.addEventListener("abort", resolve))'
const HEEDS = worker(`${TOLD}; throw job.signal.reason`, 'grabFor: 1,')
const LOOPS = worker(
  'while (!existsSync(here(job.arg))) await sleep(5); for (;;) {}',
  'grabFor: 2, setJobStatus: true,',
)
const DEAF = worker(
  `while (!existsSync(here(job.arg))) await sleep(5); await sleep(600_000)`,
  'maxRetries: 3,',
)
const OVERRUN = /^ran longer than its grab_for of \d+ s and was stopped$/

const deaths = (site: Workplace) => site.column('SELECT count(*) FROM jobq_death')[0]
const states = (site: Workplace) => site.rows('SELECT id, grabbed_until, retry_cnt FROM job ORDER BY id')
const doneOnce = (site: Workplace, id: number) =>
  ids(noted(site, 'begin')).filter(each => each === id).length === 1

describe('of jobs that share a child, one', {concurrency: 2}, () => {
  test('that runs too long and heeds its signal has failed: the others go on, and a new child takes what comes', async t => {
    const site = new Workplace(t, {Waits: WAITS, Heeds: HEEDS})
    await site.enqueue(['Waits', {arg: 'go'}], ['Heeds'], ['Waits', {arg: 'go'}])
    const work = site.work('--jobs-per-child', '3')
    await begun(site, 3)
    await work.prints(/2 Heeds failed/)
    await site.enqueue(['Waits', {arg: 'go'}])
    await begun(site, 4)
    site.write('go', '')
    await until('all are done', () => noted(site, 'end').length === 3)
    assert.match(site.messages()[0]!, OVERRUN)
    assert.equal(pids(noted(site, 'begin').slice(0, 3)).length, 1)
    assert.equal(pids(noted(site, 'begin')).length, 2, 'what was stopped may have left something behind')
    assert.ok([1, 3, 4].every(id => doneOnce(site, id)))
    assert.equal(deaths(site), 0)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  for (const [what, source] of [
    ['loops', LOOPS],
    ['does not heed its signal', DEAF.replace('maxRetries: 3', 'grabFor: 2, setJobStatus: true')],
  ] as const)
    test(`that runs too long and ${what} has failed: its child is killed, the others run again, and nothing is counted`, async t => {
      const site = new Workplace(t, {Waits: WAITS, Bad: source})
      await site.enqueue(['Waits', {arg: 'go'}], ['Bad', {arg: 'bad'}], ['Waits', {arg: 'go'}])
      const work = site.work('--jobs-per-child', '3')
      await begun(site, 3)
      site.write('bad', '')
      await work.prints(/2 Bad failed/)
      await begun(site, 5)
      assert.deepEqual(
        states(site).map(job => (job as {retry_cnt: number}).retry_cnt),
        [0, 0],
      )
      assert.equal(deaths(site), 0)
      site.write('go', '')
      await until('all are done', () => noted(site, 'end').length === 2)
      assert.deepEqual(ids(noted(site, 'end')).sort(), [1, 3])
      assert.match(site.messages()[0]!, OVERRUN)
      assert.equal(site.count('exception_log'), 1)
      work.kill('SIGTERM')
      const {code, stderr} = await work.exited
      assert.equal(code, 0)
      for (const id of [1, 3])
        assert.match(
          stderr,
          new RegExp(
            `${id} Waits released \\S+ its process was killed, since job 2 in it did not stop$`,
            'm',
          ),
        )
    })

  test('that loops has failed, and none of those that it keeps past their own time', async t => {
    const site = new Workplace(t, {
      Loops: worker('for (;;) {}', 'grabFor: 2,'),
      Naps: worker('await sleep(1000)', 'grabFor: 2,'),
    })
    await site.enqueue(['Loops', {priority: 1}], ['Naps'], ['Naps'], ['Naps'])
    const {code, stdout, stderr} = await site.drain('--jobs-per-child', '4')
    assert.equal(code, 5, stderr)
    assert.match(stdout, /^3 completed, 1 failed, 3 released in /)
    assert.deepEqual(
      site.exceptions().map(({message}) => OVERRUN.test(message)),
      [true],
    )
    assert.deepEqual(ids(noted(site, 'end')).sort(), [2, 3, 4])
    assert.equal(deaths(site), 0)
  })

  test('that is cancelled ends as cancelled; the others go on', async t => {
    const site = new Workplace(t, {Waits: WAITS, Heeds: HEEDS.replace('grabFor: 1', 'grabFor: 60')})
    const [, second] = await site.enqueue(['Waits', {arg: 'go'}], ['Heeds'], ['Waits', {arg: 'go'}])
    const work = site.work('--jobs-per-child', '3')
    await begun(site, 3)
    assert.equal((await site.run(['cancel', String(second)])).code, 0)
    await work.prints(/2 Heeds aborted \S+ cancelled$/m)
    site.write('go', '')
    await until('the others are done', () => noted(site, 'end').length === 2)
    assert.ok([1, 2, 3].every(id => doneOnce(site, id)))
    assert.equal(deaths(site), 0)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('that is cancelled and does not heed it takes its child along; the others run again', async t => {
    const site = new Workplace(t, {Waits: WAITS, Deaf: DEAF})
    await site.enqueue(['Waits', {arg: 'go'}], ['Deaf', {arg: 'deaf'}])
    site.write('deaf', '')
    const work = site.work('--jobs-per-child', '2')
    await begun(site, 2)
    await site.run(['cancel', '2'])
    await work.prints(/2 Deaf aborted \S+ cancelled$/m)
    await begun(site, 3)
    site.write('go', '')
    await work.prints(/1 Waits completed/)
    assert.equal(deaths(site), 0)
    assert.deepEqual(states(site), [])
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('that ends the process counts a death for each, since nobody knows whose doing it was', async t => {
    const site = new Workplace(t, {
      Waits: WAITS,
      Exits: worker(`while (!existsSync(here(job.arg))) await sleep(5)
        console.log('last words')
        if (!existsSync(here('once'))) { writeFileSync(here('once'), ''); process.exit(3) }`),
    })
    await site.enqueue(['Waits', {arg: 'go'}], ['Exits', {arg: 'exit'}])
    const work = site.work('--jobs-per-child', '2')
    await begun(site, 2)
    site.write('exit', '')
    for (const job of ['1 Waits', '2 Exits'])
      await work.prints(
        new RegExp(`${job} died \\S+ its process exited with status 3; the job runs again$`, 'm'),
      )
    await begun(site, 4)
    assert.deepEqual(site.column('SELECT job_id FROM jobq_death ORDER BY job_id'), [1, 2])
    site.write('go', '')
    await until('both are done', () => noted(site, 'end').length === 2)
    work.kill('SIGTERM')
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    assert.equal(stderr.match(/2 Exits \| last words/g)?.length, 2)
  })

  test('that ends the process each time is the only one that fails for it: after two deaths a job is alone', async t => {
    const site = new Workplace(t, {
      Exits: worker('await sleep(50); process.exit(3)', 'maxRetries: 5,'),
      Naps: worker('await sleep(300)'),
    })
    await site.enqueue(['Naps'], ['Naps'], ['Exits'], ['Naps'], ['Naps'])
    const {code, stdout, stderr} = await site.drain('--jobs-per-child', '10')
    assert.equal(code, 5, stderr)
    assert.match(stdout, /^4 completed, 1 failed, \d+ died in /)
    assert.deepEqual(ids(noted(site, 'end')).sort(), [1, 2, 4, 5])
    assert.match(site.messages()[0]!, /^its worker died 3 times: 1\. its process exited with status 3; 2\. /)
    assert.deepEqual(site.survivors(), [])
  })

  test('that ends the process each time, with jobs taken ahead: it waits for its own child, and all ends', async t => {
    const site = new Workplace(t, {
      Exits: worker('await sleep(50); process.exit(3)'),
      Naps: worker('await sleep(200)'),
    })
    const jobs = ['Naps', 'Exits', 'Naps', 'Exits', 'Exits', 'Naps', 'Naps', 'Naps', 'Naps', 'Naps']
    await site.enqueue(...jobs.map(func => [func] as [string]))
    const work = site.work('--drain', '--jobs-per-child', '4', '--prefetch', '5')
    t.after(() => work.kill('SIGKILL')) // a loop that never comes to its signals
    const {code, stdout, stderr} = await work.exited
    assert.equal(code, 5, stderr)
    assert.match(stdout, /^7 completed, 3 failed, \d+ died in /)
    assert.deepEqual(ids(noted(site, 'end')).sort(), [1, 10, 3, 6, 7, 8, 9])
    assert.equal(site.count('job'), 0)
  })

  test('whose stray exception Node.js knows no job of ends the process: each counts a death', async t => {
    const site = new Workplace(t, {
      Waits: WAITS,
      Odd: `import {AsyncResource} from 'node:async_hooks'
        import {existsSync, writeFileSync} from 'node:fs'
        const outside = new AsyncResource('outside')
        export default {async work() {
          const once = process.env.HOME + '/once'
          if (existsSync(once)) return
          writeFileSync(once, '')
          outside.runInAsyncScope(() => setTimeout(() => { throw new Error('whose?') }, 20))
          await new Promise(done => setTimeout(done, 60_000))
        }}`,
    })
    await site.enqueue(['Waits', {arg: 'go'}], ['Odd'])
    const drain = site.work('--drain', '--jobs-per-child', '2')
    for (const job of ['1 Waits', '2 Odd'])
      await drain.prints(
        new RegExp(`${job} died \\S+ its process exited with status 1; the job runs again$`, 'm'),
      )
    site.write('go', '')
    const {code, stderr} = await drain.exited
    assert.equal(code, 0, stderr)
    assert.match(stderr, / worker \| Error: whose\?$/m)
  })

  test('that throws where no one catches it has failed, alone; what it has left behind fails no other', async t => {
    const site = new Workplace(t, {
      Waits: WAITS,
      Timer: worker(`setTimeout(() => { throw new Error('in a timer') }, 1); await sleep(60_000)`),
      Promise: worker(
        `void (async () => { await sleep(1); throw new Error('in a promise') })(); await sleep(60_000)`,
      ),
      Late: worker(`setTimeout(() => { throw new Error('too late') }, 50)`),
    })
    for (const func of ['Timer', 'Promise', 'Late']) {
      const [first] = await site.enqueue(['Waits', {arg: `go${func}`}], [func], ['Waits', {arg: `go${func}`}])
      const drain = site.work('--drain', '--jobs-per-child', '3')
      await drain.prints(func === 'Late' ? /too late/ : new RegExp(`${func} failed \\S+ Error: in a`))
      site.write(`go${func}`, '')
      const {code, stderr} = await drain.exited
      assert.equal(code, func === 'Late' ? 0 : 5, stderr)
      for (const id of [first!, first! + 2]) assert.ok(doneOnce(site, id), stderr)
      if (func === 'Late') assert.match(stderr, /jobq: Error: too late.*, its process is replaced$/m)
    }
    assert.deepEqual(
      site.messages().map(message => message.split('\n', 1)[0]),
      ['Error: in a timer', 'Error: in a promise'],
    )
    assert.equal(deaths(site), 0)
  })

  test('after which their child is worn lets the others finish; what comes then goes to another', async t => {
    for (const [flag, value] of [
      ['--max-request-per-child', '2'],
      ['--max-child-memory', '1M'],
    ] as const) {
      const site = new Workplace(t, {Waits: WAITS, Quick: worker('')})
      await site.enqueue(['Waits', {arg: 'go', priority: 1}], ['Quick'], ['Quick'])
      const work = site.work('--jobs-per-child', '3', flag, value)
      await begun(site, 3)
      const [first] = pids(noted(site, 'begin'))
      await until('another child works', async () => {
        const [id] = await site.enqueue(['Quick'])
        await until('it has begun', () => ids(noted(site, 'begin')).includes(id!))
        return noted(site, 'begin').at(-1)!.pid !== first
      })
      site.write('go', '')
      await work.prints(/1 Waits completed/)
      assert.ok(noted(site, 'begin').every(({id}) => doneOnce(site, id)))
      assert.equal(noted(site, 'end').find(({id}) => id === 1)!.pid, first)
      work.kill('SIGTERM')
      assert.equal((await work.exited).code, 0)
    }
  })
})

describe('a child that has several jobs', {concurrency: 2}, () => {
  test('TERM: all may finish; a second one stops them, and all are released', async t => {
    const site = new Workplace(t, {Waits: WAITS, Heeds: HEEDS.replace('grabFor: 1', 'grabFor: 60')})
    await site.enqueue(['Waits', {arg: 'go'}], ['Waits', {arg: 'never'}], ['Heeds'])
    const work = site.work('--jobs-per-child', '3')
    await begun(site, 3)
    work.kill('SIGTERM')
    await work.prints(/finishing 3 jobs/)
    site.write('go', '')
    await work.prints(/1 Waits completed/)
    work.kill('SIGTERM')
    const {code, stderr} = await work.exited
    assert.equal(code, 143)
    for (const job of ['2 Waits', '3 Heeds']) assert.match(stderr, new RegExp(`${job} released`))
    assert.deepEqual(states(site), [
      {id: 2, grabbed_until: 0, retry_cnt: 0},
      {id: 3, grabbed_until: 0, retry_cnt: 0},
    ])
    assert.equal(site.count('exception_log'), 0)
    assert.equal(deaths(site), 0)
    assert.deepEqual(site.survivors(), [])
  })

  test('whose dispatcher is killed is killed with it; its jobs run again when their leases have run out', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    await site.enqueue(['Waits', {arg: 'go'}], ['Waits', {arg: 'go'}], ['Waits', {arg: 'go'}])
    const work = site.work('--jobs-per-child', '3')
    await begun(site, 3)
    work.kill('SIGKILL')
    await work.exited
    await until('nothing is left of it', () => site.survivors().length === 0)
    site.write('go', '')
    site.rows('UPDATE job SET grabbed_until = 1')
    const {code, stdout} = await site.drain('--jobs-per-child', '3')
    assert.equal(code, 0)
    assert.match(stdout, /^3 completed in /)
    assert.deepEqual(ids(noted(site, 'end')).sort(), [1, 2, 3])
  })

  test('calls the hooks of each; a place is taken until its own are done', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    site.write(
      'jobq.config.mjs',
      `import {existsSync} from 'node:fs'
      import {note} from './workers/_note.mjs'
      export default {hooks: [{name: 'slow', async postWork(job) {
        console.log('hook of', job.id)
        while (job.id === 1 && !existsSync(process.env.HOME + '/hook')) await new Promise(done => setTimeout(done, 5))
        note({word: 'hook', id: job.id, outcome: job.outcome})
      }}]}`,
    )
    for (let i = 1; i <= 4; i++) await site.enqueue(['Waits', {arg: `go${i}`}])
    const work = site.work('--jobs-per-child', '2')
    await begun(site, 2)
    site.write('go1', '')
    await work.prints(/1 Waits completed/)
    site.write('go2', '')
    await begun(site, 3)
    assert.deepEqual(site.column('SELECT id FROM job WHERE grabbed_until = 0'), [4])
    for (const file of ['hook', 'go3', 'go4']) site.write(file, '')
    await work.prints(/4 Waits completed/)
    work.kill('SIGTERM')
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    const hooked = site.notes<{word: string; id: number}>().filter(({word}) => word === 'hook')
    assert.deepEqual(hooked.map(({id}) => id).sort(), [1, 2, 3, 4])
    for (const {id} of hooked) assert.match(stderr, new RegExp(` ${id} Waits \\| hook of ${id}$`, 'm'))
  })

  test('that writes where workers speak to jobq is killed, and each of its jobs has died', async t => {
    const site = new Workplace(t, {
      Waits: WAITS,
      Writes: worker(
        `while (!existsSync(here(job.arg))) await sleep(5)
        if (!existsSync(here('once'))) { writeFileSync(here('once'), ''); writeSync(3, 'hello\\n'); await sleep(60_000) }`,
      ),
    })
    await site.enqueue(['Waits', {arg: 'go'}], ['Writes', {arg: 'write'}])
    const work = site.work('--jobs-per-child', '2')
    await begun(site, 2)
    site.write('write', '')
    for (const job of ['1 Waits', '2 Writes'])
      await work.prints(
        new RegExp(`${job} died \\S+ its process was killed: it wrote hello where workers speak`),
      )
    site.write('go', '')
    await until('both are done', () => noted(site, 'end').length === 2)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })
})
