/** What a worker's process finds where it is started, and what it may say to its dispatcher of another's job. */
import assert from 'node:assert/strict'
import {chmodSync, readdirSync, readFileSync} from 'node:fs'
import {after, describe, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {Home} from '../support/home.ts'
import {RUN_JS} from '../support/jobq.ts'
import {freePort} from '../support/machine.ts'
import {answersPostgres} from '../support/postgres.ts'
import {preparedPostgres} from '../support/prepared.ts'
import {postgresServer} from '../support/servers.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

/** jobq with its three streams only: what this process was started with is not jobq's doing. */
const WITH_THREE = `for fd in /proc/self/fd/*; do fd=\${fd##*/}; [ $fd -gt 2 ] && eval "exec $fd>&-"; done
exec '${process.execPath}' "$0" "$@"`
const COUNT = `globalThis.runs = (globalThis.runs ?? 0) + 1`

test('of two live children, one can not end the job of the other: it is killed, told, and its own job counts a death', async t => {
  const site = new Workplace(t, {
    // Both children have had one: from here on each is in its second run
    'Both.mjs': `import {readFileSync} from 'node:fs'
      import {note} from './_note.mjs'
      export default {async work() {
        ${COUNT}
        note({pid: process.pid})
        while (readFileSync(process.env.NOTES, 'utf8').split('\\n').length < 3) await new Promise(setImmediate)
      }}`,
    'Victim.mjs': `import {existsSync} from 'node:fs'
      import {note} from './_note.mjs'
      export default {setJobStatus: true, async work() {
        ${COUNT}
        note({victim: globalThis.runs})
        while (!existsSync(process.env.HOME + '/go')) await new Promise(resolve => setTimeout(resolve, 20))
        note({ended: true})
      }}`,
    // First of its own child's run before this, then, in a child of its own, of the number that the victim's run has
    'Liar.mjs': `import {writeSync} from 'node:fs'
      import {note} from './_note.mjs'
      export default {work() {
        ${COUNT}
        const run = globalThis.runs === 2 ? 1 : 2
        note({own: globalThis.runs, said: run})
        const outcome = {kind: 'aborted', reason: 'a lie'}
        writeSync(3, JSON.stringify({kind: 'ended', run, outcome, rss: 0}) + '\\n')
        return new Promise(() => setInterval(() => {}, 1000))
      }}`,
  })
  await site.enqueue(['Both'], ['Both'])
  const work = site.work('--max-workers', '2', '--min-spare-workers', '2')
  await work.prints(/Both completed.*Both completed/s)
  assert.equal(new Set(site.notes<{pid: number}>().map(({pid}) => pid)).size, 2)
  await site.enqueue(['Victim'])
  await until('the victim has begun', () => site.notes<{victim?: number}>().some(({victim}) => victim === 2))
  await site.enqueue(['Liar'])
  await work.prints(/Liar failed/)
  const lies = site.notes<{own?: number; said?: number}>().filter(({said}) => said !== undefined)
  assert.deepEqual(
    lies.map(({own, said}) => [own, said]),
    [
      [2, 1],
      [1, 2],
      [1, 2],
    ],
  )
  const wrote = (run: number) =>
    `its process was killed: it wrote {"kind":"ended","run":${run},"outcome":{"kind":"aborted","reason":"a lie"},"rss":0} where workers speak to jobq (descriptor 3)`
  const [message, ...more] = site.messages()
  assert.deepEqual(more, [])
  assert.ok(message!.startsWith(`its worker died 3 times: 1. ${wrote(1)}`), message)
  for (const number of [2, 3]) assert.ok(message!.includes(`${number}. ${wrote(2)}`), message)
  assert.doesNotMatch(work.stderr, /Victim (completed|aborted|died|failed|lost)/)
  assert.deepEqual(site.column('SELECT name FROM job JOIN func ON func.id = func_id'), ['Victim'])
  site.write('go', '')
  await work.prints(/Victim completed/)
  assert.deepEqual(site.column('SELECT status FROM job_status'), ['completed'])
  work.kill('SIGTERM')
  assert.equal((await work.exited).code, 0)
})

interface Found {
  env: Record<string, string>
  fds: Record<string, string>
  hasTerminal: boolean
}

describe('a worker that is started from a terminal', async () => {
  const server = await postgresServer(answersPostgres)
  if ('missing' in server) {
    test('is not tried', t => t.skip(server.missing))
    return
  }
  after(() => server.stop())

  test('has no descriptor but its own, no terminal, and no password of --db but in JOBQ_DB of an executable', async t => {
    const database = await preparedPostgres(t, server.url)
    const home = new Home({
      after: (end: () => unknown) =>
        t.after(async () => {
          // Who loses its terminal goes on
          for (const {pid} of processesOf(home.folder)) process.kill(Number(pid), 'SIGKILL')
          await end()
        }),
    })
    const queue = await JobQueue.open({db: database.url})
    for (const func of ['Exe', 'Mod']) await queue.enqueue(func)
    await queue.close()
    home.write(
      'workers/Exe',
      `#!/bin/sh
find /proc/$$/fd -type l -fprintf exe.fds ' %f -> %l\\n'; env -0 > exe.env
if (echo seen >/dev/tty) 2>/dev/null; then echo yes; else echo no; fi > exe.tty
touch exe.done; while [ ! -e go ]; do sleep 0.1; done`,
    )
    chmodSync(home.path('workers/Exe'), 0o755)
    home.write(
      'workers/Mod.mjs',
      `import {existsSync, readdirSync, readlinkSync, writeFileSync, openSync} from 'node:fs'
       export default {async work() {
         const fds = {}
         for (const fd of readdirSync('/proc/self/fd')) try { fds[fd] = readlinkSync('/proc/self/fd/' + fd) } catch {}
         let hasTerminal = true
         try { openSync('/dev/tty', 'w') } catch { hasTerminal = false }
         writeFileSync('mod.json', JSON.stringify({env: process.env, fds, hasTerminal}))
         writeFileSync('mod.done', '')
         while (!existsSync('go')) await new Promise(resolve => setTimeout(resolve, 50))
       }}`,
    )
    const url = new URL(database.url)
    url.password = 'hunter2'
    const flags = ['--log', 'log', '--admin-port', String(await freePort()), '--max-workers', '2']
    const work = home.start(['work', '--db', url.href, '--max-jobs', '2', ...flags], {
      ...{tty: 'all', columns: 200, env: {JOBQ_MAX_TIME: '1h'}, command: ['bash', '-c', WITH_THREE, RUN_JS]},
    })
    const names = () => readdirSync(home.folder)
    await until('both run', () => names().includes('exe.done') && names().includes('mod.done'), 20_000)

    const exe: Found = {
      env: Object.fromEntries(
        (
          home
            .read('exe.env')
            .toString()
            .match(/[^\0]+/g) ?? []
        ).map(entry => entry.split(/=(.*)/s)),
      ),
      fds: Object.fromEntries(
        [
          ...home
            .read('exe.fds')
            .toString()
            .matchAll(/ (\d+) -> (.*)$/gm),
        ].map(([, fd, to]) => [fd, to]),
      ),
      hasTerminal: home.read('exe.tty').toString() !== 'no\n',
    }
    const mod: Found = JSON.parse(home.read('mod.json').toString())
    // A shell keeps its script open
    const others = Object.entries(exe.fds).filter(
      ([fd, to]) => Number(fd) > 2 && to !== home.path('workers/Exe'),
    )
    assert.deepEqual(others, [], JSON.stringify(exe.fds))
    for (const fd of ['1', '2']) assert.match(exe.fds[fd]!, /^(pipe|socket):/)
    const sockets = Object.entries(mod.fds).filter(([, to]) => to.startsWith('socket:'))
    assert.deepEqual(
      sockets.map(([fd]) => fd),
      ['1', '2', '3'],
    )
    assert.equal(mod.fds[0], '/dev/null')
    for (const {fds, hasTerminal} of [exe, mod]) {
      assert.equal(hasTerminal, false)
      assert.doesNotMatch(Object.values(fds).join('\n'), /\/dev\/(pts|tty)|\/log$/)
    }

    const own = (env: Found['env']) => Object.entries(env).filter(([name]) => /^(JOBQ|NODE)_/.test(name))
    assert.deepEqual(Object.fromEntries(own(exe.env)), {
      ...{JOBQ_DB: url.href, JOBQ_ID: '1', JOBQ_FUNC: 'Exe', JOBQ_UNIQKEY: '', JOBQ_PRIORITY: '0'},
      ...{
        JOBQ_PROGRESS: '1',
        JOBQ_RETRY_CNT: '0',
        JOBQ_MAX_TIME: '1h',
        NODE_COMPILE_CACHE: exe.env.NODE_COMPILE_CACHE,
      },
    })
    assert.deepEqual(
      own(mod.env).map(([name]) => name),
      ['NODE_COMPILE_CACHE', 'JOBQ_MAX_TIME'],
    )
    // Of all processes here, the one that the terminal's shell has started jobq from is the user's own doing
    const told = processesOf(home.folder).filter(({text}) => text.includes('hunter2'))
    assert.deepEqual(
      told.filter(({text}) => !text.includes('JOBQ_ID=1') && !/stty|script/.test(text)),
      [],
    )
    assert.equal(
      told.some(({text}) => text.includes('JOBQ_ID=1')),
      true,
    )
    home.write('go', '')
    assert.equal((await work.exited).code, 0)
    for (const text of [work.stdout, work.stderr, home.read('log').toString()]) {
      assert.doesNotMatch(text, /hunter2/)
      assert.doesNotMatch(text, /^seen/m)
    }
  })

  test('nothing of a password is left where jobq is aborted and cores are off', async t => {
    const home = new Home(t)
    home.write('jobq.config.json', '{}')
    const database = await preparedPostgres(t, server.url)
    const url = new URL(database.url)
    url.password = 'hunter2'
    const command = ['/bin/sh', '-c', 'ulimit -c 0; exec "$0" "$@"', process.execPath]
    const work = home.start(['work', '--exec', 'F=true'], {
      ...{command: [...command, RUN_JS], env: {JOBQ_DB: url.href}},
    })
    await work.prints(/works F/)
    const before = readdirSync(home.folder)
    work.kill('SIGABRT')
    const {signal, stdout, stderr} = await work.exited
    assert.equal(signal, 'SIGABRT')
    assert.deepEqual(readdirSync(home.folder), before)
    assert.doesNotMatch(stdout + stderr, /hunter2/)
  })
})

/** Command line and environment of whoever has this home. */
function processesOf(folder: string): {pid: string; text: string}[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const [line, env] = ['cmdline', 'environ'].map(name => readFileSync(`/proc/${pid}/${name}`, 'latin1'))
        return env!.includes(`HOME=${folder}\0`) ? [{pid, text: `${line} ${env}`}] : []
      } catch {
        return [] // gone
      }
    })
}
