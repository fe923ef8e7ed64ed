/**
 * The power fails. Whole processes of jobq are recorded, every write and sync of theirs to the files of a database and
 * what they said to their users (recorder.c). Then the power is cut at any point of that, again and again, and what was
 * not synced is lost, torn or in another order (disk.ts). Each time the database opens, is whole, and keeps what was said
 * before: an id that was printed is a job that is there, or has run; where `work --durable` said how a job has ended, it
 * does not run again; many jobs of one call are there all or none.
 */
import assert from 'node:assert/strict'
import {existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {pathToFileURL} from 'node:url'
import Sqlite from 'better-sqlite3'
import type {QueueOptions} from '../../src/lib/index.ts'
import {Random, SEED, SOAK} from '../support/random.ts'
import {until} from '../support/until.ts'
import {type Options, ROOT, Workplace} from '../support/workplace.ts'
import {Acknowledged} from './acknowledged.ts'
import {Disk} from './disk.ts'
import {type Change, Recording, type Said} from './recording.ts'

const LIBRARY = pathToFileURL(join(ROOT, 'dist/lib/index.cjs')).href
const STORE = pathToFileURL(join(ROOT, 'src/lib/store/sqlite/store.ts')).href
const SQLITE = import.meta.resolve('better-sqlite3')
/** Is there a file system in memory? It takes a tenth of the time. */
const PLACE = statSync('/dev/shm', {throwIfNoEntry: false})?.isDirectory() ? '/dev/shm' : tmpdir()
/** Where jobq itself has its database, within XDG_DATA_HOME. */
const OWN = 'jobq/jobq.db'
const CUTS = SOAK ? 1000 : 150

/** At every so many cuts the command opens it first. */
const LISTED = 50

/** Says `run ID FUNC` when it begins. */
const RUNS = `import {writeSync} from 'node:fs'
const say = job => void writeSync(1, 'run ' + job.id + ' ' + job.func + '\\n')
export const runs = {work(job) { say(job) }}
export const fails = {work(job) { say(job); throw new Error('no') }}
`

describe('what a power cut leaves', () => {
  test('of a queue from its first job on: every id that was printed', async t => {
    const scene = new Scene(t)
    for (let i = 0; i < 3; i++) await scene.jobq('enqueue First', ['enqueue', 'First', '--arg', String(i)])
    for (const [func, count] of Object.entries({Bulk: 200, Large: 1500}))
      await scene.jobq(`call ${func}`, ['enqueue', func, '--args-from', '-'], {input: lines(count)})
    await scene.program(
      `for (let i = 0; i < 20; i++) await enqueue('Runs', i)
await Promise.all(Array.from({length: 200}, (_, i) => enqueue('Runs', i)))
for (let i = 0; i < 10; i++) await Promise.all([enqueue('Fails', i), enqueue('Runs', i)])`,
    )
    await scene.jobq('enqueue First', ['enqueue', 'First'])
    for (let i = 0; i < 2; i++)
      await scene.jobq('enqueue WithAll', [
        ...['enqueue', 'WithAll', '--tag', 'nth=1', '--expires', '1w'],
        ...['--uniqkey', String(i), '--uniq-for', '1w'],
      ])
    await scene.program(
      `const more = {tags: {nth: '2'}, expires: '1w', uniqFor: '1w'}
for (let i = 0; i < 20; i++) {
  const {id} = await queue.enqueue('WithAll', {uniqkey: 'k' + i, ...more})
  writeSync(1, id + ' WithAll ' + i + '\\n')
}
await queue.enqueueMany(Array.from({length: 20}, (_, i) => ({func: 'WithAll', uniqkey: 'm' + i, ...more})))`,
    )
    await scene.cutAgainAndAgain(t, {calls: {Bulk: 200, Large: 1500}})
  })

  test('of processes that come and go, alone and several at once: every id that was printed', async t => {
    const scene = new Scene(t)
    const enqueue = (i: number, ...more: string[]) =>
      scene.jobq('enqueue First', ['enqueue', 'First', '--arg', String(i), ...more])
    const flushes = () => scene.recording.read().filter(({kind}) => kind === 'syncing').length
    await enqueue(0)
    const source = `export default {hooks: [{name: 'log', postEnqueue() {}}]}`
    const config = scene.site.write('config.mjs', source)
    for (const flags of [[], ['--config', config]]) {
      const before = flushes()
      await enqueue(1, ...flags)
      assert.equal(flushes() - before, 3, 'the -wal, its folder, the database')
    }
    for (let i = 2; i < 8; i++) await enqueue(i)
    for (let i = 10; i < 22; i += 4) await Promise.all([0, 1, 2, 3].map(j => enqueue(i + j)))
    await scene.cutAgainAndAgain(t)
  })

  test('of one job beside someone who reads: it stays in the -wal, and is there', async t => {
    const scene = new Scene(t)
    await scene.jobq('enqueue First', ['enqueue', 'First'])
    await scene.run(`import Sqlite from ${JSON.stringify(SQLITE)}
import {openSqlite} from ${JSON.stringify(STORE)}
const store = await openSqlite(${JSON.stringify(scene.path())}, {oneJob: true, brief: true})
const reader = new Sqlite(${JSON.stringify(scene.path())})
reader.exec('BEGIN; SELECT * FROM job')
const {id} = await store.enqueue({func: 'Runs', arg: '7', uniqkey: null, priority: 0, due: {in: 0}})
writeSync(1, id + ' Runs 7\\n')
process.reallyExit(0)`)
    await scene.cutAgainAndAgain(t, {cuts: CUTS / 2})
  })

  test('of one that is worked meanwhile: what was enqueued, or what became of it', async t => {
    const scene = new Scene(t)
    const enqueues = (from: number) => `for (let i = ${from}; i < ${from} + 150; i++)
  await Promise.all([enqueue('Runs', i), i % 5 === 0 && enqueue('Fails', i)])`
    await scene.jobq('enqueue Runs', ['enqueue', 'Runs'])
    await Promise.all([
      scene.program(enqueues(0)),
      scene.jobq('work', ['work', '--max-jobs', '100', '--max-workers', '2']),
    ])
    await Promise.all([
      scene.program(enqueues(1000)),
      scene.jobq('durable work', ['work', '--max-jobs', '80', '--durable', '--prefetch', '10']),
    ])
    await scene.jobq('work', ['work', '--drain'])
    await scene.cutAgainAndAgain(t)
  })

  test('of a -wal that had no room: what was enqueued before and after, nothing of what was refused', async t => {
    const scene = new Scene(t)
    await scene.program(
      `import assert from 'node:assert/strict'
const three = async () => { for (let i = 0; i < 3; i++) await enqueue('Runs', i) }
const bulk = count => Array.from({length: count}, () => ({func: 'NoRoom', arg: 'x'.repeat(9000)}))
await three()
for (const count of [300, 1001]) { // the latter in a thread
  await assert.rejects(queue.enqueueMany(bulk(count)), {code: 'FULL'})
  await three()
}
await assert.rejects(queue.enqueue('NoRoom', {arg: 'x'.repeat(2e6)}), {code: 'FULL'})
await three()`,
      {env: {RECORD_ROOM: '1000000'}},
    )
    const cut = scene.recording.read().filter(({kind}) => kind === 'truncated')
    assert.ok(cut.length >= 3, 'what was refused was cut off')
    await scene.cutAgainAndAgain(t, {calls: {NoRoom: 0}})
  })

  test('of a -wal that was long, and is cut', async t => {
    const scene = new Scene(t)
    await scene.jobq('enqueue Runs', ['enqueue', 'Runs'])
    const reader = new Sqlite(scene.path())
    reader.exec('BEGIN; SELECT * FROM job')
    const program = scene.program(
      `import {existsSync, statSync} from 'node:fs'
const wal = () => statSync(${JSON.stringify(`${scene.path()}-wal`)}).size
const arg = 'x'.repeat(400_000)
for (let i = 0; wal() <= 8 << 20; i++) await enqueue('Long' + i, arg)
console.log('long')
while (wal() > 8 << 20) {
  await enqueue('Runs', 0)
  await new Promise(resolve => setTimeout(resolve, 10))
}
await enqueue('Runs', 0)`,
    )
    await until('it is long', () => scene.recording.says(/^long$/m))
    reader.close()
    await program
    assert.ok(scene.recording.read().some(({kind}) => kind === 'truncated'))
    await scene.cutAgainAndAgain(t, {cuts: CUTS / 5})
  })

  test('of a copy: all of it or nothing, and what it was made of', async t => {
    const scene = new Scene(t)
    await scene.jobq('other', ['enqueue', 'Bulk', '--args-from', '-'], {input: lines(300)})
    const copy = ['copy', '--db', scene.path(), '--to', scene.path('copy.db')]
    await scene.jobq('call Bulk', copy)
    await scene.cutAgainAndAgain(t, {calls: {Bulk: 300}, db: 'copy.db', cuts: CUTS / 3})
  })

  test('where nothing waits for the disk: less than was said, so these tests would tell', async t => {
    const scene = new Scene(t)
    await scene.jobq('enqueue Runs', ['enqueue', 'Runs'])
    await scene.program(`for (let i = 0; i < 50; i++) await enqueue('Runs', i)`, {
      durable: false,
    })
    await assert.rejects(scene.cutAgainAndAgain(t), /^Error: (job \d+ of Runs is lost|id \d+ is given again)/)
  })
})

interface ProgramOptions extends Pick<QueueOptions, 'durable'> {
  env?: NodeJS.ProcessEnv
}

interface CutOptions {
  /** How many jobs of a function come in one call. */
  calls?: Record<string, number>
  /** The database that is looked into. Default OWN. */
  db?: string
  /** Default CUTS. */
  cuts?: number
}

/** A place whose database is recorded from before it was there. */
class Scene {
  readonly site: Workplace
  readonly recording: Recording

  constructor(t: TestContext) {
    this.site = new Workplace(t, {
      '_runs.mjs': RUNS,
      'Runs.mjs': `export {runs as default} from './_runs.mjs'`,
      'Fails.mjs': `export {fails as default} from './_runs.mjs'`,
    })
    this.recording = new Recording(placeIn(t))
  }

  path(db = OWN): string {
    return join(this.recording.root, db)
  }

  #env(who: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return {JOBQ_DB: '', XDG_DATA_HOME: this.recording.root, ...this.recording.env(who), ...more}
  }

  async jobq(who: string, args: readonly string[], options: Options = {}): Promise<void> {
    const {code, stderr} = await this.site.run(args, {...options, env: this.#env(who, options.env)})
    assert.ok(code === 0 || code === 5, stderr)
  }

  /** A program of the library's user, with a queue that is open. It says `ID FUNC ARG`. */
  async program(body: string, {env = {}, ...options}: ProgramOptions = {}): Promise<void> {
    await this.run(
      `import {JobQueue} from ${JSON.stringify(LIBRARY)}
const enqueue = async (func, arg) => {
  const {id} = await queue.enqueue(func, {arg})
  writeSync(1, id + ' ' + func + ' ' + String(arg).slice(0, 9) + '\\n')
}
const queue = await JobQueue.open(${JSON.stringify(options)})
${body}
await queue.close()`,
      env,
    )
  }

  /** A program that may do without a queue. */
  async run(source: string, env: NodeJS.ProcessEnv = {}): Promise<void> {
    const file = this.site.write('program.mjs', `import {writeSync} from 'node:fs'\n${source}`)
    const program = this.site.spawn(process.execPath, [file], {env: this.#env('program', env)})
    const {code, stderr} = await program.exited
    assert.equal(code, 0, stderr)
  }

  async cutAgainAndAgain(t: TestContext, options: CutOptions = {}): Promise<void> {
    const {calls = {}, db = OWN, cuts = CUTS} = options
    const events = this.recording.read()
    const random = new Random()
    const points = pointsIn(events, Math.round(cuts), random)
    const disk = new Disk(statSync(this.recording.root, {bigint: true}).ino)
    const acknowledged = new Acknowledged(calls)
    const folder = placeIn(t)
    let made = 0
    for (const [at, event] of events.entries()) {
      if (event.kind === 'said') acknowledged.hear(event)
      else disk.apply(event)
      for (let times = points.get(at) ?? 0; times > 0; times--) {
        const {files, how} = disk.cut(random)
        const place = mkdtempSync(join(folder, 'cut-'))
        restore(place, files)
        try {
          if (++made % LISTED === 0) await this.#list(join(place, db))
          await acknowledged.check(join(place, db), random.chance(0.5))
        } catch (error) {
          const where = `cut at ${at} of ${events.length}, kept: ${how}, JOBQ_SEED=${SEED}`
          throw new Error(`${(error as Error).message} (${where})`, {cause: error})
        }
        rmSync(place, {recursive: true})
      }
    }
    t.diagnostic(`power cut: cuts=${made} events=${events.length} ${acknowledged.counts}`)
  }

  async #list(path: string): Promise<void> {
    if (!existsSync(path)) return
    const {code, stderr} = await this.site.run(['list', '--db', path])
    assert.deepEqual({code, stderr}, {code: 0, stderr: ''})
  }
}

/** Where it is cut, and how often: at half of the times just behind what was said or synced, or a name's change. */
function pointsIn(events: readonly (Change | Said)[], cuts: number, random: Random): Map<number, number> {
  const points = new Map<number, number>()
  const isTold = ({kind}: Change | Said) => kind !== 'written' && kind !== 'syncing'
  const told = [...events.keys()].filter(at => isTold(events[at]!))
  for (let i = 0; i < cuts; i++) {
    const at = i % 2 === 0 ? random.below(events.length) : random.pick(told)
    points.set(at, (points.get(at) ?? 0) + 1)
  }
  return points
}

function restore(place: string, files: Map<string, Buffer | null>): void {
  for (const [name, bytes] of files) {
    const path = join(place, name)
    mkdirSync(bytes === null ? path : dirname(path), {recursive: true})
    if (bytes !== null) writeFileSync(path, bytes)
  }
}

function lines(count: number): string {
  return Array.from({length: count}, (_, i) => `${i}\n`).join('')
}

function placeIn(t: TestContext): string {
  const folder = realpathSync(mkdtempSync(join(PLACE, 'jobq-test-')))
  t.after(() => rmSync(folder, {recursive: true, force: true}))
  return folder
}
