/** `jobq top` on a terminal: what its rows say, by an emulator of one, and what its keys do to the queue. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {readlinkSync, unlinkSync} from 'node:fs'
import {describe, type TestContext, test} from 'node:test'
import {type Jobq, jobqIn, type RunOptions} from '../support/jobq.ts'
import {openDatabase, seedException, seedJob} from '../support/seed.ts'
import type {Started} from '../support/started.ts'
import {Picture} from '../support/terminal.ts'
import {until} from '../support/until.ts'

const UP = '\u001b[A'
const DOWN = '\u001b[B'

function topOf(
  jobq: Jobq,
  options: RunOptions = {},
): {top: Started; picture: Picture; press(keys: string): void} {
  const top = jobq.start(['top'], {tty: 'all', stdin: 'open', ...options})
  return {
    top,
    picture: new Picture(top, options.columns, options.rows),
    press: keys => void top.child.stdin!.write(keys),
  }
}

async function ended(top: Started, press: (keys: string) => void): Promise<void> {
  press('q')
  const {code} = await top.exited
  assert.equal(code, 0)
}

/** A job that hangs, and who works it. */
async function hanging(t: TestContext) {
  const jobq = jobqIn(t)
  const {stdout} = await jobq(['enqueue', 'Hang'])
  const work = jobq.start(['work', '--exec', 'Hang=sleep 1000'])
  await until('it runs', async () => (await jobq(['list', '--state', 'running'])).stdout !== '')
  return {jobq, work, id: stdout.trim()}
}

describe('top', () => {
  test('shows functions, what runs and where, and who works; q ends it and gives the screen back', async t => {
    const {jobq, work, id} = await hanging(t)
    const {top, picture, press} = topOf(jobq)
    await picture.shows(new RegExp(`\\n +${id} +Hang +\\d+s +0 +\\S+ +\\d+\\n`))
    assert.ok(picture.isOther)
    const rows = await picture.shows(new RegExp(`\\n +${work.pid} +\\S+ +1/1 +0 +0 +\\d+M +\\ds ago`))
    assert.match(rows[1]!, /^1 jobq work on 1 host, 1 of 1 busy/)
    assert.ok(rows.some(row => /^▸ +Hang +0 +0 +1 /.test(row)))
    await ended(top, press)
    await picture.rows()
    assert.ok(!picture.isOther)
  })

  test('c cancels the job that is marked, once y says so', async t => {
    const {jobq, id} = await hanging(t)
    const {top, picture, press} = topOf(jobq)
    await picture.shows(/Hang/)
    press('c')
    await picture.shows(/c is for a job that runs: Tab goes there/)
    press('\tc')
    await picture.shows(new RegExp(`cancel job ${id}\\? y: yes, any other key: no`))
    press('n')
    await picture.shows(/q quit$/)
    assert.notEqual((await jobq(['list'])).stdout, '')
    press('c')
    await picture.shows(/cancel job/)
    press('y')
    await picture.shows(new RegExp(`job ${id} was told to stop`))
    await picture.shows(/q quit$/) // what a key does is told again after a while
    await until('it has ended', async () => (await jobq(['list'])).stdout === '')
    await ended(top, press)
  })

  test('p pauses the function that is marked and resumes it, r retries what has failed of it, s sorts', async t => {
    const jobq = jobqIn(t)
    await jobq(['init'])
    const db = openDatabase(t, jobq.db)
    for (const func of ['Crop', 'Notify']) seedJob(db, {func})
    seedException(db, {func: 'Notify'})
    const {top, picture, press} = topOf(jobq)
    await picture.shows(/▸ +Crop/)
    press(DOWN)
    await picture.shows(/▸ +Notify/)
    press('p')
    await picture.shows(/Notify is paused on every host/)
    await picture.shows(/▸ +Notify \(paused\)/)
    assert.equal(db.prepare('SELECT group_concat(func) FROM jobq_pause').pluck().get(), 'Notify')
    press('p')
    await picture.shows(/Notify is resumed/)
    press('r')
    await picture.shows(/retry the failed job of Notify\?/)
    press('y')
    await picture.shows(/1 of Notify retried/)
    await picture.shows(/▸ +Notify +2 +0 +0 +0/)
    press(`${UP}r`)
    await picture.shows(/no job of Crop has failed for good/)
    press('s')
    await picture.shows(/by ready/)
    const rows = await picture.shows(/Notify[\s\S]*▸ +Crop/)
    assert.ok(rows.findIndex(row => /Notify/.test(row)) < rows.findIndex(row => /Crop/.test(row)))
    await ended(top, press)
  })

  test('goes with the terminal to another size', async t => {
    const jobq = jobqIn(t)
    await jobq(['init'])
    seedJob(openDatabase(t, jobq.db), {func: 'Notify'})
    const {top, picture, press} = topOf(jobq)
    await picture.shows(/Notify[\s\S]*q quit$/)
    const terminal = readlinkSync(`/proc/${jobqOf(top)}/fd/0`)
    execFileSync('stty', ['-F', terminal, 'cols', '20', 'rows', '10'])
    picture.resize(20, 10)
    const rows = await picture.shows(/^\d\d:\d\d:\d\d[\s\S]*▸ +Notify[\s\S]*\n↑↓ Tab/)
    assert.equal(rows.length, 10)
    await ended(top, press)
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    test(`${signal} ends it in order`, async t => {
      const jobq = jobqIn(t)
      const {top, picture, press} = topOf(jobq)
      await picture.shows(/q quit$/)
      if (signal === 'SIGINT') press('\u0003')
      else process.kill(jobqOf(top), signal)
      const {code} = await top.exited
      assert.equal(code, 0)
      await picture.rows()
      assert.ok(!picture.isOther)
    })

  test('SIGHUP ends it, and the terminal has its own screen again', async t => {
    const {top, picture} = topOf(jobqIn(t))
    await picture.shows(/q quit$/)
    process.kill(jobqOf(top), 'SIGHUP')
    await top.exited
    await picture.rows()
    assert.ok(!picture.isOther)
  })

  test('NO_COLOR: no colour', async t => {
    const jobq = jobqIn(t)
    await jobq(['init'])
    seedJob(openDatabase(t, jobq.db), {func: 'Notify'})
    const {top, picture, press} = topOf(jobq, {env: {NO_COLOR: '1'}})
    await picture.shows(/▸ +Notify/)
    assert.doesNotMatch(top.stdout, /\u001b\[\d*m/)
    await ended(top, press)
  })

  test('a database that goes away: the screen is given back, one line says why, and the exit status', async t => {
    const jobq = jobqIn(t)
    const {top, picture} = topOf(jobq)
    await picture.shows(/q quit$/)
    unlinkSync(jobq.db)
    const {code} = await top.exited
    assert.equal(code, 1)
    const rows = (await picture.rows()).filter(row => row !== '')
    assert.ok(!picture.isOther)
    assert.match(rows[0]!, /^jobq: /)
  })

  test('without a terminal: one line, and 2', async t => {
    const {code, stdout, stderr} = await jobqIn(t)(['top'])
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^jobq: expected a terminal, got none \([^\n]*\)\n$/)
  })
})

/** jobq itself, below what gives it its terminal. */
function jobqOf({pid}: Started): number {
  const [child] = execFileSync('pgrep', ['-P', String(pid)], {encoding: 'utf8'}).split('\n')
  return Number(child)
}
