/**
 * A server behind a line on which something goes wrong at any byte of what is said, in either direction
 * (test/support/faulty-line.ts): it is reset, closed, half closed, falls silent, or is late. Each call ends, and what it says
 * is true by the database itself: what was resolved is stored; what was refused is not; what is UNCERTAIN may be, and
 * nothing else is. A listing has all or fails. Afterwards the same queue goes on.
 */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {after, before, describe, type TestContext, test} from 'node:test'
import {setTimeout as sleep} from 'node:timers/promises'
import {JobQueue} from '../../src/lib/index.ts'
import {JobqError} from '../../src/lib/jobs/errors.ts'
import {type Fault, FaultyLine, type Side, WAYS} from '../support/faulty-line.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {patient, Random, SEED, SOAK} from '../support/random.ts'
import {mysqlServer, type NoServer, postgresServer, type TestServer} from '../support/servers.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

/** So many faults for each call of the library, and for each command. */
const FAULTS = SOAK ? {call: 200, command: 30} : {call: 12, command: 4}
const AT_ONCE = 8
/** Only what never ends takes so long. */
const PATIENCE_MS = patient(30_000)

interface Database {
  readonly url: string
  query(sql: string, ...values: unknown[]): Promise<Record<string, unknown>[]>
  drop(): Promise<void>
}

const STORES: [
  name: string,
  server: () => Promise<TestServer | NoServer>,
  create: (url: string) => Promise<Database>,
][] = [
  ['MySQL', mysqlServer, url => MysqlDatabase.create(url)],
  ['PostgreSQL', () => postgresServer(answersPostgres), url => PostgresDatabase.create(url)],
]

/** What came of a call: how many jobs are stored by it, at least and at most. */
type Claim = readonly [least: number, most: number]

interface Call {
  name: string
  /** With a queue that is open, and has enqueued; else the call opens it. */
  isOpen: boolean
  /** @param func of its own, of which nothing is there but what `prepare` has made */
  make(queue: JobQueue, func: string, id: number): Promise<Claim>
  /** The jobs that it resolves to, all in one transaction. Default 1. */
  jobs?: number
  /** @returns an id for `make` */
  prepare?(db: Database, queue: JobQueue, func: string): Promise<number>
}

const CALLS: Call[] = [
  {name: 'the first enqueue', isOpen: false, make: enqueue},
  {name: 'an enqueue', isOpen: true, make: enqueue},
  {
    name: 'an enqueue with a key',
    isOpen: true,
    make: (queue, func) => stores(1, queue.enqueue(func, {uniqkey: 'k'})),
  },
  {
    name: 'enqueues in the same breath',
    isOpen: true,
    make: async (queue, func) => {
      const claims = await Promise.all(Array.from({length: 5}, () => enqueue(queue, func)))
      return [0, 1].map(i => claims.reduce((sum, claim) => sum + claim[i]!, 0)) as [number, number]
    },
  },
  {name: 'a bulk', isOpen: true, jobs: 3, make: (queue, func) => bulk(queue, func, 3, '')},
  {
    name: 'a bulk of many packets',
    isOpen: true,
    jobs: 60,
    make: (queue, func) => bulk(queue, func, 60, 'x'.repeat(5000)),
  },
  {
    name: 'a retry',
    isOpen: true,
    prepare: fail,
    make: (queue, _, id) => stores(1, queue.retry(id)),
  },
  {
    name: 'a listing',
    isOpen: true,
    prepare: (_, queue, func) =>
      queue.enqueueMany(Array.from({length: 40}, () => ({func, arg: 'x'.repeat(2000)}))),
    make: async (queue, func) => {
      const listed = await queue.list({func, limit: 100}).catch(refused)
      assert.ok(listed === null || listed.length === 40, `${listed?.length} of 40 jobs were listed`)
      return [40, 40]
    },
  },
]

/** An attempt of a job that is there no more. @returns its id */
async function fail(db: Database, queue: JobQueue, func: string): Promise<number> {
  await queue.enqueue(func)
  const ofFunc = `func_id = (SELECT id FROM func WHERE name = '${func}')`
  await db.query(`DELETE FROM job WHERE ${ofFunc}`)
  await db.query(`INSERT INTO exception_log (func_id, exception_time, message, arg)
    SELECT id, 1, 'no', 'null' FROM func WHERE name = '${func}'`)
  const [row] = await db.query(`SELECT MAX(id) AS id FROM exception_log WHERE ${ofFunc}`)
  return Number(row!.id)
}

function enqueue(queue: JobQueue, func: string): Promise<Claim> {
  return stores(1, queue.enqueue(func))
}

function bulk(queue: JobQueue, func: string, count: number, arg: string): Promise<Claim> {
  return stores(count, queue.enqueueMany(Array.from({length: count}, () => ({func, arg}))))
}

