/** The prefork manager: spare children, recycling, reload, the scoreboard, limits, pauses; with real processes and signals. */
import assert from 'node:assert/strict'
import {execFile, spawn} from 'node:child_process'
import {existsSync, renameSync} from 'node:fs'
import {createConnection} from 'node:net'
import {join} from 'node:path'
import {test} from 'node:test'
import {promisify} from 'node:util'
import {BIN, NAP, Site} from '../support/manager.ts'
import {until} from '../support/until.ts'

const run = promisify(execFile)
const starts = (log: string) => log.match(/child \d+ starts/g)?.length ?? 0

test('children are started as they are needed, and no more than max_workers', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const manager = site.work('--max-workers', '3', '--debug')
  await manager.logs(/nothing ready/)
  assert.equal(starts(manager.log), 1)
  await site.enqueue('Nap', 9, {ms: 200})
  await until('all are done', () => site.record.filter(({word}) => word === 'end').length === 9)
  assert.equal(starts(manager.log), 3)
  assert.equal(await manager.end(), 0)
})

test('min_spare_workers are there before the first job, max_spare_workers stay after the last', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const manager = site.work(
    '--max-workers',
    '4',
    '--min-spare-workers',
    '2',
    '--max-spare-workers',
    '2',
    '--debug',
  )
  await until('two have started', () => starts(manager.log) === 2)
  await site.enqueue('Nap', 8, {ms: 300})
  await until('all are done', () => site.record.filter(({word}) => word === 'end').length === 8)
  await until(
    'two are gone',
    () => (manager.log.match(/child \d+ is gone/g)?.length ?? 0) === starts(manager.log) - 2,
  )
  assert.equal(await manager.end(), 0)
})

test('a child is replaced after max_request_per_child jobs, by one that is ready', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  await site.enqueue('Nap', 300, {ms: 1})
  const drain = site.work('--drain', '--max-workers', '2', '--max-request-per-child', '20')
  assert.equal(await drain.exit(), 0)
  const {record} = site
  const ends = record.filter(({word}) => word === 'end')
  assert.equal(new Set(ends.map(({id}) => id)).size, 300)
  assert.equal(ends.length, 300)
  assert.ok(new Set(ends.map(({pid}) => pid)).size > 2, 'children were replaced')
})

test('a child that has grown past max_child_memory is replaced', async t => {
  const site = new Site(t, {
    'workers/Leak.js': `const kept = []
export default {async work() {
  kept.push(Buffer.alloc(40e6, 1))
  console.log('pid ' + process.pid)
  await new Promise(resolve => setTimeout(resolve, 50)) // another child starts in the time of some jobs
}}`,
  })
  await site.enqueue('Leak', 12)
  const drain = site.work('--drain', '--max-child-memory', '200M', '--max-request-per-child', '0')
  assert.equal(await drain.exit(), 0)
  assert.ok(new Set(drain.log.match(/pid \d+/g)).size > 1, drain.log)
})

test('HUP in the midst of a drain: jobs before and after an edit, none lost or interrupted', async t => {
  const worker = (version: string) => NAP.replace("say('end', job)", `say('${version}', job)`)
  const site = new Site(t, {'workers/Nap.js': worker('old')})
  await site.enqueue('Nap', 60, {ms: 50})
  const drain = site.work('--drain', '--max-workers', '2')
  await until('some are done', () => site.record.some(({word}) => word === 'old'))
  site.write('workers/Nap.js', worker('new'))
  drain.signal('SIGHUP')
  assert.equal(await drain.exit(), 0)
  const words = Map.groupBy(site.record, ({word}) => word)
  assert.equal(words.get('begin')?.length, 60)
  assert.equal(words.get('old')!.length + words.get('new')!.length, 60)
  const firstNew = site.record.findIndex(({word}) => word === 'new')
  assert.ok(
    site.record.slice(firstNew + 4).every(({word}) => word !== 'old'),
    'the old code ran on',
  )
})

test('HUP with a worker file that is broken: told once, the children of before go on', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const manager = site.work('--max-workers', '2')
  await site.enqueue('Nap', 1)
  await until('the first is done', () => site.record.length === 2)
  site.write('workers/Nap.js', 'export default {')
  manager.signal('SIGHUP')
  await manager.logs(/Nap\.js:\d+ can't be loaded/)
  await site.enqueue('Nap', 20, {ms: 100})
  await until('all are done', () => site.record.filter(({word}) => word === 'end').length === 21)
  assert.equal(manager.log.match(/can't be loaded/g)?.length, 1)
  site.write('workers/Nap.js', NAP)
  manager.signal('SIGHUP')
  await site.enqueue('Nap', 1)
  await until('it goes on', () => site.record.filter(({word}) => word === 'end').length === 22)
  assert.equal(await manager.end(), 0)
})

test('HUP reads the configuration anew; a broken one is told and changes nothing', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP, 'jobq.config.json': '{"max_workers": 1}'})
  const manager = site.work('--debug')
  await manager.logs(/nothing ready/)
  site.write('jobq.config.json', '{"max_worker": 3}')
  manager.signal('SIGHUP')
  await manager.logs(/not reloaded: .*unknown key max/i)
  site.write('jobq.config.json', '{"max_workers": 3, "min_spare_workers": 3}')
  manager.signal('SIGHUP')
  await until('three more have started', () => starts(manager.log) >= 4)
  assert.equal(await manager.end(), 0)
})

