import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import type {Database} from 'better-sqlite3'
import {jobqIn} from '../support/jobq.ts'
import {now, openDatabase, seedException, seedJob} from '../support/seed.ts'
import {Workplace} from '../support/workplace.ts'

type T = Parameters<typeof jobqIn>[0]

async function prepared(t: T) {
  const jobq = jobqIn(t)
  assert.equal((await jobq(['init'])).code, 0)
  return {jobq, db: openDatabase(t, jobq.db)}
}

function jobs(db: Database): Record<string, unknown>[] {
  const sql = `SELECT job.id, name AS func, CAST(arg AS BLOB) AS arg, typeof(arg) AS kind, uniqkey, grabbed_until,
    run_after, retry_cnt, priority FROM job JOIN func ON func.id = func_id ORDER BY job.id`
  return db.prepare(sql).all() as Record<string, unknown>[]
}

function retried(db: Database): number[] {
  return db.prepare('SELECT id FROM exception_log WHERE retried = 1 ORDER BY id').pluck().all() as number[]
}

const ENQUEUE_AGAIN =
  'see `jobq list --failed`; enqueue the job again with `jobq enqueue` if it is wanted twice'
const WHEN_GONE = 'retry it when that job has left the queue'

describe('retry by id', () => {
  test('enqueues with the argument and the key it had, and marks the exception', async t => {
    const {jobq, db} = await prepared(t)
    const id = seedException(db, {func: 'Img', arg: Buffer.from([0x82, 0, 0xff]), uniqkey: 'photo:9'})
    seedException(db)
    const {stdout, stderr, code} = await jobq(['retry', String(id)])
    assert.equal(stderr, '')
    assert.equal(stdout, '1\n')
    assert.equal(code, 0)
    const [job, ...more] = jobs(db)
    assert.deepEqual(more, [])
    assert.ok(Math.abs((job!.run_after as number) - now()) < 30)
    assert.deepEqual(
      {...job, run_after: 0},
      {
        id: 1,
        func: 'Img',
        arg: Buffer.from([0x82, 0, 0xff]),
        kind: 'blob',
        uniqkey: 'photo:9',
        grabbed_until: 0,
        run_after: 0,
        retry_cnt: 0,
        priority: 0,
      },
    )
    assert.deepEqual(retried(db), [id])
  })

  test('--priority and --delay are those of the new jobs; a database before the ids is no riddle', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db)
    seedException(db)
    const {stdout} = await jobq(['retry', '--db', jobq.db, '2', '1', '--priority', '7', '--delay', '2h'])
    assert.equal(stdout, '1\n2\n')
    for (const {priority, run_after} of jobs(db)) {
      assert.equal(priority, 7)
      assert.ok(Math.abs((run_after as number) - now() - 7200) < 30)
    }
  })

  test('what is refused is told, the others go on: exit 4', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db, {retried: 1})
    seedException(db, {uniqkey: 'k'})
    seedException(db)
    seedJob(db, {uniqkey: 'k'})
    const {stdout, stderr, code} = await jobq(['retry', '1', '2', '99', '3', '3'])
    assert.equal(stdout, '2\n')
    assert.deepEqual(stderr.split('\n'), [
      `jobq: exception 1 was already retried (${ENQUEUE_AGAIN})`,
      `jobq: exception 2: refused: a job of Notify with uniqkey "k" is already waiting (job 1) (${WHEN_GONE})`,
      'jobq: no exception 99 (see `jobq list --failed`)',
      `jobq: exception 3 was already retried (${ENQUEUE_AGAIN})`,
      '',
    ])
    assert.equal(code, 4)
    assert.deepEqual(retried(db), [1, 3])
  })

  test('a waiting key alone is exit 3', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db, {uniqkey: 'k'})
    seedException(db)
    seedJob(db, {uniqkey: 'k'})
    const {stdout, code} = await jobq(['retry', '1', '2'])
    assert.equal(stdout, '2\n')
    assert.equal(code, 3)
    assert.deepEqual(retried(db), [2])
  })

  test('--json: one document with both', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db, {uniqkey: 'k'})
    seedException(db, {retried: 1})
    const {stdout, code} = await jobq(['retry', '--json', '1', '2', '3', '--priority', '2'])
    assert.equal(code, 4)
    const {retried, refused, ...rest} = JSON.parse(stdout)
    assert.deepEqual(rest, {})
    assert.equal(retried.length, 1)
    assert.deepEqual(
      {...retried[0], run_after: 0},
      {exception_id: 1, id: 1, func: 'Notify', uniqkey: 'k', priority: 2, run_after: 0},
    )
    assert.deepEqual(refused, [
      {
        exception_id: 2,
        code: 'ALREADY_RETRIED',
        message: 'exception 2 was already retried',
        hint: ENQUEUE_AGAIN,
      },
      {exception_id: 3, code: 'NOT_FOUND', message: 'no exception 3', hint: 'see `jobq list --failed`'},
    ])
  })
})

