/**
 * What a process needs of its machine, and does not get: room on a disk, inodes, permission, descriptors, memory,
 * inotify; and a file in which bytes have changed. Real limits, set in namespaces or for one process: each time there is
 * one line that says so, what was said to be stored is there and nothing else, and work goes on when there is room.
 */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import {JobqError} from '../../src/lib/jobs/errors.ts'
import {Home, printed} from '../support/home.ts'
import {RUN_JS} from '../support/jobq.ts'
import {cantBeOtherUser, otherUser} from '../support/other-user.ts'
import {Random, SEED, SOAK} from '../support/random.ts'
import {assertOneLine} from '../support/refusal.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const CANT_MOUNT =
  spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status !== 0 &&
  'no file system can be mounted here'

/** In a namespace of its own: a file system at `full`, then a script. */
function onDisk(site: Workplace, options: string, script: string, env: NodeJS.ProcessEnv = {}) {
  const mount = `mkdir -p full && mount -t tmpfs -o ${options} tmpfs full || exit 99\n`
  return site.spawn('unshare', ['-rm', 'sh', '-c', mount + script], {env})
}

describe('a disk that fills up', {skip: CANT_MOUNT}, () => {
  test('in the midst of an end: that is written when there is room, and the job ran once', async t => {
    const fills =
      '#!/bin/sh\nhead -c 2M /dev/zero >full/fill\necho ran >>runs\nyes no | head -c 9000 >&2\nexit 3'
    const site = new Workplace(t, {Fills: fills})
    const work = onDisk(
      site,
      'size=1m',
      `jobq enqueue Fills && jobq enqueue Fills --delay 1h
(until [ -e go ]; do sleep 0.01; done; rm full/fill) & jobq work --max-jobs 1; cp full/jobs.db* .`,
      {JOBQ_DB: 'full/jobs.db'},
    )
    await work.prints(/no room left .*; trying again until it works$/m)
    site.write('go', '')
    const {stderr} = await work.exited
    assert.match(stderr, /1 Fills failed/)
    assert.equal(readFileSync(site.path('runs'), 'utf8'), 'ran\n')
    assert.deepEqual([site.column('SELECT id FROM job'), site.count('exception_log')], [[2], 1])
  })

  for (const [what, to] of [
    ['its own file', '--log full/log'],
    ['standard output', '>full/log'],
  ] as const)
    test(`in the log, ${what}: jobs go on, lines are whole, and what is lost is counted`, async t => {
      const site = new Workplace(t, {Says: '#!/bin/sh\nread n; printf "%0900d\\n" $n'})
      await site.enqueue(...Array.from({length: 60}, (_, i) => ['Says', {arg: i}] as ['Says', object]))
      const work = onDisk(
        site,
        'size=32k',
        `(until [ -e go ]; do sleep 0.01; done; mount -o remount,size=1m full; touch gone) &
jobq work --json --max-jobs 63 --max-workers 1 ${to}; cp full/log .`,
      )
      await until('there was no room for most of it', () => site.count('job') === 0)
      site.write('go', '')
      await until('there is room', () => existsSync(site.path('gone')))
      await site.enqueue(...Array.from({length: 3}, () => ['Says', {arg: 7}] as ['Says', object]))
      await work.exited
      const lines = readFileSync(site.path('log'), 'utf8').trimEnd().split('\n')
      const whole = lines.flatMap(line => parsed(line) ?? [])
      assert.ok(whole.length >= lines.length - 1, 'one may be torn, where the disk was full')
      const [dropped, ...more] = whole.flatMap(
        ({message = ''}) => /^(\d+) lines .* dropped$/.exec(message)?.[1] ?? [],
      )
      assert.deepEqual(more, [])
      const told = whole.filter(({event}) => event === 'job' || event === 'output').length
      assert.equal(told + Number(dropped), 2 * 63)
    })

  test('by inodes: there is none for a -wal, and when there is, all goes on', async t => {
    const site = new Workplace(t)
    const more = `mount -o remount,nr_inodes=4 full; jobq enqueue F; cp full/jobs.db .`
    const script = `jobq enqueue F; echo $?; jobq list; echo $?; ${more}`
    const env = {JOBQ_DB: 'full/jobs.db'}
    const {code, stdout, stderr} = await onDisk(site, 'size=1m,nr_inodes=2', script, env).exited
    assert.deepEqual({code, stdout}, {code: 0, stdout: '1\n1\n1\n'})
    const lines = stderr.trimEnd().split('\n')
    assert.equal(lines.length, 2)
    for (const line of lines)
      assert.match(line, /^jobq: no room for one more file .*; nothing was stored \(.*inode/)
    assert.deepEqual(site.column('SELECT id FROM job'), [1])
  })
})

function parsed(line: string): {event?: string; message?: string} | null {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}

describe('a folder that may be written no more', {skip: cantBeOtherUser()}, () => {
  const readOnly = {exit: 1, says: ['can only be read', 'write permission']}

  test('is told, in one line; nothing changes, and when it may be written again, it is', async t => {
    const home = new Home(t)
    mkdirSync(home.path('db'))
    const db = ['--db', 'db/jobs.db']
    home.give(65_534)
    assert.deepEqual(await home.jobq(['enqueue', 'F', ...db], otherUser), printed(1))
    chmodSync(home.path('db'), 0o555)
    const before = home.files()
    for (const words of [
      ['enqueue', 'F'],
      ['enqueue', 'F', '--args-from', 'db/jobs.db'],
      ['list'],
      ['retry', '1'],
    ])
      assertOneLine(await home.jobq([...words, ...db], otherUser), readOnly)
    assert.deepEqual(home.files(), before)
    chmodSync(home.path('db'), 0o755)
    assert.deepEqual(await home.jobq(['enqueue', 'F', ...db], otherUser), printed(2))
  })

  test('is no hindrance to those who have it open, nor to who comes then', async t => {
    const home = new Home(t)
    mkdirSync(home.path('db'))
    const db = ['--db', 'db/jobs.db']
    home.give(65_534)
    assert.deepEqual(await home.jobq(['enqueue', 'F', ...db], otherUser), printed(1))
    const work = home.start(['work', '--exec', 'F=true', '--max-jobs', '3', ...db], otherUser)
    await work.prints(/1 F completed/)
    chmodSync(home.path('db'), 0o555)
    for (const id of [2, 3])
      assert.deepEqual(await home.jobq(['enqueue', 'F', ...db], otherUser), printed(id))
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    assert.doesNotMatch(stderr, /read|write/)
    chmodSync(home.path('db'), 0o755)
    assert.deepEqual(await home.jobq(['list', ...db], otherUser), {...printed(''), stdout: ''})
  })
})

describe('a process that may have but little', () => {
  /** Runs `enqueue F` under a limit of the shell's: either its id is printed and it is stored, or neither. */
  class Limited {
    readonly #home: Home
    readonly #stored = [1]
    /** What was said where it was refused. */
    readonly refused: string[] = []

    constructor(t: TestContext) {
      this.#home = new Home(t)
      this.#home.write('large', 'x'.repeat(16_000_000))
    }

    async begin(): Promise<void> {
      assert.deepEqual(await this.#home.jobq(['enqueue', 'F', '--db', 'jobs.db']), printed(1))
    }

    /** @returns was it stored? */
    async enqueue(limit: string, ...words: string[]): Promise<boolean> {
      const command = ['sh', '-c', `ulimit -c 0; ulimit ${limit}; exec "$@"`, 'sh', process.execPath, RUN_JS]
      const finished = await this.#home.jobq(['enqueue', 'F', '--db', 'jobs.db', ...words], {command})
      const {code, stdout, stderr} = finished
      const isOfNode = code === null || code > 128 || stderr.startsWith('node:internal/') // it has given up itself
      if (code === 0) this.#stored.push(Number(stdout))
      else if (!isOfNode) this.refused.push(stderr)
      assert.ok(code === 0 || code === 1 || isOfNode, `${limit}: ${code} ${stderr}`)
      const ids = this.#home.jobs().map(({id}) => id)
      assert.deepEqual(ids, this.#stored, limit)
      return code === 0
    }
  }

  test('descriptors: stored and told, or neither', async t => {
    const limited = new Limited(t)
    await limited.begin()
    let descriptors = 18
    while (!(await limited.enqueue(`-n ${descriptors}`))) descriptors++
    assert.ok(limited.refused.length > 0)
    for (const line of limited.refused)
      assert.match(line, /^jobq: can't open .* \(too many open files\) \(.*ulimit -n\)\n$/)
  })

  test('memory: stored and told, or neither', async t => {
    const limited = new Limited(t)
    await limited.begin()
    const isEnough = (megabytes: number) =>
      limited.enqueue(`-v ${megabytes * 1024}`, '--serializer', 'none', '--arg-file', 'large')
    let [tooLittle, enough] = [256, 8192]
    while (enough - tooLittle > 20) {
      const middle = Math.floor((tooLittle + enough) / 2)
      if (await isEnough(middle)) enough = middle
      else tooLittle = middle
    }
    for (let less = 5; less < 60; less += 8) await isEnough(enough - less)
    assert.ok(limited.refused.length > 0)
    for (const line of limited.refused)
      assert.match(line, /^jobq: [^\n]*(memory|allocat)[^\n]* \([^\n]*ulimit -v[^\n]*\)\n$/i)
  })

  for (const kind of ['instances', 'watches'])
    test(`no ${kind} of inotify: told once, and new jobs are looked for all the same`, async t => {
      const site = new Workplace(t)
      const none = `echo 0 >/proc/sys/user/max_inotify_${kind} || exit 99`
      const words = '--exec F=true --max-jobs 2 --work-delay 1000'
      const work = site.spawn('unshare', ['-r', 'sh', '-c', `${none}; exec jobq work ${words}`])
      await work.prints(new RegExp(`can't watch the folder of .*max_user_${kind}`))
      await site.enqueue(['F'])
      await work.prints(/1 F completed/)
      await site.enqueue(['F'])
      const {code, stderr} = await work.exited
      assert.equal(code, 0)
      assert.equal(stderr.match(/can't watch/g)?.length, 1)
    })
})

describe('a file in which bytes have changed', () => {
  const FILES = SOAK ? 1000 : 120

  /** A database in which each table has rows. */
  async function makeGood(folder: string): Promise<Buffer> {
    const db = join(folder, 'good.db')
    await using queue = await JobQueue.open({db})
    const jobs = Array.from({length: 300}, (_, i) => ({
      func: `F${i % 3}`,
      arg: 'x'.repeat(3 * i),
      uniqkey: `k${i}`,
    }))
    await queue.enqueueMany(jobs)
    const fails = () => Promise.reject(new Error('no'))
    await queue.work({workers: {F0: {maxRetries: 0, setJobStatus: true, work: fails}}, maxJobs: 50})
    await queue.close()
    return readFileSync(db)
  }

  /** Some bytes of a page, or all of it, become zeros or junk. */
  function damaged(good: Buffer, random: Random): Buffer {
    const bad = Buffer.from(good)
    const length = random.pick([1, 4, 50, 4096])
    const start = 4096 * random.below(good.length / 4096) + random.pick([0, random.below(4097 - length)])
    const isJunk = random.chance(0.7)
    for (let at = start; at < start + length && at < bad.length; at++)
      bad[at] = isJunk ? random.below(256) : 0
    return bad
  }

  test('is either not noticed, or told as damaged, by each call', async t => {
    const folder = tempFolder(t)
    const good = await makeGood(folder)
    const random = new Random()
    let refusals = 0
    for (let i = 0; i < FILES; i++) {
      const db = join(folder, `${i}.db`)
      writeFileSync(db, damaged(good, random))
      const tell = (what: string) => (error: unknown) => {
        const code = error instanceof JobqError ? error.code : String((error as Error).stack)
        assert.equal(code, 'DAMAGED', `${what} of file ${i}, JOBQ_SEED=${SEED}`)
        refusals++
      }
      const queue = await JobQueue.open({db, durable: false}).catch(tell('open'))
      if (!queue) continue
      const all = {limit: 1000}
      const calls: Record<string, () => Promise<unknown>> = {
        list: () => queue.list(all),
        exceptions: () => queue.exceptions(all),
        statuses: () => queue.statuses(all),
        stats: () => queue.stats(),
        enqueue: () => queue.enqueue('F1'),
        enqueueMany: () => queue.enqueueMany([{func: 'F2'}, {func: 'F9'}]),
        work: () => queue.work({workers: {F1: {work() {}}}, maxJobs: 5, mode: 'drain'}),
      }
      for (const [name, call] of Object.entries(calls)) await call().catch(tell(name))
      await queue.close()
    }
    assert.ok(refusals > 0)
    t.diagnostic(`damage: files=${FILES} refusals=${refusals}`)
  })

  test('a command that notices says so in one line, exit 1, and changes nothing', async t => {
    const home = new Home(t)
    const good = await makeGood(home.folder)
    const random = new Random()
    const refusal = {exit: 1, says: [/ is damaged \(.*\) \(restore it from a backup/]}
    let refused = 0
    while (refused < 4) {
      const bad = damaged(good, random)
      const path = home.write('bad.db', bad)
      if (isWhole(path)) continue
      const command = random.pick([['list'], ['enqueue', 'F1'], ['stats'], ['retry', '--all']])
      const finished = await home.jobq([...command, '--db', 'bad.db'])
      if (finished.code === 0) continue // it had no need of that page
      assertOneLine({...finished, stdout: ''}, refusal)
      assert.deepEqual(home.read('bad.db'), bad)
      refused++
    }
  })

  function isWhole(path: string): boolean {
    const copy = `${path}.copy`
    copyFileSync(path, copy)
    const db = new Sqlite(copy)
    try {
      return db.pragma('integrity_check', {simple: true}) === 'ok'
    } catch {
      return false
    } finally {
      db.close()
    }
  }
})