test('HUP twice: the second one counts, though what the first has read takes longer to load', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP, 'jobq.config.mjs': 'export default {}'})
  const manager = site.work('--debug')
  await manager.logs(/nothing ready/)
  site.write(
    'jobq.config.mjs',
    `import {existsSync, writeFileSync} from 'node:fs'
    writeFileSync('begun', '')
    while (!existsSync('go')) await new Promise(resolve => setTimeout(resolve, 10))
    setTimeout(() => writeFileSync('done', ''), 200)
    export default {workers: {Echo: 'echo the first'}}`,
  )
  manager.signal('SIGHUP')
  await until('the first is being loaded', () => existsSync(join(site.folder, 'begun')))
  site.write('jobq.config.mjs', `export default {workers: {Echo: 'echo the second'}}`)
  manager.signal('SIGHUP')
  await site.enqueue('Echo', 1)
  await manager.logs(/Echo \| the second/)
  site.write('go', '')
  await until('the first is loaded', () => existsSync(join(site.folder, 'done')))
  await site.enqueue('Echo', 1)
  await manager.logs(/Echo completed[\s\S]*Echo completed/)
  assert.doesNotMatch(manager.log, /the first/)
  assert.equal(await manager.end(), 0)
})

test('TTIN and TTOU: one job at once more, one fewer', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const manager = site.work('--debug')
  await manager.logs(/nothing ready/)
  manager.signal('SIGTTIN')
  await manager.logs(/max_workers is 2/)
  manager.signal('SIGTTOU')
  await manager.logs(/max_workers is 1/)
  manager.signal('SIGTTOU')
  await until('it stays at one', () => (manager.log.match(/max_workers is 1/g)?.length ?? 0) === 2)
  assert.equal(await manager.end(), 0)
})

test('USR1 opens the log file anew', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const manager = site.work('--log', 'work.log')
  await site.enqueue('Nap', 1)
  await until(
    'the first is logged',
    () => existsSync(join(site.folder, 'work.log')) && /1 Nap completed/.test(site.read('work.log')),
  )
  renameSync(join(site.folder, 'work.log'), join(site.folder, 'work.log.1'))
  manager.signal('SIGUSR1')
  await until('the new file is there', () => existsSync(join(site.folder, 'work.log')))
  await site.enqueue('Nap', 1)
  await until('the second is logged there', () => /2 Nap completed/.test(site.read('work.log')))
  assert.doesNotMatch(site.read('work.log.1'), /2 Nap/)
  assert.match(manager.log.replace(/^.*npm warn.*$/gm, '').trim(), /^jobq: works Nap .*$/)
  assert.equal(await manager.end(), 0)
})

test("the scoreboard, read by the article's Perl, with five of ten slots busy", async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  await site.enqueue('Nap', 5, {ms: 60_000})
  const port = 20_000 + (process.pid % 10_000)
  const manager = site.work('--max-workers', '10', '--admin-port', String(port), '--shutdown-timeout', '0')
  await until('five are busy', () => site.record.length === 5)
  const client = `use IO::Socket::INET;
    my $socket = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => ${port}, Proto => 'tcp') or die $!;
    print scalar <$socket>; print defined(scalar <$socket>) ? 'more' : 'closed';`
  const line = async () => (await run('perl', ['-e', client])).stdout
  await until('a spare child is there', async () => (await line()).startsWith('A A A A A _ . . . .\n'))
  assert.match(await line(), /closed$/)
  // silent and many clients harm nothing
  const clients = Array.from({length: 200}, () => createConnection(port, '127.0.0.1').on('error', () => {}))
  await site.enqueue('Nap', 1)
  await until('the sixth is done', () => site.record.some(({word}) => word === 'end'))
  for (const socket of clients) socket.destroy()
  assert.equal(await manager.end(), 143)
})

test('--admin-port 90000 says where it arrives', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const refused = site.work('--admin-port', '90000')
  assert.equal(await refused.exit(), 2)
  assert.match(refused.log, /24464/)
})

test('a port that is taken: one line, exit 1', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const port = String(20_000 + (process.pid % 10_000))
  const first = site.work('--admin-port', port, '--debug')
  await first.logs(/nothing ready/)
  const second = site.work('--admin-port', port)
  assert.equal(await second.exit(), 1)
  assert.match(second.log, /can't listen on 127\.0\.0\.1:\d+ .*EADDRINUSE/)
  assert.equal(await first.end(), 0)
})

