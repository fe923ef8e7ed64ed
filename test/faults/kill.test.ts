/**
 * Processes killed under load: children at random moments, then whole dispatchers. No job may be lost, and none may run
 * twice unless the process that ran it was killed. JOBQ_TEST_KILLS=100 is the long form.
 */
import assert from 'node:assert/strict'
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {test} from 'node:test'
import {fileURLToPath} from 'node:url'
import Database from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import {childrenOf, commandLineOf, isAlive} from '../support/alive.ts'
import {tempFolder} from '../support/temp.ts'
import {until} from '../support/until.ts'

const KILLS = Number(process.env.JOBQ_TEST_KILLS ?? 10)
const BIN = fileURLToPath(new URL('../../bin/run.js', import.meta.url))
const WORKER = `import {appendFileSync} from 'node:fs'
export default {
  async work(job) {
    const say = word => appendFileSync(process.env.RECORD, word + ' ' + job.id + ' ' + process.pid + '\\n')
    say('begin')
    await new Promise(resolve => setTimeout(resolve, job.arg.ms))
    say('end')
  },
}
`

interface Scene {
  folder: string
  db: string
  record: () => {word: string; id: number; pid: number}[]
  start: () => ChildProcess
}

function scene(folder: string): Scene {
  const db = join(folder, 'jobs.db')
  const recordFile = join(folder, 'record')
  mkdirSync(join(folder, 'workers'))
  writeFileSync(recordFile, '')
  writeFileSync(join(folder, 'workers', 'Nap.js'), WORKER)
  const env = {...process.env, RECORD: recordFile}
  return {
    folder,
    db,
    record: () =>
      readFileSync(recordFile, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map(line => line.split(' '))
        .map(([word = '', id, pid]) => ({word, id: Number(id), pid: Number(pid)})),
    start: () =>
      spawn(process.execPath, [BIN, 'work', '--db', db, '--max-workers', '3'], {
        cwd: folder,
        env,
        stdio: 'ignore',
      }),
  }
}

async function enqueueNaps(db: string, count: number): Promise<void> {
  await using queue = await JobQueue.open({db})
  const arg = JSON.stringify({ms: 5})
  const job = {func: 'Nap', arg, uniqkey: null, priority: 0, due: {in: 0}}
  await queue.addMany(Array.from({length: count}, () => job))
}

function isNode(pid: number): boolean {
  return commandLineOf(pid).includes('child.')
}

/** Every job ended, or failed for good after its third death; who ran twice was being run by a killed process. */
function judge({db, record}: Scene, total: number, killed: ReadonlySet<number>): void {
  const lines = record()
  const ended = new Set(lines.filter(({word}) => word === 'end').map(({id}) => id))
  const store = new Database(db, {readonly: true})
  const left = store.prepare('SELECT count(*) FROM job').pluck().get() as number
  const buried = store
    .prepare("SELECT count(*) FROM exception_log WHERE CAST(message AS TEXT) LIKE 'its worker died 3 times%'")
    .pluck()
    .get() as number
  store.close()
  assert.equal(left, 0, 'jobs are left')
  assert.ok(ended.size + buried >= total, `${total - ended.size - buried} jobs were lost`)
  const begins = Map.groupBy(
    lines.filter(({word}) => word === 'begin'),
    ({id}) => id,
  )
  for (const [id, runs] of begins)
    for (const run of runs.slice(0, -1))
      assert.ok(killed.has(run.pid), `job ${id} ran again after a run that was not killed`)
}

async function endsCleanly({db}: Scene, manager: ChildProcess, pids: Iterable<number>): Promise<void> {
  manager.kill('SIGTERM')
  const [code] = await once(manager, 'exit')
  assert.equal(code, 0)
  for (const pid of pids) await until(`process ${pid} is gone`, () => !isAlive(pid))
  const store = new Database(db, {readonly: true})
  assert.deepEqual(store.prepare('SELECT pid FROM jobq_manager WHERE pid = ?').all(manager.pid), [])
  store.close()
}

test(`${KILLS} children killed at random moments: nothing lost, nothing twice but what they ran`, async t => {
  const stage = scene(tempFolder(t))
  const total = KILLS * 40
  await enqueueNaps(stage.db, total)
  const manager = stage.start()
  t.after(() => manager.kill('SIGKILL'))
  const killed = new Set<number>()
  const seen = new Set<number>()
  const store = new Database(stage.db, {readonly: true})
  const waiting = store.prepare('SELECT count(*) FROM job').pluck()
  while (killed.size < KILLS) {
    const before = stage.record().length
    await until(
      'jobs get on',
      () => stage.record().length > before + Math.random() * 20 || waiting.get() === 0,
    )
    if (waiting.get() === 0) await enqueueNaps(stage.db, 50)
    const children = childrenOf(manager.pid!).filter(isNode)
    for (const pid of children) seen.add(pid)
    const victim = children[Math.floor(Math.random() * children.length)]
    if (victim === undefined || killed.has(victim)) continue
    process.kill(victim, 'SIGKILL')
    killed.add(victim)
  }
  await until('all is worked', () => waiting.get() === 0, 60_000)
  const all = store.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'job'").pluck().get() as number
  store.close()
  await endsCleanly(stage, manager, seen)
  judge(stage, all, killed)
})

test(`${KILLS} dispatchers killed at random moments: their children go with them, and nothing is lost`, async t => {
  const stage = scene(tempFolder(t))
  const total = KILLS * 20
  await enqueueNaps(stage.db, total)
  const store = new Database(stage.db)
  const waiting = store.prepare('SELECT count(*) FROM job').pluck()
  const killed = new Set<number>()
  for (let round = 0; round < KILLS; round++) {
    const manager = stage.start()
    t.after(() => manager.kill('SIGKILL'))
    const before = stage.record().length
    await until(
      'jobs get on',
      () => stage.record().length > before + Math.random() * 20 || waiting.get() === 0,
    )
    if (waiting.get() === 0) await enqueueNaps(stage.db, 50)
    const pids = childrenOf(manager.pid!)
    manager.kill('SIGKILL')
    await once(manager, 'exit')
    for (const pid of pids) {
      await until(`process ${pid} is gone with its dispatcher`, () => !isAlive(pid))
      killed.add(pid)
    }
    // children that were started after the look at them
    for (const {pid} of stage.record().slice(before)) {
      await until(`process ${pid} is gone with its dispatcher`, () => !isAlive(pid))
      killed.add(pid)
    }
    store.exec('UPDATE job SET grabbed_until = 1 WHERE grabbed_until > 0') // a minute has passed
  }
  const manager = stage.start()
  t.after(() => manager.kill('SIGKILL'))
  await until('all is worked', () => waiting.get() === 0, 60_000)
  const all = store.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'job'").pluck().get() as number
  store.close()
  await endsCleanly(stage, manager, [])
  judge(stage, all, killed)
})
