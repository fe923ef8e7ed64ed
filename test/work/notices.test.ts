/** Being told what became of jobs: by a job, or a command line, whoever is killed meanwhile. */
import assert from 'node:assert/strict'
import {existsSync, readFileSync} from 'node:fs'
import {createServer} from 'node:http'
import type {AddressInfo} from 'node:net'
import {join} from 'node:path'
import {text} from 'node:stream/consumers'
import {describe, type TestContext, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {tellersIn} from '../../src/lib/config/notices.ts'
import type {JobqConfig} from '../../src/lib/config/schema.ts'
import {resolveSettings} from '../../src/lib/config/settings.ts'
import {NO_EXTENSIONS} from '../../src/lib/hooks/extensions.ts'
import {JobQueue} from '../../src/lib/index.ts'
import {CANCELLED, WAS_CANCELLED} from '../../src/lib/jobs/job.ts'
import {SeveralStores} from '../../src/lib/store/several/store.ts'
import {openSqlite} from '../../src/lib/store/sqlite/store.ts'
import type {Notice} from '../../src/lib/work/notices/notice.ts'
import {Notices} from '../../src/lib/work/notices/notices.ts'
import {behindSwitch} from '../support/behind-switch.ts'
import {databaseKinds} from '../support/kinds.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'
import {ROOT, Workplace} from '../support/workplace.ts'

const FAILS = '#!/bin/sh\necho "no such file" >&2\nexit 1'
const TELLS = 'cat >> told; echo >> told'

const kinds = await databaseKinds()

for (const {name, skip, create} of kinds)
  describe(`being told on ${name}`, {skip}, () => {
    test('of failures, ends and deaths, each once, though each jobq work is killed', async t => {
      const prepared = await create(t)
      const site = new Workplace(t, {
        Bad: FAILS,
        Good: '#!/bin/sh\nexit 0',
        Dies: `export default {work: () => process.kill(process.pid, 'SIGKILL')}`,
      })
      configure(site, {
        onFailed: {command: TELLS, perMinute: 1000},
        onDeath: {command: TELLS, perMinute: 1000},
        funcs: {
          Good: {onCompleted: {func: 'Done', perMinute: 1000}},
          Bad: {onGivenUp: {func: 'Alert', priority: 7}},
        },
      })
      await using queue = await JobQueue.open({db: prepared.db, config: '/dev/null'})
      const ids: number[] = []
      const enqueue = async (func: string) => void ids.push((await queue.enqueue(func)).id)
      const start = () => site.start(['work', '--db', prepared.db])
      for (const _ of [1, 2]) {
        await enqueue('Bad')
        const working = start()
        await working.prints(/ Bad /)
        working.kill('SIGKILL') // its end is written, and no one was told
        await working.exited
      }
      for (const func of ['Bad', 'Dies', 'Good', 'Good']) await enqueue(func)
      const working = start()
      await until(
        'all is told',
        async () =>
          (await queue.count('Done').catch(() => 0)) >= 2 &&
          (await queue.count('Alert').catch(() => 0)) >= 3 &&
          new Set(told(site).map(one => one.jobs[0]!.job_id)).size >= 4 &&
          told(site).some(({notice}) => notice === 'onDeath'),
        60_000,
      ).catch(async error => {
        throw new Error(
          `${error.message}\n${working.stderr}\n${JSON.stringify([await queue.stats(), told(site)])}`,
        )
      })
      working.kill('SIGTERM')
      await working.exited
      const notices = told(site)
      const of = (which: string, func: string) =>
        notices
          .filter(({notice, funcs}) => notice === which && func in funcs)
          .map(({jobs}) => jobs[0]!.job_id)
      assert.deepEqual(new Set(of('onFailed', 'Bad')), new Set([ids[0], ids[1], ids[2]]))
      assert.deepEqual(new Set(of('onDeath', 'Dies')), new Set([ids[3]]))
      const [first] = notices.filter(({notice}) => notice === 'onFailed')
      assert.match(first!.text, /^job \d+ \((Bad|Dies)\) failed: /)
      const bad = notices.find(({notice, funcs}) => notice === 'onFailed' && 'Bad' in funcs)
      assert.match(bad!.text, / failed: exited with status 1: no such file$/)
      const alerts = await queue.list({func: 'Alert', limit: 100})
      assert.equal(alerts.length, 3, 'Bad was given up three times, and each is one job')
      assert.equal(alerts[0]!.priority, 7)
      const alert = JSON.parse(Buffer.from(alerts[0]!.arg!).toString()) as Notice
      assert.deepEqual(alert.funcs, {Bad: 1})
      assert.match(alert.jobs[0]!.message, /no such file/)
      assert.equal(alert.jobs[0]!.is_last, true)
      const done = await queue.list({func: 'Done', limit: 100})
      assert.equal(done.length, 2)
    })

    test('of a flood the first few, and the others as one with their number', async t => {
      const prepared = await create(t)
      const site = new Workplace(t, {Bad: FAILS})
      configure(site, {onFailed: {func: 'Alert', perMinute: 3}})
      await using queue = await JobQueue.open({db: prepared.db, config: '/dev/null'})
      await queue.enqueue('Bad')
      const then = 60 * Math.floor(Date.now() / 60_000) - 300
      const rows = Array.from({length: 50}, (_, i) => `(1, ${then + (i % 60)}, 'no ${i}', 0)`)
      rows.push(`(1, ${then}, '${CANCELLED}', ${WAS_CANCELLED})`) // no failure: not among them
      await prepared.query(
        `INSERT INTO exception_log (func_id, exception_time, message, retried) VALUES ${rows}`,
      )
      const working = site.start(['work', '--db', prepared.db])
      await working.prints(/ Bad /)
      await until(
        'they are told',
        async () => (await queue.count('Alert').catch(() => 0)) >= 4,
        60_000,
      ).catch(async error => {
        throw new Error(`${error.message}\n${working.stderr}\n${JSON.stringify(await queue.stats())}`)
      })
      working.kill('SIGTERM')
      await working.exited
      const alerts = await queue.list({func: 'Alert', limit: 100})
      const notices = alerts.map(({arg}) => JSON.parse(Buffer.from(arg!).toString()) as Notice)
      assert.deepEqual(
        notices.map(({count}) => count).sort((a, b) => a - b),
        [1, 1, 1, 48],
      )
      const flood = notices.find(({count}) => count === 48)!
      assert.match(flood.text, /^48 more in a minute, each of which failed: Bad 48$/)
      assert.equal(flood.jobs.length, 10)
    })
  })

test('where nothing is configured nothing listens, and nothing is read', async t => {
  const prepared = await kinds[0]!.create(t)
  const site = new Workplace(t, {Bad: FAILS})
  configure(site, {})
  await using queue = await JobQueue.open({db: prepared.db, config: '/dev/null'})
  await queue.enqueue('Bad')
  await site.run(['work', '--once', '--db', prepared.db])
  assert.deepEqual(await queue.funcs(), ['Bad'])
})

describe('with several databases', () => {
  test('each is told once, by its id there, and the others of a minute once for each', async t => {
    const site = new Workplace(t, {Bad: FAILS})
    configure(site, {
      funcs: {
        Bad: {onGivenUp: {command: TELLS, perMinute: 1000}},
        Flood: {onFailed: {command: TELLS, perMinute: 1}},
      },
    })
    const files = [site.path('a.db'), site.path('b.db')]
    for (const db of files) {
      await using queue = await JobQueue.open({db, config: '/dev/null'})
      for (const _ of [1, 2]) await queue.enqueue('Bad')
      fail(db, {func: 'Flood', at: seconds() - 300, times: 3})
    }
    for (const _ of [1, 2, 3, 4]) await site.drain('--db', files[0]!, '--db', files[1]!)
    const notices = told(site)
    const alone = notices.filter(({notice}) => notice === 'onGivenUp')
    assert.deepEqual(
      alone
        .map(({text, database, jobs: [job]}) => [
          text.split(':').slice(0, 2).join(':'),
          job!.job_id,
          database,
        ])
        .sort(),
      ['1:1', '1:2', '2:1', '2:2'].map(id => [`job ${id} (Bad) was given up`, id, files[Number(id[0]) - 1]]),
    )
    const floods = notices.filter(({notice}) => notice === 'onFailed')
    assert.deepEqual(
      floods.map(({count, database}) => [database, count]).sort(),
      files.map(db => [db, 3]),
    )
  })

  test('each by its own clock', async t => {
    const {databases, told, watch} = await inProcess(t, {onFailed: {func: 'Alert', perMinute: 1000}})
    const [, second] = databases
    second!.behind = 300
    fail(second!.file, {at: seconds() - 300, message: 'first'})
    const notices = watch()
    await until('it is told', async () => (await told()).length === 1)
    fail(second!.file, {at: seconds() - 300, message: 'second'})
    await notices.close()
    assert.deepEqual(await told(), ['2 first', '2 second'])
  })

  for (const away of [0, 1])
    test(`while the ${away + 1}. is away the other is told; then it is, from where it was looked at last`, async t => {
      const {databases, told, watch, ring} = await inProcess(t, {onFailed: {func: 'Alert', perMinute: 1000}})
      const [gone, there] = [databases[away]!, databases[1 - away]!]
      gone.behind = 400
      fail(gone.file, {at: seconds() - 400, message: 'before'})
      const notices = watch()
      await until('it is told', async () => (await told()).length === 1)
      gone.isCut = true
      gone.behind = 0
      fail(gone.file, {at: seconds() - 390, message: 'away'})
      fail(there.file, {at: seconds(), message: 'meanwhile'})
      ring()
      await until('the other is told', async () => (await told()).some(text => text.endsWith('meanwhile')))
      gone.isCut = false
      await notices.close()
      assert.deepEqual((await told()).map(text => text.split(' ')[1]).sort(), ['away', 'before', 'meanwhile'])
    })
})

test('what was told alone is not told again, whatever turns up before it', async t => {
  const {databases, told, watch} = await inProcess(t, {onFailed: {func: 'Alert', perMinute: 2}})
  const [{file}] = databases as [Member, Member]
  const at = 60 * Math.floor(seconds() / 60) - 90 // its minute is over, and is still looked at
  fail(file, {at, id: 10, message: 'first'})
  const notices = watch()
  await until('it is told', async () => (await told()).length === 1)
  fail(file, {at, id: 5, message: 'late'})
  await notices.close()
  assert.deepEqual(await told(), ['1 first', '1 late'])
})

test('a notice that a hook refuses keeps no other from being told', async t => {
  const prepared = await kinds[0]!.create(t)
  const site = new Workplace(t, {Bad: FAILS})
  site.write(
    'jobq.config.mjs',
    `const preEnqueue = ({func}) => { if (func === 'Refused') throw new Error('not that one') }
export default {
  onGivenUp: {command: 'cat >> told; echo >> told'},
  onFailed: {func: 'Refused'},
  hooks: [{name: 'refusing', preEnqueue}],
}`,
  )
  await using queue = await JobQueue.open({db: prepared.db, config: '/dev/null'})
  for (const _ of [1, 2]) await queue.enqueue('Bad')
  const working = site.start(['work', '--db', prepared.db])
  await until('the others are told', () => told(site).length >= 2)
  working.kill('SIGTERM')
  assert.equal((await working.exited).code, 0)
  assert.match(
    working.stderr,
    /not told what became of jobs: hook "refusing" at preEnqueue: threw: not that one/,
  )
  assert.deepEqual(await queue.funcs(), ['Bad', 'jobq::onGivenUp'])
})

describe('examples', () => {
  const notice = {
    ...{notice: 'onFailed', text: 'job 7 (Bad) failed: no', count: 2, funcs: {Bad: 2}},
    ...{from: '', to: '', database: 'jobs.db'},
    jobs: [
      {
        job_id: 7,
        func: 'Bad',
        uniqkey: null,
        time: '2030-01-01',
        message: 'no',
        is_last: true,
        exception_id: 1,
      },
    ],
  } satisfies Notice
  const example = (site: Workplace, name: string, ...words: string[]) =>
    site.spawn(process.execPath, [join(ROOT, 'examples/notices', name), ...words], {
      input: JSON.stringify(notice),
    }).exited

  test('one that mails', async t => {
    const site = new Workplace(t)
    site.write('bin/sendmail', '#!/bin/sh\ncat > mail', 0o755)
    const {code, stderr} = await example(site, 'mail.mjs', 'ops@example.com')
    assert.equal(stderr, '')
    assert.equal(code, 0)
    const mail = readFileSync(site.path('mail'), 'utf8')
    assert.match(mail, /^To: ops@example\.com\nSubject: job 7 \(Bad\) failed: no\n/)
    assert.match(mail, /and 1 more\n$/)
  })

  test('one that posts to a web hook', async t => {
    const site = new Workplace(t)
    let status = 200
    const bodies: string[] = []
    const server = createServer(async (request, response) => {
      bodies.push(await text(request))
      response.writeHead(status).end()
    })
    t.after(() => server.close())
    const port = await new Promise<number>(resolve =>
      server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
    )
    const url = `http://127.0.0.1:${port}/hook`
    assert.equal((await example(site, 'webhook.mjs', url)).code, 0)
    assert.equal(JSON.parse(bodies[0]!).text, 'jobs.db: job 7 (Bad) failed: no')
    status = 500
    assert.equal((await example(site, 'webhook.mjs', url)).code, 1, 'it is tried again')
  })
})

for (const [wrong, says] of [
  [{onFailed: {}}, /onFailed: expected an object with either func or command/],
  [{onFailed: {func: 'A', command: 'b'}}, /onFailed: expected an object with either func or command/],
  [{onFailed: {comand: 'b'}}, /unknown key onFailed\.comand/],
  [{funcs: {F: {onDeath: {func: 'A', perMinute: 0}}}}, /funcs\.F\.onDeath\.perMinute: expected at least 1/],
] as const)
  test(`${JSON.stringify(wrong)} is refused`, async t => {
    const prepared = await kinds[0]!.create(t)
    const site = new Workplace(t, {Bad: FAILS})
    configure(site, wrong)
    const {code, stderr} = await site.run(['work', '--once', '--db', prepared.db])
    assert.equal(code, 2)
    assert.match(stderr, says)
  })

interface Member {
  file: string
  /** The seconds by which its clock is. */
  behind: number
  isCut: boolean
}

/** Two databases, each with a clock of its own, and who tells of them in this process. */
async function inProcess(t: TestContext, config: JobqConfig) {
  const folder = tempFolder(t)
  const databases = ['a.db', 'b.db'].map(
    (name): Member => ({file: join(folder, name), behind: 0, isCut: false}),
  )
  const members = databases.map(one => ({
    name: one.file,
    driver: 'sqlite' as const,
    open: async () =>
      behindSwitch(
        await openSqlite(one.file, {clock: () => Date.now() - one.behind * 1000}),
        () => one.isCut,
      ),
  }))
  const settings = await resolveSettings({db: databases.map(({file}) => file), config: '/dev/null'})
  const store = new SeveralStores(members, {onTrouble: () => {}})
  await store.init()
  const queue = await JobQueue.over(store, settings, NO_EXTENSIONS)
  t.after(() => queue.close())
  const log = {trouble: (message: string) => t.diagnostic(message)}
  const told = async () => {
    const alerts = await queue.list({limit: 100})
    return alerts
      .map(({db, arg}) => `${db} ${(JSON.parse(Buffer.from(arg!).toString()) as Notice).jobs[0]!.message}`)
      .sort()
  }
  const watch = () => {
    const all = store.databases.map(database => new Notices(queue, database, log))
    for (const one of all) one.set(tellersIn(config))
    return {close: () => Promise.all(all.map(one => one.close()))}
  }
  const ring = () => {
    const how = {outcome: 'failed', durationMs: 1, message: '', retryIn: null} as const
    for (const db of [1, 2])
      queue.events.tell('fail', () => ({...how, id: 1, db, func: 'Bad', uniqkey: null, priority: 0}))
  }
  return {databases, told, watch, ring}
}

/** Leaves what failed attempts leave. */
function fail(
  file: string,
  {
    func = 'Bad',
    at,
    id = null,
    message = 'no',
    times = 1,
  }: {
    func?: string
    at: number
    id?: number | null
    message?: string
    times?: number
  },
): void {
  const db = new Sqlite(file)
  db.prepare('INSERT OR IGNORE INTO func (name) VALUES (?)').run(func)
  const insert = db.prepare(
    `INSERT INTO exception_log (id, func_id, exception_time, message, retried)
     SELECT ?, id, ?, ?, 0 FROM func WHERE name = ?`,
  )
  for (let i = 0; i < times; i++) insert.run(id, at, message, func)
  db.close()
}

function seconds(): number {
  return Math.floor(Date.now() / 1000)
}

test('a drain works what tells of its own failures, those of a minute that goes on, too', async t => {
  const site = new Workplace(t, {Bad: FAILS})
  configure(site, {onGivenUp: {command: TELLS, perMinute: 3}})
  await site.enqueue(['Bad'], ['Bad'], ['Bad'], ['Bad'], ['Bad'])
  const {code, stdout} = await site.drain()
  assert.equal(code, 5)
  assert.match(stdout, /^3 completed, 5 failed in .* s\n$/)
  assert.deepEqual(
    told(site).map(({count}) => count),
    [1, 1, 3],
  )
  assert.equal(site.count('job'), 0)
  await site.drain()
  assert.equal(told(site).length, 3)
})

test('one that HUP has added tells of the hour before it, too', async t => {
  const site = new Workplace(t, {Bad: FAILS})
  configure(site, {funcs: {Other: {onFailed: {command: TELLS}}}})
  const working = site.start(['work'])
  const [first] = await site.enqueue(['Bad'])
  await working.prints(/Bad failed/)
  site.rows('UPDATE exception_log SET exception_time = exception_time - 1800')
  configure(site, {funcs: {Other: {onFailed: {command: TELLS}}}, onFailed: {command: TELLS}})
  working.kill('SIGHUP')
  await until('it is told', () => told(site).some(({jobs}) => jobs[0]!.job_id === first))
  working.kill('SIGTERM')
  assert.equal((await working.exited).code, 0)
  assert.deepEqual(
    told(site).flatMap(({jobs}) => jobs.map(({job_id}) => job_id)),
    [first],
  )
})

function configure(site: Workplace, config: object): void {
  site.write('jobq.config.mjs', `export default ${JSON.stringify({workDelay: 1, ...config})}`)
}

function told(site: Workplace): Notice[] {
  const file = site.path('told')
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => line.endsWith('}'))
    .map(line => JSON.parse(line))
}