async function stores(count: number, call: Promise<unknown>): Promise<Claim> {
  try {
    await call
    return [count, count]
  } catch (error) {
    refused(error)
    return (error as JobqError).code === 'UNCERTAIN' ? [0, count] : [0, 0]
  }
}

/** In jobq's own words, and never for what it was asked. */
function refused(error: unknown): null {
  assert.ok(error instanceof JobqError, String((error as Error).stack))
  assert.equal(error.exitCode, 1, error.message)
  return null
}

function ends<T>(what: string, call: Promise<T>): Promise<T> {
  const giveUp = sleep(PATIENCE_MS, undefined, {ref: false}).then(() => assert.fail(`${what} does not end`))
  return Promise.race([call, giveUp])
}

for (const [store, serve, create] of STORES)
  describe(`faults on the way to ${store}`, async () => {
    const found = await serve()
    if ('missing' in found) {
      test('are not tried', t => t.skip(found.missing))
      return
    }
    const server: TestServer = found
    after(() => server.stop())
    let short = ''
    before(async () => {
      const db = await create(server.url)
      await JobQueue.init({db: db.url})
      const start = performance.now()
      const queue = await JobQueue.open({db: db.url, config: '/dev/null'})
      await enqueue(queue, 'F')
      await queue.close()
      const seconds = Math.max(0.4, (2 * AT_ONCE * (performance.now() - start)) / 1000) // a slow machine is no fault
      short = `?connect-timeout=${seconds}&answer-timeout=${seconds}`
      await db.drop()
    })

    async function prepared(t: TestContext): Promise<Database> {
      const db = await create(server.url)
      t.after(() => db.drop())
      await JobQueue.init({db: db.url})
      return db
    }

    async function countOf(db: Database, func: string): Promise<number> {
      const sql = 'SELECT COUNT(*) AS n FROM job JOIN func ON func.id = func_id WHERE name = ?'
      return Number((await db.query(sql, func))[0]!.n)
    }

    /** Makes a call over a line of its own. @returns what was seen on that */
    async function make(
      db: Database,
      call: Call,
      func: string,
      fault: Fault | null,
    ): Promise<FaultyLine['seen']> {
      const what = `${call.name}, JOBQ_SEED=${SEED}: ${JSON.stringify(fault)}`
      const line = await FaultyLine.to(db.url)
      const open = () => JobQueue.open({db: line.through(db.url) + short, config: '/dev/null'})
      let queue: JobQueue | null = null
      try {
        if (call.isOpen) queue = await open()
        const opened = queue
        if (opened)
          await until(`${what}: it is in use`, () =>
            opened.enqueue(call.prepare ? 'Before' : func).then(Boolean, () => false),
          )
        const before = await countOf(db, func)
        const id = (await call.prepare?.(db, queue!, func)) ?? 0
        line.arm(fault)
        queue ??= await ends(what, open().catch(refused))
        const [least, most] = queue ? await ends(what, call.make(queue, func, id)) : [0, 0]
        const seen = structuredClone(line.seen)
        line.arm(null)
        let stored = (await countOf(db, func)) - before
        // What the server has not begun by now, or is at, may come yet: it hears of the line's end later
        if (stored < least || stored > most) stored = (await countOf(db, func)) - before
        assert.ok(
          stored >= least && stored <= most,
          `${what}: ${stored} stored, ${least} to ${most} were told`,
        )
        const {jobs = 1} = call
        if (call.jobs) assert.ok(stored === 0 || stored === jobs, `${what}: ${stored} of ${jobs}`)
        if (queue)
          await until(`${what}: the queue goes on`, () => queue!.enqueue('After').then(Boolean, () => false))
        return seen
      } finally {
        if (queue) await ends(`close after ${what}`, queue.close())
        line.close()
      }
    }

    for (const call of CALLS)
      test(`${call.name}: what it says is so`, async t => {
        const db = await prepared(t)
        const random = new Random()
        const seen = await make(db, call, 'F', null)
        const faults = Array.from({length: FAULTS.call}, () => faultIn(seen, random))
        for (let from = 0; from < faults.length; from += AT_ONCE)
          await Promise.all(
            faults.slice(from, from + AT_ONCE).map((fault, i) => make(db, call, `F${from + i}`, fault)),
          )
        t.diagnostic(`${call.name} on ${store}: faults=${faults.length}`)
      })

    const COMMANDS: [words: string[], codes: number[]][] = [
      [
        ['enqueue', 'F'],
        [0, 1],
      ],
      [
        ['enqueue', 'F', '--args-from', 'args'],
        [0, 1],
      ],
      [
        ['enqueue', 'F', '--args-from', 'args', '--each'],
        [0, 1],
      ],
      [['list'], [0, 1]],
      [
        ['retry', '--all'],
        [0, 1],
      ],
      [
        ['work', '--once'],
        [0, 1, 6],
      ],
      [
        ['work', '--drain'],
        [0, 1],
      ],
    ]
    for (const [words, codes] of COMMANDS)
      test(`jobq ${words.join(' ')}: ends, in words and with an exit status of its own`, async t => {
        const db = await prepared(t)
        const random = new Random()
        const site = new Workplace(t, {F: '#!/bin/sh\necho $JOBQ_ID >>runs\n'})
        site.write('args', '1\n2\n3\n')
        const isWork = words[0] === 'work'
        const run = async (fault: Fault | null) => {
          const line = await FaultyLine.to(db.url)
          try {
            await using queue = await JobQueue.open({db: db.url, config: '/dev/null'})
            if (words[0] === 'retry') await fail(db, queue, 'F')
            if (isWork) await queue.enqueueMany(Array.from({length: 3}, () => ({func: 'F'})))
            site.write('runs', '')
            line.arm(fault)
            const {code, stdout, stderr} = await site.run(words, {
              env: {JOBQ_DB: line.through(db.url) + short},
            })
            const what = `${JSON.stringify(fault)}, JOBQ_SEED=${SEED}: ${code}, ${stdout}${stderr}`
            assert.ok(codes.includes(code!), what)
            assert.doesNotMatch(stderr, /^\s+at |unexpected:|a defect/m, what)
            const isEach = words.includes('--each')
            if (!isWork)
              assert.ok((isEach ? /^(jobq: [^\n]+\n)*$/ : /^(jobq: [^\n]+\n)?$/).test(stderr), what)
            const left = (await queue.list({limit: 100})).map(({id}) => String(id))
            if (isEach) {
              const told = stdout.split('\n').filter(Boolean)
              for (const id of told) assert.ok(left.includes(id), `${what}: ${id} was told`)
              const doubts = stderr.split('may have been stored').length - 1
              assert.ok(left.length <= told.length + doubts, what)
              const lines = told.length + stderr.split('\n').filter(Boolean).length
              assert.ok(lines === 3 || (lines === 1 && code === 1 && !told[0]), `${what}: each is told once`)
            } else if (words[0] === 'enqueue') {
              const told = code === 0 ? stdout.trim() : ''
              const [all, isUncertain] = [words.length > 2 ? 3 : 1, stderr.includes('may have been stored')]
              if (code === 0) assert.equal(left.length, all, what)
              else assert.ok(left.length === 0 || (isUncertain && left.length === all), what)
              if (told && all === 1) assert.deepEqual(left, [told], what)
            }
            if (words[0] === 'retry') {
              const [{n} = {n: -1}] = await db.query(
                'SELECT COUNT(*) AS n FROM exception_log WHERE retried = 1',
              )
              assert.equal(Number(n), left.length, what)
              if (code === 0) assert.equal(left.length, 1, what)
            }
            if (isWork) {
              const ran = readFileSync(site.path('runs'), 'utf8').split('\n').filter(Boolean)
              assert.equal(new Set(ran).size, ran.length, `${what}: some ran twice`)
              assert.doesNotMatch(stdout + stderr, /\blost\b/, `${what}: whose end was it, if not its own?`)
              if (code === 0)
                for (const id of ran) assert.ok(!left.includes(id), `${what}: ${id} ran and is there`)
              assert.equal(new Set([...ran, ...left]).size, 3, `${what}: some are lost`)
            }
            for (const table of ['job', 'exception_log']) await db.query(`DELETE FROM ${table}`)
            return structuredClone(line.seen)
          } finally {
            line.close()
          }
        }
        const seen = await run(null)
        // Among the last answers is that to its end: whose loss does not make the job someone else's
        if (words[1] === '--once')
          for (const end of seen.server.slice(-5))
            await run({of: 'server', after: end - 1, how: 'half-close', connections: 1})
        for (let i = 0; i < FAULTS.command; i++)
          await run({...faultIn(seen, random), ...(isWork ? {connections: 1} : {})})
        t.diagnostic(`${words.slice(0, 2).join(' ')} on ${store}: faults=${FAULTS.command}`)
      })
  })

/** At, before or behind the end of a packet that was seen, or anywhere. */
function faultIn(seen: Record<Side, number[]>, random: Random): Fault {
  const of = random.pick(['client', 'server'] as const)
  const ends = seen[of].length > 0 ? seen[of] : [0]
  const end = random.pick(ends)
  const anywhere = random.below(Math.max(...ends))
  const at = random.pick([end, end - 1, end + 1, anywhere, anywhere])
  return {
    of,
    after: Math.max(0, at),
    how: random.pick(WAYS),
    connections: random.pick([1, Number.POSITIVE_INFINITY]),
  }
}
