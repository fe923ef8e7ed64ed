/** Executables as workers: bytes on stdin, facts in the environment, an exit status for an answer. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {createHash} from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import {describe, test} from 'node:test'
import {RUN_JS} from '../support/jobq.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

interface Status {
  status: string
}

const statuses = (site: Workplace) => site.rows<Status>('SELECT status FROM job_status ORDER BY id')

describe('how an executable ended', {concurrency: 2}, () => {
  test('0 is completed, 100 is abort whatever retries are left, anything else has failed', async t => {
    const site = new Workplace(t, {
      Done: '#!/bin/sh\n# jobq: set-job-status\necho fine >&2',
      Abort: '#!/bin/sh\n# jobq: max-retries=9 set-job-status\necho nothing to do here >&2; exit 100',
      Silent: '#!/bin/sh\n# jobq: max-retries=9\nexit 100',
      Fails: '#!/bin/sh\n# jobq: set-job-status\necho first; echo second >&2; echo third >&2; exit 3',
      Killed: '#!/bin/sh\nkill -SEGV $$',
    })
    await site.enqueue(['Done'], ['Abort', {uniqkey: 'a'}], ['Silent'], ['Fails', {arg: {n: 1}}], ['Killed'])
    const {code, stdout, stderr} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^1 completed, 2 failed, 2 aborted/m)
    assert.equal(site.count('job'), 0)
    assert.deepEqual(statuses(site), [{status: 'completed'}, {status: 'abort'}, {status: 'failed'}])
    assert.deepEqual(site.messages(), [
      'nothing to do here',
      'exited with status 100 (abort)',
      'exited with status 3\nsecond\nthird',
      'was killed by SIGSEGV',
    ])
    assert.equal(site.exceptions()[0]!.uniqkey, 'a')
    assert.equal(site.exceptions()[2]!.arg, '{"n":1}')
    assert.match(stderr, /4 Fails \| first$/m)
    assert.match(stderr, /4 Fails failed \S+ exited with status 3$/m)
  })

  test('a job without an argument has an empty standard input, whatever stands for it; bytes are bytes', async t => {
    const counts = '#!/bin/sh\necho "read $(wc -c | tr -d " ")"'
    const site = new Workplace(t, {
      Counts: counts,
      Bytes: counts,
    })
    site.write('jobq.config.json', JSON.stringify({funcs: {Bytes: {serializer: 'none'}}}))
    await site.enqueue(
      ['Counts'],
      ['Counts', {serializer: 'msgpack'}],
      ['Counts', {serializer: 'none'}],
      ['Counts', {arg: ''}],
      ['Bytes', {arg: 'null', serializer: 'none'}],
    )
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    assert.deepEqual(
      [...stderr.matchAll(/(\d) \w+ \| read (\d+)$/gm)].map(([, id, bytes]) => `${id}: ${bytes}`).sort(),
      ['1: 0', '2: 0', '3: 0', '4: 2', '5: 4'],
    )
  })

  test('a failure is tried again while retries are left, after its delay', async t => {
    const site = new Workplace(t, {
      Again: '#!/bin/sh\n# jobq: max-retries=2\necho "attempt $JOBQ_RETRY_CNT" >&2; exit 1',
      Later: '#!/bin/sh\n# jobq: max-retries=1 retry-delay=1h30m\nexit 1',
    })
    await site.enqueue(['Again'], ['Later'])
    const {code} = await site.drain()
    assert.equal(code, 5)
    assert.deepEqual(
      site.messages().filter(message => message.includes('attempt')),
      [0, 1, 2].map(n => `exited with status 1\nattempt ${n}`),
    )
    const [{wait, ...row}] = site.rows<{wait: number}>(`SELECT retry_cnt, grabbed_until, run_after -
      (SELECT max(exception_time) FROM exception_log WHERE exception_log.func_id = job.func_id) AS wait FROM job`) as [
      {wait: number},
    ]
    assert.deepEqual(row, {retry_cnt: 1, grabbed_until: 0})
    assert.equal(wait, 5400)
  })

  test('the configuration has the last word, and the only one for --exec', async t => {
    const site = new Workplace(t, {Again: '#!/bin/sh\n# jobq: max-retries=9\nexit 1'})
    site.write(
      'jobq.config.json',
      JSON.stringify({funcs: {Again: {maxRetries: 1}, Line: {maxRetries: 2, set_job_status: true}}}),
    )
    await site.enqueue(['Again'], ['Line'])
    await site.drain('--exec', 'Line=echo "no $JOBQ_FUNC" >&2; exit 7')
    assert.equal(site.messages().filter(message => message === 'exited with status 1').length, 2)
    assert.equal(site.messages().filter(message => message === 'exited with status 7\nno Line').length, 3)
    assert.equal(statuses(site).length, 3)
  })

  test('exception_log gets the end of a long stderr; the log all of it', async t => {
    const site = new Workplace(t, {
      Long: '#!/bin/sh\ni=0; while [ $i -lt 3000 ]; do echo "line $i" >&2; i=$((i+1)); done; exit 1',
      Bytes: `#!/bin/sh\nprintf 'bad \\377\\000 bytes' >&2; exit 1`,
    })
    await site.enqueue(['Long'], ['Bytes'])
    const {stderr} = await site.drain()
    const [long, bytes] = site.messages()
    assert.ok(long!.length <= 4096 + 30)
    assert.ok(long!.endsWith('line 2998\nline 2999'))
    assert.equal(stderr.match(/Long \| line \d+$/gm)?.length, 3000)
    assert.match(bytes!, /^exited with status 1\nbad .*bytes$/s)
  })

  test('what it left behind in the background does not hold its end', async t => {
    const site = new Workplace(t, {Leaves: '#!/bin/sh\nsleep 300 & echo $!'})
    await site.enqueue(['Leaves'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 0)
    process.kill(Number(/Leaves \| (\d+)/.exec(stderr)![1]), 'SIGKILL')
  })

  test('one that can not be started is a failed job, not a dead dispatcher', async t => {
    const site = new Workplace(t, {Good: '#!/bin/sh\n', Bad: '#!/bin/sh\n'})
    await site.enqueue(['Bad', {uniqkey: 'k'}], ['Good'])
    // As Perl may write it, and as no environment variable can hold it
    site.rows(`UPDATE job SET uniqkey = 'a' || char(0) || 'b' WHERE uniqkey = 'k'`)
    const {code, stdout} = await site.drain()
    assert.match(stdout, /^1 completed, 1 failed/m)
    assert.equal(code, 5)
    const work = site.work('--debug', '--max-jobs', '2')
    await work.prints(/nothing ready/)
    site.write('workers/Bad', '#!/no/such/interpreter\n', 0o755)
    await site.enqueue(['Bad'], ['Good'])
    assert.equal((await work.exited).code, 0)
    assert.match(work.stderr, /4 Good completed/)
    assert.match(site.messages()[1]!, /^its worker could not be started \(.*ENOENT/)
  })
})

describe('an executable that is not there at the moment', {concurrency: 2}, () => {
  const SCRIPT = '#!/bin/sh\n# jobq: max-retries=1 retry-delay=1\necho "try $JOBQ_RETRY_CNT"'

  const cases: [what: string, code: string, away: (site: Workplace) => () => void][] = [
    ['its folder was moved', 'ENOENT', site => moved(site.path('workers'), site.path('away'))],
    [
      'a folder is none any more',
      'ENOTDIR',
      site => {
        const back = moved(site.path('workers'), site.path('away'))
        site.write('workers', '')
        return () => {
          rmSync(site.path('workers'))
          back()
        }
      },
    ],
    [
      'it has lost its run bit',
      'EACCES',
      site => {
        chmodSync(site.path('workers/Some'), 0o644)
        return () => chmodSync(site.path('workers/Some'), 0o755)
      },
    ],
    [
      'it is a link to itself',
      'ELOOP',
      site => {
        const back = moved(site.path('workers/Some'), site.path('away'))
        symlinkSync('Some', site.path('workers/Some'))
        return back
      },
    ],
    [
      'it is empty, which a shell would run well',
      'it is empty',
      site => {
        const back = moved(site.path('workers/Some'), site.path('away'))
        site.write('workers/Some', '', 0o755)
        return back
      },
    ],
    [
      'it is being written',
      'ETXTBSY',
      site => {
        const fd = openSync(site.path('workers/Some'), 'a')
        return () => closeSync(fd)
      },
    ],
  ]
  for (const [what, code, away] of cases)
    test(`${what}: that is told once, its jobs wait, and others go on`, async t => {
      const site = new Workplace(t, {Some: SCRIPT})
      const work = site.work('--debug', '--max-jobs', '3', '--exec', 'Other=true')
      await work.prints(/works .*Some/)
      const back = away(site)
      await site.enqueue(['Some'], ['Some'])
      await work.prints(
        new RegExp(
          `workers/Some can't be started \\(.*${code}\\): jobs of Some wait, .*; trying again later$`,
          'm',
        ),
      )
      await site.enqueue(['Other'])
      await work.prints(/3 Other completed/)
      await work.prints(code === 'ETXTBSY' ? /(Some was given back[\s\S]*){3}/ : /Some was given back/)
      back()
      const {code: status, stderr} = await work.exited
      assert.equal(status, 0)
      assert.equal(stderr.match(/Some \| try 0$/gm)?.length, 2, stderr)
      assert.equal(stderr.match(/can't be started/g)?.length, 1, stderr)
      assert.equal(site.count('exception_log'), 0)
    })

  test('counts as no start of a function whose starts are limited', async t => {
    const site = new Workplace(t, {Some: SCRIPT.replace('max-retries=1', 'rate=1/1h')})
    const work = site.work('--max-jobs', '1')
    await work.prints(/works .*Some/)
    const back = moved(site.path('workers'), site.path('away'))
    await site.enqueue(['Some'])
    await work.prints(/Some can't be started .*ENOENT/)
    back()
    const {code, stderr} = await work.exited
    assert.equal(code, 0, stderr)
    assert.match(stderr, /Some completed/)
  })

  for (const [flag, others, status] of [
    ['--drain', 2, 2],
    ['--once', 1, 0],
    ['--job=1', 0, 2],
  ] as const)
    test(`does not keep ${flag} waiting: what else is ready is worked, and the job is as it was`, async t => {
      const site = new Workplace(t, {Some: SCRIPT, Other: '#!/bin/sh\n'})
      await site.enqueue(['Some', {priority: 1}], ['Other'], ['Other'])
      const before = site.rows('SELECT * FROM job WHERE id = 1')
      const goes = `try { renameSync('workers/Some', 'away') } catch {}`
      site.write(
        'jobq.config.mjs',
        `import {renameSync} from 'node:fs'
        export default {plugins: {goes: {start: ({queue}) => queue?.on('grab', () => { ${goes} })}}}`,
      )
      const {code, stderr} = await site.work(flag).exited
      assert.equal(stderr.match(/Other completed/g)?.length ?? 0, others, stderr)
      assert.equal(code, status, stderr)
      if (status === 2)
        assert.match(stderr, /^jobq: \S+Some can't be started \(.*ENOENT.*\) \(see that it is there, .*\)$/m)
      assert.deepEqual(site.rows('SELECT * FROM job WHERE id = 1'), before)
      assert.equal(site.count('exception_log'), 0)
    })

  test('a command line that finds no program has failed', async t => {
    const site = new Workplace(t)
    await site.enqueue(['Line'])
    assert.equal((await site.drain('--exec', 'Line=exec /no/such/program')).code, 5)
    assert.match(site.messages()[0]!, /^exited with status 127\n/)
  })

  function moved(from: string, to: string): () => void {
    renameSync(from, to)
    return () => renameSync(to, from)
  }
})

/** A user who has no other processes: all are counted. */
const LIMITED_USER = 1_000_000 + process.pid
const LIMITED = [`--reuid=${LIMITED_USER}`, '--clear-groups', 'prlimit', '--nproc=60']

