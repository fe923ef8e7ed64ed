/** Several jobs at once in one child: who gets which, in which order, and whose output it is. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {describe, test} from 'node:test'
import {begun, ids, noted, pids, WAITS, worker} from '../support/child-jobs.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const waiting = (site: Workplace) =>
  site.column<number>('SELECT id FROM job WHERE grabbed_until = 0 ORDER BY id')

describe('jobs that share a child', {concurrency: 2}, () => {
  test('are as many as are said, and no more is taken: what comes then is worked by its priority', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    for (let i = 1; i <= 3; i++) await site.enqueue(['Waits', {arg: `go${i}`}])
    const work = site.work('--jobs-per-child', '3')
    await work.prints(/works Waits .*, 3 jobs at once$/m)
    await begun(site, 3)
    await site.enqueue(
      ['Waits', {arg: 'go4'}],
      ['Waits', {arg: 'go5', priority: 9}],
      ['Waits', {arg: 'go6', priority: 5}],
    )
    for (const [done, next, left] of [
      [2, 5, [4, 6]],
      [5, 6, [4]],
      [1, 4, []],
    ] as const) {
      site.write(`go${done}`, '')
      await until(`${next} has begun`, () => ids(noted(site, 'begin')).includes(next))
      assert.deepEqual(waiting(site), left)
    }
    for (const left of [3, 4, 6]) site.write(`go${left}`, '')
    await until('all are done', () => noted(site, 'end').length === 6)
    assert.equal(pids(noted(site, 'begin')).length, 1)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('are given to the child that has the fewest; each is a slot, in status, show and the line', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    const flags = ['--max-workers', '2', '--min-spare-workers', '2', '--jobs-per-child', '2']
    const work = site.work(...flags, '--debug')
    await until('both are ready', () => (work.stderr.match(/nothing ready/g)?.length ?? 0) >= 2)
    for (let i = 0; i < 3; i++) await site.enqueue(['Waits', {arg: 'go'}])
    await begun(site, 3)
    const byPid = Map.groupBy(noted(site, 'begin'), ({pid}) => pid)
    assert.deepEqual([...byPid.values()].map(({length}) => length).sort(), [1, 2])
    let slots: {state: string; pid: number; id: number | null; memory: number}[] = []
    await until('it tells of them', async () => {
      const {stdout} = await site.run(['status', '--json'])
      slots = JSON.parse(stdout).managers[0]?.slots ?? []
      return slots.filter(({state}) => state === 'working').length === 3
    })
    assert.deepEqual(slots.map(({state}) => state).sort(), ['idle', 'working', 'working', 'working'])
    for (const {id, pid} of noted(site, 'begin')) {
      assert.equal(slots.find(slot => slot.id === id)!.pid, pid)
      const {stdout} = await site.run(['show', String(id), '--json'])
      assert.equal(JSON.parse(stdout).run.pid, pid)
    }
    assert.ok(slots.every(({memory}) => memory > 0))
    site.write('go', '')
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('an executable has a process of its own, in the place of a whole child', async t => {
    const site = new Workplace(t, {
      Waits: WAITS,
      Shell: '#!/bin/sh\necho runs; while [ ! -e "$HOME/go-shell" ]; do sleep 0.02; done',
    })
    await site.enqueue(
      ['Waits', {arg: 'go'}],
      ['Waits', {arg: 'go'}],
      ['Shell'],
      ['Shell'],
      ['Waits', {arg: 'go'}],
    )
    const work = site.work('--max-workers', '2', '--jobs-per-child', '2')
    await begun(site, 2)
    await work.prints(/3 Shell \| runs/)
    await until('the last has its place', () => waiting(site).length <= 2)
    assert.deepEqual(waiting(site).includes(4), true, 'one executable at once beside a child')
    site.write('go', '')
    site.write('go-shell', '')
    await work.prints(/4 Shell completed/)
    await until('all are done', () => noted(site, 'end').length === 3)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('HUP: what runs is finished with the code of before, what comes gets the new one', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    site.write('jobq.config.json', '{"jobsPerChild": 2}')
    await site.enqueue(['Waits', {arg: 'go'}], ['Waits', {arg: 'go'}])
    const work = site.work('--debug')
    await begun(site, 2)
    const old = pids(noted(site, 'begin'))
    site.worker('Waits', WAITS.replace("word: 'end'", "word: 'end', code: 'new'"))
    site.write('jobq.config.json', '{"jobsPerChild": 3}')
    work.kill('SIGHUP')
    await work.prints(/reloading/)
    await until('another child is there', () => (work.stderr.match(/child \d+ starts/g)?.length ?? 0) >= 2)
    site.write('new', '')
    const more = await site.enqueue(['Waits', {arg: 'new'}])
    await until('it is done', () => ids(noted(site, 'end')).includes(more[0]!))
    site.write('go', '')
    await until('all are done', () => noted(site, 'end').length === 3)
    const ends = noted(site, 'end').map(({id, pid, ...note}) => [
      id,
      old.includes(pid),
      Reflect.get(note, 'code'),
    ])
    assert.deepEqual(
      ends.sort(([a], [b]) => Number(a) - Number(b)),
      [
        [1, true, undefined],
        [2, true, undefined],
        [3, false, 'new'],
      ],
    )
    await until('the old one is gone', () => work.stderr.includes(`child ${old[0]} is gone after 2 jobs`))
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('TTOU: a child fewer, though each of them has jobs; TTIN: one more', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    const work = site.work('--max-workers', '2', '--jobs-per-child', '2', '--debug')
    for (let i = 1; i <= 4; i++) await site.enqueue(['Waits', {arg: `go${i}`}])
    await begun(site, 4)
    assert.equal(pids(noted(site, 'begin')).length, 2)
    work.kill('SIGTTOU')
    await work.prints(/max_workers is 1/)
    for (let i = 1; i <= 4; i++) site.write(`go${i}`, '')
    await work.prints(/child \d+ is gone after 2 jobs/)
    work.kill('SIGTTIN')
    await work.prints(/max_workers is 2/)
    for (let i = 5; i <= 8; i++) await site.enqueue(['Waits', {arg: 'go5'}])
    await begun(site, 8)
    assert.equal(pids(noted(site, 'begin').slice(4)).length, 2)
    site.write('go5', '')
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('more than 10,000 at once are refused', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    const {code, stdout, stderr} = await site.drain('--max-workers', '200', '--jobs-per-child', '51')
    assert.deepEqual([code, stdout], [2, ''])
    assert.equal(
      stderr,
      'jobq: expected at most 10000 jobs at once, got 200 children of 51 jobs each (take fewer --max-workers, or fewer --jobs-per-child)\n',
    )
    for (const wrong of ['0', '1.5', 'x', '10001'])
      assert.equal((await site.drain('--jobs-per-child', wrong)).code, 2, wrong)
  })
})

describe('their output', {concurrency: 2}, () => {
  /** Prints its own name in lines and in pieces, one after the other's. */
  const PRINTS = worker(
    `for (let i = 0; i < 20; i++) {
      console.log(job.arg, i)
      process.stdout.write(job.arg)
      await sleep(1)
      process.stdout.write(Buffer.from(' ö 😀\\n').subarray(0, 3))
      await sleep(1)
      process.stdout.write(Buffer.from(' ö 😀\\n').subarray(3))
      console.error('err', job.arg)
    }
    setTimeout(() => console.log('late', job.arg), 1)
    await sleep(20)
    process.stdout.write('end of ' + job.arg)`,
    `keepOutput: 'all',`,
  )
  const printed = (name: string) =>
    [
      ...Array.from({length: 20}, (_, i) => `${name} ${i}\n${name} ö 😀\nerr ${name}\n`),
      `late ${name}\nend of ${name}`,
    ].join('')

  test('is each one’s own, to the last piece, in the log and in what is kept', async t => {
    const site = new Workplace(t, {Prints: PRINTS})
    const names = ['a', 'b', 'c', 'd']
    await site.enqueue(...names.map((arg): ['Prints', {arg: string}] => ['Prints', {arg}]))
    const {code, stderr} = await site.drain('--jobs-per-child', '4')
    assert.equal(code, 0, stderr)
    assert.equal(pids(noted(site, 'begin')).length, 1)
    for (const [i, name] of names.entries()) {
      const {stdout} = await site.run(['logs', String(i + 1)])
      assert.equal(stdout, printed(name))
      const logged = [...stderr.matchAll(new RegExp(`^\\S+ ${i + 1} Prints \\| (.*)$`, 'gm'))]
      assert.equal(logged.map(([, line]) => line).join('\n'), printed(name))
    }
    assert.doesNotMatch(stderr, / worker \| /)
  })

  test('can be followed', async t => {
    const site = new Workplace(t, {Prints: PRINTS})
    await site.enqueue(['Prints', {arg: 'a'}], ['Prints', {arg: 'b'}])
    const follower = site.start(['logs', '2', '--follow'])
    await until('it is ordered', () => site.column('SELECT * FROM jobq_order').length === 1)
    await site.drain('--jobs-per-child', '2')
    assert.equal((await follower.exited).stdout, printed('b'))
  })

  test('of which nobody can say whose it is, is in the log as the worker’s, and not kept', async t => {
    const site = new Workplace(t, {
      Odd: worker(
        `console.log('own')
        writeSync(1, 'raw\\n')
        await new Promise(done => spawn('echo', ['helper'], {stdio: ['ignore', 'inherit', 'inherit']}).once('close', done))`,
        `keepOutput: 'all',`,
      ),
    })
    await site.enqueue(['Odd'], ['Odd'])
    const {code, stderr} = await site.drain('--jobs-per-child', '2')
    assert.equal(code, 0)
    for (const line of ['raw', 'helper'])
      assert.equal(stderr.match(new RegExp(` worker \\| ${line}$`, 'gm'))?.length, 2, stderr)
    assert.match(stderr, / 1 Odd \| own$/m)
    assert.equal((await site.run(['logs', '1'])).stdout, 'own\n')
  })

  test('that is much is neither lost nor mixed; who pipes it waits, and each write calls back', async t => {
    const site = new Workplace(t, {
      Much: worker(
        `const {Readable} = await import('node:stream')
        const {pipeline} = await import('node:stream/promises')
        const lines = function* () { for (let i = 0; i < 20_000; i++) yield 'x'.repeat(100) + job.arg + i + '\\n' }
        await pipeline(Readable.from(lines()), process.stdout, {end: false})
        await new Promise<void>(done => process.stdout.write('last', () => done()))`,
      ),
    })
    await site.enqueue(['Much', {arg: 'a'}], ['Much', {arg: 'b'}])
    const {code, stderr} = await site.drain('--jobs-per-child', '2', '--log', 'log')
    assert.equal(code, 0, stderr)
    const log = readFileSync(site.path('log'), 'utf8')
    for (const [id, name] of [
      [1, 'a'],
      [2, 'b'],
    ] as const) {
      const logged = [...log.matchAll(new RegExp(`^\\S+ ${id} Much \\| (.*)$`, 'gm'))].map(
        ([, line]) => line!,
      )
      assert.equal(logged.length, 20_001)
      assert.ok(logged.slice(0, -1).every((line, i) => line === `${'x'.repeat(100)}${name}${i}`))
      assert.equal(logged.at(-1), 'last')
    }
  })
})
