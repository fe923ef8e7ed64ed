/** `jobq work` told to end, gently, firmly, and not at all: what becomes of its jobs and of what it has started. */
import assert from 'node:assert/strict'
import {existsSync, readdirSync, rmSync} from 'node:fs'
import {describe, test} from 'node:test'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const worker = (body: string) => `import {existsSync, rmSync} from 'node:fs'
import {spawn} from 'node:child_process'
import {setTimeout as sleep} from 'node:timers/promises'
import {note} from './_note.mjs'
void existsSync, spawn, sleep
export default {async work(job: any) {
  note({word: 'begin', id: job.id, pid: process.pid})
  ${body}
  note({word: 'end', id: job.id})
}}
`
/** Runs until the test says so, or for ever. */
const WAITS = worker(`while (!existsSync(process.env.HOME + '/go')) await sleep(5)`)
/** Does what it is told when it is told to stop. */
const HEEDS = worker(`await new Promise(resolve => job.signal.addEventListener('abort', resolve))`)
const STUBBORN = `trap '' TERM INT HUP; echo stubborn $$; while :; do sleep 0.05; done`

interface Note {
  word: 'begin' | 'end'
  id: number
  pid: number
}

const begun = (site: Workplace, count = 1) =>
  until(`${count} have begun`, () => site.notes<Note>().filter(({word}) => word === 'begin').length >= count)
const ended = (site: Workplace) =>
  site
    .notes<Note>()
    .filter(({word}) => word === 'end')
    .map(({id}) => id)
/** As it was before it was grabbed. */
const FREE = {grabbed_until: 0, retry_cnt: 0}
const waiting = (site: Workplace) => site.rows('SELECT grabbed_until, retry_cnt FROM job ORDER BY id')

describe('told to end', {concurrency: 2}, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    test(`${signal} while nothing is to be done: 0, and nothing is left`, async t => {
      const site = new Workplace(t, {Waits: WAITS, Shell: '#!/bin/sh\n'})
      const work = site.work('--debug', '--max-workers', '2', '--min-spare-workers', '2')
      await work.prints(/nothing ready/)
      work.kill(signal)
      const {code, stdout} = await work.exited
      assert.equal(code, 0)
      assert.equal(stdout, '')
      assert.deepEqual(site.survivors(), [])
      assert.deepEqual(readdirSync(site.path('tmp')), [])
    })

  test('while jobs run that get done in time: they are settled, no more are taken, 0', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    await site.enqueue(['Waits'], ['Waits'], ['Waits'])
    const work = site.work('--debug', '--max-workers', '2')
    await begun(site, 2)
    work.kill('SIGTERM')
    await work.prints(/ending/)
    site.write('go', '')
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    assert.equal(stderr.match(/Waits completed/g)?.length, 2)
    assert.deepEqual(ended(site).sort(), [1, 2])
    assert.deepEqual(waiting(site), [FREE])
  })

  for (const [signal, status] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)
    test(`${signal} while jobs run that take longer: released for the next worker, ${status}`, async t => {
      const site = new Workplace(t, {Waits: WAITS, Shell: `#!/bin/sh\n${STUBBORN}`})
      await site.enqueue(['Waits'], ['Shell'])
      const work = site.work('--max-workers', '2', '--shutdown-timeout', '1')
      await begun(site)
      await work.prints(/stubborn/)
      work.kill(signal)
      const {code, stderr} = await work.exited
      assert.equal(code, status)
      assert.match(stderr, /1 Waits released/)
      assert.match(stderr, /2 Shell released/)
      assert.deepEqual(waiting(site), [FREE, FREE])
      assert.equal(site.count('exception_log'), 0)
      assert.deepEqual(site.survivors(), [])
      site.write('go', '')
      assert.equal((await site.drain('--exec', 'Shell=true')).code, 0)
      assert.deepEqual(ended(site), [1])
    })

  test('a second signal: at once', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    await site.enqueue(['Waits'])
    const work = site.work('--debug', '--shutdown-timeout', '1h')
    await begun(site)
    work.kill('SIGINT')
    await work.prints(/ending/)
    work.kill('SIGTERM')
    const {code} = await work.exited
    assert.equal(code, 130, 'it is the first that says how')
    assert.deepEqual(waiting(site), [FREE])
    assert.deepEqual(site.survivors(), [])
  })

  test('a job that is stopped and gets done all the same is done', async t => {
    const site = new Workplace(t, {
      Heeds: HEEDS,
      Throws: HEEDS.replace(`note({word: 'end'`, `throw new Error('stopped'); note({word: 'end'`),
      Shell: `#!/bin/sh\ntrap 'exit 0' TERM\necho ready; while :; do sleep 0.02; done`,
      Fails: `#!/bin/sh\ntrap 'exit 9' TERM\necho ready; while :; do sleep 0.02; done`,
    })
    await site.enqueue(['Heeds'], ['Throws'], ['Shell'], ['Fails'])
    const work = site.work('--max-workers', '4', '--shutdown-timeout', '0')
    await begun(site, 2)
    await work.prints(/ready[\s\S]*ready/)
    work.kill('SIGTERM')
    const {code, stderr} = await work.exited
    assert.equal(code, 143)
    for (const line of ['1 Heeds completed', '2 Throws released', '3 Shell completed', '4 Fails released'])
      assert.ok(stderr.includes(line), `${line}\n${stderr}`)
    assert.deepEqual(waiting(site), [FREE, FREE])
    assert.equal(site.count('exception_log'), 0)
  })

  test('a drain that is cut short: 143, or 130, and what it summed up', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    for (const [signal, status] of [
      ['SIGTERM', 143],
      ['SIGINT', 130],
    ] as const) {
      await site.enqueue(['Waits'], ['Waits'])
      const before = ended(site).length
      const work = site.work('--drain', '--debug')
      await begun(site, before + 1)
      work.kill(signal)
      await work.prints(/ending/)
      site.write('go', '')
      const {code, stdout} = await work.exited
      assert.equal(code, status)
      assert.match(stdout, /^1 completed in/)
      assert.deepEqual(waiting(site), [FREE])
      assert.equal((await site.drain()).code, 0)
      site.spawn('rm', ['go'])
      await until('it is gone', () => !existsSync(site.path('go')))
    }
  })

  test('one job that is asked for and gets done is done, whoever wanted an end meanwhile', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    for (const words of [['--once'], ['--job', '2']]) {
      await site.enqueue(['Waits'])
      const before = ended(site).length
      const work = site.work(...words, '--debug')
      await begun(site, before + 1)
      work.kill('SIGTERM')
      await work.prints(/ending/)
      site.write('go', '')
      assert.equal((await work.exited).code, 0)
      assert.deepEqual(waiting(site), [])
      rmSync(site.path('go'))
    }
  })

  test('Ctrl-C on a terminal reaches jobq, not its jobs', async t => {
    const site = new Workplace(t, {
      Waits: WAITS,
      Shell: '#!/bin/sh\nwhile [ ! -e "$HOME/go" ]; do sleep 0.02; done',
    })
    await site.enqueue(['Waits'], ['Shell'])
    const work = site.start(['work', '--debug', '--max-workers', '2'], {detached: true})
    await begun(site)
    await work.prints(/grabbed 2/)
    process.kill(-work.pid, 'SIGINT')
    await work.prints(/ending/)
    site.write('go', '')
    const {code, stderr} = await work.exited
    assert.equal(code, 0, stderr)
    assert.match(stderr, /Waits completed/)
    assert.match(stderr, /Shell completed/)
  })
})