function cantLimitProcesses(): string | false {
  if (process.getuid?.() !== 0) return 'needs a user of its own (root)'
  const {status} = spawnSync('setpriv', [...LIMITED, process.execPath, RUN_JS, '--version'])
  return status === 0 ? false : 'needs setpriv and prlimit, and a checkout that others may read'
}

/** Who waits for a writer sees one come and go. */
function letGo(fifo: string): true {
  try {
    closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK))
  } catch {} // no one waits
  return true
}

describe('a machine that has no room for processes', () => {
  const limited = (site: Workplace, descriptors: number, ...flags: string[]) =>
    site.spawn('/bin/sh', ['-c', `ulimit -n ${descriptors}; exec jobq work --drain "$@"`, 'sh', ...flags])
      .exited

  test('charges no job for it: as many run as it has room for, the others wait, and it is told once', async t => {
    const site = new Workplace(t)
    await site.withQueue(queue => queue.enqueueMany(Array.from({length: 100}, () => ({func: 'Nap'}))))
    const {code, stdout, stderr} = await limited(site, 46, '--max-workers', '20', '--exec', 'Nap=sleep 0.05')
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^100 completed in /m)
    assert.equal(stderr.match(/ jobq: the machine has room for \d+ executables? at once/g)?.length, 1, stderr)
    assert.equal(site.count('exception_log'), 0)
  })

  test('leaves jobs room for processes of their own', {skip: cantLimitProcesses()}, async t => {
    const site = new Workplace(t, {
      // Those that are there when the limit is met have no process of their own yet
      Forks: `#!/bin/sh
: > "$HOME/started.$JOBQ_ID"
[ -e "$HOME/go" ] || read line < "$HOME/fifo"
[ $((JOBQ_ID % 2)) = 0 ] || sleep 0.5
exit 0`,
    })
    await site.enqueue(...Array.from({length: 200}, () => ['Forks'] as [string]))
    spawnSync('mkfifo', [site.path('fifo')])
    spawnSync('chown', ['-R', String(LIMITED_USER), site.folder])
    const work = site.spawn('setpriv', [...LIMITED, 'jobq', 'work', '--drain', '--max-workers', '100'])
    await work.prints(
      /room for \d+ executables at once .*so that they can start processes themselves, \d+ run/,
    )
    const before = readdirSync(site.folder).flatMap(name => /^started\.(\d+)/.exec(name)?.[1] ?? [])
    site.write('go', '')
    await until('all are worked', () => letGo(site.path('fifo')) && work.hasExited)
    const {stdout, stderr} = await work.exited
    const failed = [...stderr.matchAll(/ (\d+) Forks failed/g)].map(([, id]) => id!)
    const after = failed.filter(id => !before.includes(id))
    assert.deepEqual(after, [], stderr)
    assert.match(stdout, new RegExp(`^${200 - failed.length} completed`, 'm'))
  })

  test('is named as the reason, wherever it is met first', async t => {
    const site = new Workplace(t, {Script: '#!/bin/sh\n', Module: 'export default {work() {}}'})
    await site.enqueue(['Script'], ['Module'])
    for (const descriptors of [24, 25, 26, 28, 30, 32]) {
      const {code, stderr} = await limited(site, descriptors)
      assert.equal(code, 1, `${descriptors}: ${stderr}`)
      assert.match(stderr, /^jobq: .*too many open files.*ulimit -n/m, `${descriptors}`)
    }
  })
})