describe('retry --all', () => {
  test('takes what was not retried yet, oldest first, of a function, since a time', async t => {
    const {jobq, db} = await prepared(t)
    const old = seedException(db, {arg: '"old"', exception_time: now() - 86_400})
    seedException(db, {arg: '"retried"', retried: 1})
    const other = seedException(db, {func: 'Other', arg: '"other"', exception_time: now() - 3700})
    const fresh = seedException(db, {arg: '"fresh"', exception_time: now() - 3500})
    const dry = async (...args: string[]) => {
      const {stdout, code} = await jobq(['retry', '--all', '--dry-run', ...args])
      assert.equal(code, 0)
      return stdout
        .split('\n')
        .slice(0, -1)
        .map(line => Number(line.split('\t')[0]))
    }
    assert.deepEqual(await dry(), [old, other, fresh])
    assert.deepEqual(await dry('--func', 'Notify'), [old, fresh])
    assert.deepEqual(await dry('--since', '2h'), [other, fresh])
    assert.deepEqual(await dry('--since', '1h'), [fresh])
    assert.deepEqual(await dry('--since', `@${now() - 3600}`), [fresh])
    assert.deepEqual(await dry('--since', '2000-01-01', '--func', 'Other'), [other])
    assert.deepEqual(await dry('--since', '2100-01-01'), [])
    assert.deepEqual(jobs(db), [], 'a dry run changes nothing')
    assert.deepEqual(retried(db), [2])

    const {stdout, code} = await jobq(['retry', '--all', '--since', '2h'])
    assert.equal(stdout, '1\n2\n')
    assert.equal(code, 0)
    assert.deepEqual(
      jobs(db).map(({arg}) => String(arg)),
      ['"other"', '"fresh"'],
    )
    assert.deepEqual(retried(db), [2, other, fresh])
  })

  test('a dry run says what the retry then does', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db, {uniqkey: 'twice'})
    seedException(db, {uniqkey: 'twice'})
    seedException(db, {uniqkey: 'waiting'})
    seedException(db, {func: 'A\tB'})
    seedJob(db, {uniqkey: 'waiting'})
    const dry = await jobq(['retry', '--all', '--dry-run'])
    assert.equal(dry.stdout, '1\tNotify\ttwice\n4\tA\\tB\t\\N\n')
    assert.match(dry.stderr, /^jobq: exception 2: refused: [^\n]+\njobq: exception 3: refused: [^\n]+\n$/)
    assert.equal(dry.code, 3)
    const document = JSON.parse((await jobq(['retry', '--all', '--dry-run', '--json'])).stdout)
    assert.deepEqual(document.retried, [
      {exception_id: 1, id: null, func: 'Notify', uniqkey: 'twice'},
      {exception_id: 4, id: null, func: 'A\tB', uniqkey: null},
    ])
    const ids = (refused: {exception_id: number}[]) => refused.map(({exception_id: id}) => id)
    assert.deepEqual(ids(document.refused), [2, 3])
    const done = JSON.parse((await jobq(['retry', '--all', '--json'])).stdout)
    assert.deepEqual(
      [ids(done.retried), ids(done.refused)],
      [
        [1, 4],
        [2, 3],
      ],
    )
  })

  test('a dry run of ids knows those that are not there', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db)
    const {stdout, stderr, code} = await jobq(['retry', '--dry-run', '1', '1', '2'])
    assert.equal(stdout, '1\tNotify\t\\N\n')
    assert.equal(
      stderr,
      `jobq: exception 1 was already retried (${ENQUEUE_AGAIN})\njobq: no exception 2 (see \`jobq list --failed\`)\n`,
    )
    assert.equal(code, 4)
    assert.deepEqual(retried(db), [])
  })

  test('ends, though every retried job fails anew meanwhile', async t => {
    const {jobq, db} = await prepared(t)
    db.transaction(() => {
      for (let i = 0; i < 2500; i++) seedException(db)
    })()
    db.exec(`CREATE TRIGGER anew AFTER INSERT ON job BEGIN
      INSERT INTO exception_log (func_id, exception_time, message) VALUES (new.func_id, 0, 'again'); END`)
    const {stdout, code} = await jobq(['retry', '--all', '--json'])
    assert.equal(code, 0)
    assert.equal(JSON.parse(stdout).retried.length, 2500)
    assert.equal(jobs(db).length, 2500)
  })

  test('an attempt whose job waits for its next try is skipped and counted; by its id it is refused; --again', async t => {
    const {jobq, db} = await prepared(t)
    const again = seedException(db, {arg: '"again"'})
    seedException(db, {arg: '"for good"'})
    seedJob(db, {arg: '"again"', retry_cnt: 1, enqueue_time: now() - 60, run_after: now() + 600})
    const one = await jobq(['retry', String(again)])
    assert.equal(one.code, 3)
    assert.equal(
      one.stderr,
      `jobq: exception ${again}: its job (1) waits for its next try; --again (again: true) adds one more (it will be tried again by itself)\n`,
    )
    const dry = await jobq(['retry', '--all', '--dry-run'])
    assert.deepEqual([dry.stdout, dry.code], ['2\tNotify\t\\N\n', 0])
    const all = await jobq(['retry', '--all', '--json'])
    assert.equal(all.code, 0)
    assert.match(all.stderr, /^jobq: 1 attempt skipped: its job waits for the next try; --again [^\n]+\n$/)
    const {retried: done, refused} = JSON.parse(all.stdout)
    assert.deepEqual(
      done.map(({exception_id}: {exception_id: number}) => exception_id),
      [2],
    )
    assert.deepEqual(
      refused.map(({exception_id, code}: {exception_id: number; code: string}) => [exception_id, code]),
      [[again, 'STILL_TRIED']],
    )
    assert.deepEqual(retried(db), [2])
    assert.equal((await jobq(['retry', '--all', '--again'])).stdout, '3\n')
    assert.deepEqual(retried(db), [again, 2])
  })

  test('a job that failed three times is retried once; one that was done at last, or cancelled, not at all', async t => {
    const site = new Workplace(t, {
      Fails: `export default {maxRetries: 2, work() { throw new Error('no') }}`,
      Mends: `export default {maxRetries: 2, work({retryCnt}) { if (retryCnt === 0) throw new Error('not yet') }}`,
      Later: `export default {maxRetries: 2, retryDelay: 3600, work() { throw new Error('not yet') }}`,
    })
    const [, , later] = await site.enqueue(['Fails'], ['Mends'], ['Later'])
    await site.drain()
    await site.run(['cancel', String(later)])
    assert.equal(site.count('exception_log'), 5)
    const {stdout} = await site.run(['retry', '--all', '--json'])
    assert.deepEqual(
      JSON.parse(stdout).retried.map(({func}: {func: string}) => func),
      ['Fails'],
    )
    assert.equal((await site.run(['retry', '--all'])).stderr, 'there is nothing to retry\n')
  })

  test('nothing to retry is nothing wrong', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db, {retried: 1})
    const {stdout, stderr, code} = await jobq(['retry', '--all'])
    assert.deepEqual([stdout, stderr, code], ['', 'there is nothing to retry\n', 0])
    assert.deepEqual(JSON.parse((await jobq(['retry', '--all', '--json'])).stdout), {
      retried: [],
      refused: [],
    })
    const onTerminal = await jobq(['retry', '--all'], {tty: 'stdout'})
    assert.equal(onTerminal.stderr, 'there is nothing to retry\n')
  })

  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    test(`${signal} ends it between two retries, with ${status}`, async t => {
      const {jobq, db} = await prepared(t)
      db.transaction(() => {
        for (let i = 0; i < 20_000; i++) seedException(db)
      })()
      const retry = jobq.start(['retry', '--all'])
      await retry.prints(/^1\n/)
      retry.kill(signal)
      const {stdout, stderr, code} = await retry.exited
      assert.equal(code, status)
      assert.equal(stderr, '')
      const printed = stdout.split('\n').length - 1
      assert.ok(printed < 20_000, 'it was cut short')
      assert.equal(jobs(db).length, printed)
      assert.equal(retried(db).length, printed)
    })

  test('cut short under --json, it says what it has done', async t => {
    const {jobq, db} = await prepared(t)
    db.transaction(() => {
      for (let i = 0; i < 20_000; i++) seedException(db, {uniqkey: i === 0 ? 'k' : null})
    })()
    seedJob(db, {uniqkey: 'k'})
    const retry = jobq.start(['retry', '--all', '--json'])
    await retry.prints(/refused/) // the first one, on stderr
    retry.kill('SIGINT')
    const {stdout, code} = await retry.exited
    assert.equal(code, 130)
    assert.equal(JSON.parse(stdout).retried.length, retried(db).length)
  })
})

