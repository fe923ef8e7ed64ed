/** The storm's oracle can fail: each promise, broken by hand in what some quiet work has left, is noticed. */
import assert from 'node:assert/strict'
import {readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {RUN_JS} from '../support/jobq.ts'
import {Started} from '../support/started.ts'
import {tempFolder} from '../support/temp.ts'
import {Journal} from './storm/journal.ts'
import {judge} from './storm/judge.ts'
import {placeOf, type Row} from './storm/place.ts'
import {writeWorkers} from './storm/workers.ts'

/** How the journal's lines are changed, and the rows that a query finds; and what is said of it. */
const BROKEN: {
  name: string
  lines?: (lines: string[]) => string[]
  rows?: (rows: Row[], sql: string) => Row[]
  says: RegExp
}[] = [
  {
    name: 'an acknowledged job of which there is no trace',
    lines: lines => ['offer gone Mod - gone', 'stored gone 99', ...lines],
    says: /1 jobs were acknowledged, 1 are lost/,
  },
  {
    name: 'a job that has begun, and neither completed nor failed',
    rows: without(/job_status/, '"plain '),
    says: /plain has neither been completed nor failed/,
  },
  {
    name: 'a job that is left',
    rows: (rows, sql) => (/FROM job$/.test(sql) ? [{id: 1}] : rows),
    says: /job is empty in the end/,
  },
  {
    name: 'a run after one that no one has killed',
    lines: lines => lines.flatMap(line => (/^end plain/.test(line) ? [line, again(lines, 'plain')] : [line])),
    says: /plain \(job 1\) began again .* had not been killed/s,
  },
  {
    name: 'a run after one that was settled, though its process was killed then',
    lines: lines => {
      const [, , , pid] = again(lines, 'plain').split(' ')
      return [...lines, `kill child ${pid}`, `killed child ${pid}`, again(lines, 'plain')]
    },
    says: /plain \(job 1\) began again .* been settled/s,
  },
  {
    name: 'a job that was refused',
    lines: lines => lines.map(line => line.replace(/^stored plain .*/, 'refused plain DUPLICATE')),
    says: /plain was refused \(DUPLICATE\), and stored/,
  },
  {
    name: 'half of a bulk',
    lines: lines =>
      lines.map(line => line.replace(/^(offer bulk .*)/, '$1 bulk.2').replace(/^stored bulk/, 'tick 1')),
    says: /bulk: half of 3 jobs was stored/,
  },
  {
    name: 'a job that is two',
    lines: lines =>
      lines.flatMap(line => (/^begin plain/.test(line) ? ['begin plain 77 1 1', line] : [line])),
    says: /plain was stored twice, as 77 and 1/,
  },
  {
    name: 'a replacement that is two, where no server was killed',
    lines: lines =>
      lines.flatMap(line => (/^begin next.then/.test(line) ? ['begin next.then 77 1 1', line] : [line])),
    says: /next.then was stored twice, as 77 and \d+/,
  },
  {
    name: 'another id than was printed',
    lines: lines => lines.map(line => line.replace(/^stored plain .*/, 'stored plain 55')),
    says: /plain has another id/,
  },
  {
    name: 'a failed attempt without its exception',
    rows: without(/exception_log/, '"fails '),
    says: /fails: as many failed statuses as exceptions/,
  },
  {
    name: 'an attempt less than failed',
    rows: (rows, sql) =>
      without(/exception_log/, '"fails ')(rows, sql).filter(({status}) => status !== 'failed'),
    says: /fails: 0 exceptions for 1 to 1 failed attempts/,
  },
  {
    name: 'a job that was never enqueued',
    lines: lines => lines.filter(line => !/^(offer|stored) plain/.test(line)),
    says: /plain was never enqueued/,
  },
  {
    name: 'a replacement that was lost',
    rows: without(/job_status/, '"next.then '),
    lines: lines => lines.filter(line => !/^(begin|end) next.then/.test(line)),
    says: /next.then is there if next was replaced/,
  },
  {
    name: 'two jobs with one key at a time',
    lines: lines => {
      const begins = lines.findIndex(line => line.startsWith('begin fails '))
      const ends = lines.findIndex(line => line.startsWith('end fails '))
      const others = lines.filter((_, i) => i !== begins && i !== ends)
      const start = others.findIndex(line => line.startsWith('begin '))
      return others
        .toSpliced(start, 0, lines[begins]!, lines[ends]!)
        .map(line => line.replace(/^offer (plain|fails) Mod -/, 'offer $1 Mod k'))
    },
    says: /two jobs with the key k at once/,
  },
  {
    name: 'a stack trace',
    lines: lines => [...lines, '    at Object.work (file.js:1:1)'],
    says: /lines that no one should have written/,
  },
]

function without(table: RegExp, arg: string) {
  return (rows: Row[], sql: string) =>
    table.test(sql) ? rows.filter(row => !String(row.arg).startsWith(arg)) : rows
}

function again(lines: readonly string[], token: string): string {
  return lines.find(line => line.startsWith(`begin ${token} `))!
}

/** Its end was taken back, and what came of that: both began again. */
function replacedTwice(lines: readonly string[]): string[] {
  const of = (token: string) => lines.filter(line => RegExp(`^(begin|end) ${token} `).test(line))
  const [first, then] = [of('next'), of('next.then').map(line => line.replace(/\.then \d+/, '.then 77'))]
  return lines.flatMap(line => (line === first[0] ? [...first, ...then, line] : [line]))
}

test('the oracle of the storm', async t => {
  const folder = tempFolder(t)
  const place = await placeOf('SQLite', folder)
  assert.ok('query' in place)
  const journal = new Journal(join(folder, 'journal'))
  t.after(() => journal.close())
  {
    await using queue = await JobQueue.open({db: place.db})
    const enqueue = async (token: string, rest: string) => {
      journal.write('offer', token, 'Mod', '-', token)
      journal.write('stored', token, (await queue.enqueue('Mod', {arg: `${token} ${rest}`})).id)
    }
    await enqueue('plain', '0 0 -')
    await enqueue('fails', '0 1 -')
    await enqueue('next', '0 0 next.then')
    journal.write('offer', 'bulk', 'Mod', '-', 'bulk.0', 'bulk.1')
    await queue.enqueueMany(['bulk.0', 'bulk.1'].map(token => ({func: 'Mod', arg: `${token} 0 0 -`})))
    journal.write('stored', 'bulk', '')
  }
  const work = new Started(
    process.execPath,
    [RUN_JS, 'work', '--json', '--drain', '--max-workers', '1', ...writeWorkers(folder)],
    {
      cwd: folder,
      env: {PATH: process.env.PATH, HOME: folder, JOBQ_DB: place.db, JOURNAL: journal.path},
      stdio: ['ignore', journal.fd, journal.fd],
    },
  )
  journal.write('start', 'dispatcher', work.pid)
  const {code} = await work.exited
  assert.equal(code, 0)
  const {acknowledged, runs, exceptions} = await judge(journal.read(), place)
  assert.deepEqual({acknowledged, runs, exceptions}, {acknowledged: 5, runs: 7, exceptions: 1})
  const written = readFileSync(journal.path, 'utf8').split('\n').slice(0, -1)
  await t.test('excuses a replacement that is two, where a server was killed', async () => {
    const pids = 'server 1'
    const lines = replacedTwice(written)
    const second = lines.findLastIndex(line => line.startsWith('begin next '))
    writeFileSync(
      journal.path,
      `${lines.toSpliced(second, 0, `kill ${pids}`, 'tick 1', `killed ${pids}`).join('\n')}\n`,
    )
    assert.equal((await judge(journal.read(), place)).againByServer, 2)
  })
  for (const {name, lines, rows, says} of BROKEN)
    await t.test(`notices ${name}`, async () => {
      writeFileSync(journal.path, `${(lines?.(written) ?? written).join('\n')}\n`)
      const query = async (sql: string) => {
        const found = await place.query(sql)
        return rows?.(found, sql) ?? found
      }
      await assert.rejects(judge(journal.read(), {...place, query}), says)
    })
})
