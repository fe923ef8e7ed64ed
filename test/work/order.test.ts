/** Strict priorities, and every job exactly once, however many work and enqueue. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const ENQUEUER = fileURLToPath(new URL('../support/enqueuer.ts', import.meta.url))
const WORKER = `import {note} from './_note.mjs'
export default {
  async work(job) {
    note({word: 'begin', id: job.id, priority: job.priority})
    if (job.id % 7 === 0) await new Promise(resolve => setTimeout(resolve, 1))
    note({word: 'end', id: job.id})
  },
}
`
const JOBS = 300

interface Note {
  at: number
  word: 'begin' | 'end'
  id: number
}

interface Row {
  id: number
  priority: number
  run_after: number
}

/** So many jobs of two functions; the database itself notes in which order they are grabbed. @returns their ids as they should be */
async function prepare(site: Workplace, jobs = JOBS): Promise<number[]> {
  await site.withQueue(queue =>
    queue.addMany(
      Array.from({length: jobs}, (_, i) => ({
        func: i % 3 === 0 ? 'A' : 'B',
        arg: null,
        uniqkey: null,
        priority: Math.floor(Math.random() ** 3 * 100),
        due: {in: 0},
      })),
    ),
  )
  site.rows('CREATE TABLE grabbed (at INTEGER PRIMARY KEY, id INTEGER)')
  site.rows(`CREATE TRIGGER grabbing AFTER UPDATE OF grabbed_until ON job
    WHEN old.grabbed_until = 0 AND new.grabbed_until > 0 BEGIN INSERT INTO grabbed (id) VALUES (new.id); END`)
  return site
    .rows<Row>('SELECT id, priority, run_after FROM job')
    .sort((a, b) => b.priority - a.priority || a.run_after - b.run_after || a.id - b.id)
    .map(({id}) => id)
}

/**
 * A job that began while a better one waited. With several workers, those better ones that the others had been handed
 * already, and were about to begin, do not count: at most workers - 1.
 */
function overtakes(ids: readonly number[], begun: readonly number[], workers: number): number[] {
  const rank = new Map(ids.map((id, i) => [id, i]))
  const waiting = new Set(rank.values())
  return begun.filter(id => {
    const mine = rank.get(id)!
    waiting.delete(mine)
    let better = 0
    for (const other of waiting) {
      if (other > mine || better >= workers) break
      better++
    }
    return better >= workers
  })
}

function assertOrder(site: Workplace, ids: readonly number[], workers: number): void {
  const notes = site.notes<Note>().sort((a, b) => a.at - b.at)
  const begun = notes.filter(({word}) => word === 'begin').map(({id}) => id)
  assert.equal(begun.length, JOBS)
  assert.equal(new Set(begun).size, JOBS, 'each once')
  assert.deepEqual(site.column('SELECT id FROM grabbed ORDER BY at'), ids, 'grabbed in order')
  if (workers === 1) assert.deepEqual(begun, ids, 'begun in order')
  assert.deepEqual(overtakes(ids, begun, workers), [], 'begun while a better one waited')
  let running = 0
  for (const {word} of notes) {
    running += word === 'begin' ? 1 : -1
    assert.ok(running <= workers)
  }
  assert.equal(site.count('job'), 0)
}

describe('hundreds of jobs of random priorities', () => {
  test('one worker: the strict order', async t => {
    const site = new Workplace(t, {'A.mjs': WORKER, 'B.mjs': WORKER})
    const ids = await prepare(site)
    const {code, stdout} = await site.drain()
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`^${JOBS} completed in `))
    assertOrder(site, ids, 1)
  })

  test('three workers of one process: none begins while a better one waits', async t => {
    const site = new Workplace(t, {'A.mjs': WORKER, 'B.mjs': WORKER})
    const ids = await prepare(site)
    assert.equal((await site.drain('--max-workers', '3')).code, 0)
    assertOrder(site, ids, 3)
  })

  test('three processes', async t => {
    const site = new Workplace(t, {'A.mjs': WORKER, 'B.mjs': WORKER})
    const ids = await prepare(site)
    const all = await Promise.all([site.drain(), site.drain(), site.drain()])
    for (const {code, stderr} of all) {
      assert.equal(code, 0)
      assert.doesNotMatch(stderr, /locked/)
    }
    assertOrder(site, ids, 3)
  })
})

test('modules and executables side by side: the strict order over both', async t => {
  const site = new Workplace(t, {'A.mjs': WORKER, B: '#!/bin/sh\n'})
  const ids = await prepare(site, 150)
  const {code} = await site.drain('--max-workers', '3')
  assert.equal(code, 0)
  assert.deepEqual(site.column('SELECT id FROM grabbed ORDER BY at'), ids, 'grabbed in order')
})

test('eight processes enqueue while three work: every job once, none left, no lock in the way', async t => {
  const site = new Workplace(t, {
    'Once.mjs': `import {note} from './_note.mjs'\nexport default {work: ({arg}) => note(arg)}`,
  })
  await site.run(['enqueue', 'Once', '--arg', '{"name":"first","i":0}'])
  const working = [1, 2, 3].map(() =>
    site.work('--max-workers', '2', '--max-request-per-child', '300', '--debug'),
  )
  const enqueuing = [
    ...Array.from({length: 8}, (_, n) =>
      site.spawn(process.execPath, [ENQUEUER, 'Once', `process ${n}`, '200']),
    ),
    site.start(['enqueue', 'Once', '--args-from', '-'], {
      input: Array.from({length: 200}, (_, i) => `{"name":"lines","i":${i}}\n`).join(''),
    }),
    ...Array.from({length: 6}, (_, i) =>
      site.start(['enqueue', 'Once', '--arg', `{"name":"alone","i":${i}}`, '--priority', String(i)]),
    ),
  ]
  for (const {exited} of enqueuing) {
    const {code, stderr} = await exited
    assert.equal(code, 0, stderr)
    assert.equal(stderr, '')
  }
  await until('all is worked', () => site.count('job') === 0)
  for (const work of working) {
    work.kill('SIGTERM')
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    // But that a full machine took three seconds for a turn is no lock's doing
    const said = stderr.match(
      /^.*(lock|busy|jobq: (?!works |\S+ has not answered for|the database is back)).*$/gim,
    )
    assert.deepEqual(said, null)
    assert.match(stderr, / Once completed /, 'each had its share')
  }
  const worked = site.notes<{name: string; i: number}>().map(({name, i}) => `${name} ${i}`)
  assert.equal(worked.length, 1 + 8 * 200 + 200 + 6)
  assert.equal(new Set(worked).size, worked.length)
  assert.equal(site.count('exception_log'), 0)
})