test('an id of another database is refused, and the others are retried', async t => {
  const {jobq, db} = await prepared(t)
  for (let i = 0; i < 2; i++) seedException(db)
  const {stdout, stderr, code} = await jobq(['retry', '2:1', '1:2'])
  assert.deepEqual([code, stdout], [4, '1\n'])
  assert.equal(stderr, 'jobq: exception 2:1: no database 2 (there is one, which is 1)\n')
  assert.deepEqual(retried(db), [2])
  const rehearsed = await jobq(['retry', '2:1', '--dry-run'])
  assert.deepEqual([rehearsed.code, rehearsed.stdout], [4, ''])
})

describe('retry: what can not be meant', () => {
  const refused: [args: string[], says: RegExp][] = [
    [[], /expected ids of exceptions, --job or --all, got none/],
    [['--all', '1'], /expected ids of exceptions, --job or --all, got ids and --all/],
    [['1', '--job', '5'], /got ids and --job/],
    [['--job', '5', '--all'], /got --job and --all/],
    [['x'], /EXCEPTION_ID: expected a whole number .*"x"/],
    [['1', '2x'], /EXCEPTION_ID: .*"2x"/],
    [['-1'], /EXCEPTION_ID: .*"-1"/],
    [['0'], /EXCEPTION_ID: .*"0"/],
    [['1', '--since', '2h'], /--since: expected --all with it/],
    [['1', '--func', 'Notify'], /--func: expected --all with it/],
    [['--all', '--since', 'lately'], /--since: expected a time/],
    [['--all', '--priority', 'high'], /--priority: expected a whole number/],
    [['--all', '--priority', '4294967296'], /--priority: /],
    [['--all', '--delay', '5 min'], /--delay: /],
  ]
  for (const [args, says] of refused)
    test(args.join(' ') || 'nothing, and none from standard input', async t => {
      const jobq = jobqIn(t)
      const {code, stdout, stderr} = await jobq(['retry', ...args], args.length > 0 ? {} : {stdin: '1\n'})
      assert.match(stderr, says)
      assert.match(stderr, /^jobq: [^\n]*\n$/, 'one line')
      assert.equal(stdout, '')
      assert.equal(code, 2)
    })

  test('a function that was never enqueued', async t => {
    const {jobq, db} = await prepared(t)
    seedException(db)
    const {code, stdout, stderr} = await jobq(['retry', '--all', '--func', 'Notfy'])
    assert.equal(code, 4)
    assert.equal(stdout, '')
    assert.match(stderr, /"Notfy"/)
    assert.deepEqual(retried(db), [])
  })

  test('under --json the mistake is a document', async t => {
    const {stdout, stderr, code} = await jobqIn(t)(['retry', '--json'])
    assert.equal(code, 2)
    assert.equal(stderr, '')
    assert.equal(JSON.parse(stdout).error.code, 'USAGE')
  })
})