const CANT_MOUNT =
  spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status !== 0 &&
  'no file system can be mounted here'

describe('an argument that there is no room for', {skip: CANT_MOUNT}, () => {
  /** @param more what is done while it works */
  const workWithin = (site: Workplace, size: string, flags: string, more = '') =>
    site.spawn('unshare', [
      '-rm',
      'sh',
      '-c',
      `for full in /dev/shm "$TMPDIR"; do mount -t tmpfs -o size=${size} tmpfs $full || exit 99; done
jobq work ${flags} & ${more} wait $!`,
    ])
  const large = (bytes: number) => ({arg: Buffer.alloc(bytes, 'jobq'), serializer: 'none'}) as const

  test('waits until there is, told once; jobs whose arguments fit go on', async t => {
    const counts = '#!/bin/sh\necho "read $(wc -c)"'
    const site = new Workplace(t, {Large: counts, Small: counts})
    await site.enqueue(...Array.from({length: 6}, () => ['Large', large(1 << 20)] as ['Large', object]))
    await site.enqueue(['Small', {arg: 1}], ['Small'], ['Small', {arg: 2}])
    const until = 'until [ -e go ]; do sleep 0.01; done; mount -o remount,size=10m "$TMPDIR";'
    const work = workWithin(site, '64k', '--max-jobs 9 --max-workers 2', until)
    await work.prints(/(Small \| read[\s\S]*){3}/)
    const told =
      / jobq: can't keep Large's argument of 1048576 bytes in \/dev\/shm or \S+ \(ENOSPC.*jobs of Large wait, .*let TMPDIR name another/g
    await work.prints(told)
    site.write('go', '')
    const {code, stderr} = await work.exited
    assert.equal(code, 0, stderr)
    assert.equal(stderr.match(/Large \| read 1048576$/gm)?.length, 6, stderr)
    assert.equal(stderr.match(told)?.length, 1, stderr)
    assert.doesNotMatch(stderr, /the machine has room/)
    assert.equal(site.count('exception_log'), 0)
  })

  test('waits for those that have it; as many run at once as fit', async t => {
    const site = new Workplace(t, {Some: '#!/bin/sh\n'})
    await site.enqueue(...Array.from({length: 20}, () => ['Some', large(40_000)] as ['Some', object]))
    for (const [left, flags] of [
      [10, '--max-jobs 10 --max-workers 5'],
      [0, '--drain --prefetch 4 --max-workers 5'],
    ] as const) {
      const {code, stderr} = await workWithin(site, '64k', flags).exited
      assert.equal(code, 0, stderr)
      assert.equal(site.count('job'), left)
    }
    assert.equal(site.count('exception_log'), 0)
  })
})

describe('what an executable is told', {concurrency: 2}, () => {
  test('its job, in the environment', async t => {
    const site = new Workplace(t, {
      Env: `#!/bin/sh\nenv | grep ^JOBQ_ | sort > "$HOME/env.$JOBQ_ID"`,
    })
    await site.enqueue(['Env', {uniqkey: 'photo:9 "x"', priority: 4_294_967_295}], ['Env'])
    await site.enqueue(['Env', {context: {traceparent: '00-a', 'x y': "it's"}}])
    site.rows('UPDATE job SET retry_cnt = 3 WHERE id = 2')
    assert.equal((await site.drain()).code, 0)
    const read = (id: number) => readFileSync(site.path(`env.${id}`), 'utf8')
    assert.equal(
      read(1),
      `JOBQ_DB=${site.db}
JOBQ_FUNC=Env
JOBQ_ID=1
JOBQ_PRIORITY=4294967295
JOBQ_PROGRESS=1
JOBQ_RETRY_CNT=0
JOBQ_UNIQKEY=photo:9 "x"
`,
    )
    assert.match(read(2), /JOBQ_PRIORITY=0\nJOBQ_PROGRESS=1\nJOBQ_RETRY_CNT=3\nJOBQ_UNIQKEY=\n$/)
    assert.match(read(3), /^JOBQ_CONTEXT=\{"traceparent":"00-a","x y":"it's"\}$/m)
  })

  test('the database is absolute, so that a worker may enqueue from wherever it goes', async t => {
    const site = new Workplace(t, {
      First: '#!/bin/sh\ncd /\nexec jobq enqueue Second --arg "$(cat)" --priority 3',
      Second: '#!/bin/sh\ncat > "$HOME/second"',
    })
    const env = {JOBQ_DB: ''}
    await site.run(['enqueue', 'First', '--arg', '{"n":[1,2]}', '--db', 'jobs.db'], {env})
    const {code, stderr} = await site.run(['work', '--drain', '--db', 'jobs.db'], {env})
    assert.equal(code, 0, stderr)
    assert.match(stderr, /1 First \| 2$/m)
    assert.equal(readFileSync(site.path('second'), 'utf8'), '{"n":[1,2]}')
  })

  test('its argument, byte for byte', async t => {
    const site = new Workplace(t, {Save: '#!/bin/sh\ncat > "$HOME/arg.$JOBQ_ID"'})
    const everyByte = Uint8Array.from({length: 512}, (_, i) => i % 256)
    const json = '{"big": 12345678901234567890,\n "space" : "하늘" }'
    await site.enqueue(
      ['Save', {arg: everyByte, serializer: 'none'}],
      ['Save', {arg: json, serializer: 'none'}],
      ['Save', {serializer: 'none'}],
      ['Save', {arg: '', serializer: 'none'}],
      ['Save', {arg: {a: [1, null]}, serializer: 'msgpack'}],
    )
    // As Perl's SQLite driver stores bytes: as TEXT
    site.rows(`UPDATE job SET arg = CAST(arg AS TEXT) WHERE id = 1`)
    assert.equal((await site.drain()).code, 0)
    const read = (id: number) => readFileSync(site.path(`arg.${id}`))
    assert.deepEqual(read(1), Buffer.from(everyByte))
    assert.equal(read(2).toString(), json)
    assert.equal(read(3).length, 0)
    assert.equal(read(4).length, 0)
    assert.equal(read(5).toString('hex'), '81c401619201c0')
  })

  test('all of it, though jobq work is killed as soon as the executable has started', async t => {
    const site = new Workplace(t, {
      // Away from its process group, which is killed as well
      Late: `#!/bin/sh
exec setsid sh -c 'echo started; until [ -e "$HOME/go" ]; do sleep 0.01; done; wc -c > "$HOME/read"; mv "$HOME/read" "$HOME/done"'`,
    })
    await site.enqueue(['Late', {arg: Buffer.alloc(1 << 20, 'jobq'), serializer: 'none'}])
    const work = site.work()
    await work.prints(/Late \| started/)
    work.kill('SIGKILL')
    await work.exited
    site.write('go', '')
    await until('it has read its argument', () => existsSync(site.path('done')))
    assert.equal(Number(readFileSync(site.path('done'), 'utf8')), 1 << 20)
  })

  test('10 MB of it, whether it reads them or not', async t => {
    const site = new Workplace(t, {
      Reads: '#!/bin/sh\nsha256sum',
      Ignores: '#!/bin/sh\nexit 0',
      Closes: '#!/bin/sh\nexec 0<&-\nsleep 0.05',
      Some: '#!/bin/sh\nhead -c 5\n',
    })
    const arg = Buffer.alloc(10 << 20, 'jobq')
    await site.enqueue(
      ...['Reads', 'Ignores', 'Closes', 'Some', 'Reads'].map(
        func => [func, {arg, serializer: 'none'}] as [string, object],
      ),
    )
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    const hash = createHash('sha256').update(arg).digest('hex')
    assert.equal(stderr.match(new RegExp(`Reads \\| ${hash}`, 'g'))?.length, 2)
    assert.match(stderr, /Some \| jobqj$/m)
  })
})