describe('killed', {concurrency: 2}, () => {
  test('all it has started goes with it, and its jobs run again when their leases are over', async t => {
    const site = new Workplace(t, {
      Loops: worker(`if (!existsSync(process.env.HOME + '/go')) for (;;) {}`),
      Starts: worker(`
        if (existsSync(process.env.HOME + '/go')) return
        spawn('/bin/sh', ['-c', ${JSON.stringify(STUBBORN)}], {stdio: 'inherit'})
        await sleep(60_000)`),
      Shell: `#!/bin/sh\n[ -e "$HOME/go" ] && exit\n(${STUBBORN}) &\n${STUBBORN}`,
    })
    await site.enqueue(['Loops'], ['Starts'], ['Shell'])
    const work = site.work('--max-workers', '3')
    await begun(site, 2)
    await work.prints(/(stubborn[\s\S]*){3}/)
    assert.ok(site.survivors().length >= 8, 'a guardian, a spare child and six of the jobs')
    work.kill('SIGKILL')
    await work.exited
    await until('nothing of it is left', () => site.survivors().length === 0)
    assert.deepEqual(readdirSync(site.path('tmp')), [])
    site.write('go', '')
    const leases = site.column<number>('SELECT grabbed_until FROM job')
    const now = Date.now() / 1000
    assert.ok(
      leases.every(lease => lease > now && lease < now + 61),
      'leases of a minute',
    )
    const next = site.work('--debug', '--max-workers', '3')
    await next.prints(/nothing ready/)
    assert.equal(site.count('job'), 3, 'not before the leases are over')
    site.rows('UPDATE job SET grabbed_until = unixepoch() + 1')
    await until('all is worked', () => site.count('job') === 0)
    next.kill('SIGTERM')
    assert.equal((await next.exited).code, 0)
    assert.deepEqual(ended(site), [1])
    assert.equal(site.count('exception_log'), 0)
  })

  test('three times by its job: the job has failed, and said why', async t => {
    const site = new Workplace(t, {Shell: '#!/bin/sh\nsleep 0.1; kill -KILL $PPID; sleep 60'})
    await site.enqueue(['Shell'])
    for (let i = 0; i < 3; i++) {
      assert.equal((await site.drain()).signal, 'SIGKILL')
      await until('nothing of it is left', () => site.survivors().length === 0)
      site.rows('UPDATE job SET grabbed_until = 1')
    }
    const {code, stdout} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^1 failed/)
    assert.equal(site.count('job'), 0)
    assert.match(site.messages()[0]!, /^its worker died 3 times: 1\. its lease ran out/)
  })

  test('while it is idle: nothing is left either', async t => {
    const site = new Workplace(t, {Waits: WAITS})
    const work = site.work('--debug', '--max-workers', '2', '--min-spare-workers', '2')
    await work.prints(/nothing ready/)
    work.kill('SIGKILL')
    await work.exited
    await until('nothing of it is left', () => site.survivors().length === 0)
    assert.deepEqual(readdirSync(site.path('tmp')), [])
  })
})

test('a database that breaks under it ends it, with all it has started', async t => {
  const site = new Workplace(t, {Shell: `#!/bin/sh\n${STUBBORN}`, Waits: WAITS})
  await site.enqueue(['Shell'], ['Waits'])
  const work = site.work('--max-workers', '3')
  await work.prints(/stubborn/)
  await begun(site)
  site.rows('ALTER TABLE job RENAME TO gone')
  site.rows('CREATE TABLE job (id INTEGER PRIMARY KEY)')
  const {code, stderr} = await work.exited
  assert.equal(code, 1)
  assert.match(stderr, /^jobq: \S+jobs\.db: no such \w+/m)
  await until('nothing of it is left', () => site.survivors().length === 0)
})