test('maxRunning 2 over three processes: never three at once in 500 jobs', async t => {
  const site = new Site(t, {
    'workers/Nap.js': NAP,
    'jobq.config.json': '{"funcs": {"Nap": {"maxRunning": 2}}}',
  })
  await site.enqueue('Nap', 500, {ms: 2})
  const drains = [1, 2, 3].map(() => site.work('--max-workers', '3'))
  await until('all are done', () => site.record.filter(({word}) => word === 'end').length === 500, 60_000)
  for (const drain of drains) assert.equal(await drain.end(), 0)
  let running = 0
  for (const {word} of site.record) {
    running += word === 'begin' ? 1 : -1
    assert.ok(running <= 2, 'three ran at once')
  }
})

test('fair: a flood of one function does not starve another of the same priority', async t => {
  const site = new Site(t, {'workers/Flood.js': NAP, 'workers/Drop.js': NAP})
  await site.enqueue('Flood', 500)
  await site.enqueue('Drop', 5)
  const drain = site.work('--drain', '--fair', '--max-jobs', '12')
  assert.equal(await drain.exit(), 0)
  await using queue = await site.queue()
  const left = await queue.counts('Drop')
  assert.equal(left[0]!.ready, 0, 'every other job was a Drop')
})

test('a paused function is left alone on every host, over restarts, until it is resumed', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP, 'workers/Other.js': NAP})
  assert.equal(await site.run('pause', 'Nap').exit(), 0)
  const manager = site.work('--max-workers', '2')
  await site.enqueue('Nap', 2)
  await site.enqueue('Other', 1)
  await until('the other one is done', () => site.record.length === 2)
  assert.equal(await manager.end(), 0)
  const again = site.work('--max-workers', '2')
  await site.enqueue('Other', 1)
  await until('the other one is done again', () => site.record.length === 4)
  assert.equal(await site.run('resume', 'Nap').exit(), 0)
  await until('the paused ones are done', () => site.record.length === 8)
  assert.equal(await site.run('pause', '--all').exit(), 0)
  await site.enqueue('Other', 1)
  const drain = site.work('--drain')
  assert.equal(await drain.exit(), 0)
  assert.equal(site.record.length, 8)
  assert.equal(await site.run('resume', '--all').exit(), 0)
  await until('the last one is done', () => site.record.length === 10)
  assert.equal(await again.end(), 0)
})

test('systemd is told of readiness, reload and stop, and the watchdog is fed', async t => {
  const site = new Site(t, {'workers/Nap.js': NAP})
  const socket = join(site.folder, 'notify')
  const listener = spawn('perl', [
    '-MIO::Socket::UNIX',
    '-e',
    '$| = 1; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die $!; print "bound\\n"; while (defined $s->recv(my $m, 4096)) { print "$m\\n" }',
    socket,
  ])
  t.after(() => listener.kill('SIGKILL'))
  let heard = ''
  listener.stdout.setEncoding('utf8').on('data', text => (heard += text))
  await until('the listener is there', () => heard.includes('bound'))
  Object.assign(site.env, {NOTIFY_SOCKET: socket, WATCHDOG_USEC: '200000'})
  const manager = site.work()
  await until('READY=1', () => heard.includes('READY=1'))
  await until('two WATCHDOG=1', () => (heard.match(/WATCHDOG=1/g)?.length ?? 0) >= 2)
  manager.signal('SIGHUP')
  await until('RELOADING=1', () => heard.includes('RELOADING=1'))
  assert.equal(await manager.end(), 0)
  await until('STOPPING=1', () => heard.includes('STOPPING=1'))
})

test('as PID 1 of a container: collects what loses its parent, passes TERM on', async t => {
  const probe = await run('unshare', ['--pid', '--fork', 'true']).catch(() => null)
  if (!probe) return t.skip('needs the right to make a PID namespace (root)')
  const site = new Site(t, {
    'workers/Orphan': '#!/bin/sh\n(sleep 0.2 >/dev/null 2>&1 &)\necho done >>"$RECORD"\n',
  })
  await site.enqueue('Orphan', 3)
  const container = spawn('unshare', ['--pid', '--fork', '--mount-proc', process.execPath, BIN, 'work'], {
    cwd: site.folder,
    env: site.env,
    stdio: 'ignore',
  })
  t.after(() => container.kill('SIGKILL'))
  await until('all are done', () => site.read('record') === 'done\n'.repeat(3))
  const processes = async () => (await run('ps', ['-e', '-o', 'pid=,ppid=,stat=,args='])).stdout.split('\n')
  const below = (list: string[], pid: number): string[] =>
    list
      .filter(line => Number(line.trim().split(/\s+/)[1]) === pid)
      .flatMap(line => [line, ...below(list, Number(line.trim().split(/\s+/)[0]))])
  await until('no sleep is left, alive or dead', async () =>
    below(await processes(), container.pid!).every(line => !/sleep/.test(line)),
  )
  const init = below(await processes(), container.pid!)[0]!
  const exited = new Promise<number | null>(resolve => container.once('exit', resolve))
  process.kill(Number(init.trim().split(/\s+/)[0]), 'SIGTERM')
  assert.equal(await exited, 0)
})
