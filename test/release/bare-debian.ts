/**
 * npm run test:release, after npm run release: what that made, in a Debian of debootstrap's smallest kind, without Node.js
 * and without a network. It needs root, for chroot. The bare Debian is kept in .cache.
 */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {after, before, test} from 'node:test'
import {blocksOf} from '../support/blocks.ts'
import {checkSession} from '../support/document-project.ts'

const SUITE = 'bookworm'
const root = join(import.meta.dirname, '../..')
const base = join(root, '.cache', `${SUITE}-bare.tar`)
const machine = join(tmpdir(), `jobq-bare-debian-${process.pid}`)
const arch = process.arch === 'arm64' ? 'arm64' : 'x64'
const deb = made(`jobq_*_${arch === 'x64' ? 'amd64' : arch}.deb`)
const tarball = made(`jobq-*-linux-${arch}.tar.gz`)

before(() => {
  makeBase()
  mkdirSync(machine)
  ran('tar', '-C', machine, '-xf', base)
  copyFileSync(deb, join(machine, 'root/jobq.deb'))
  mkdirSync(join(machine, 'srv/app'))
})
after(() => rmSync(machine, {recursive: true, force: true}))

test('the bare Debian has no Node.js and no network', () => {
  assert.equal(inside('command -v node npm nodejs; echo none').trim(), 'none')
  assert.throws(() => inside('getent hosts deb.debian.org'))
})

test('the package is installed with what is there', () => {
  const start = performance.now()
  inside('dpkg --install /root/jobq.deb')
  console.log(
    `installed in ${Math.round(performance.now() - start)} ms: ${inside('du -sh /usr/lib/jobq').trim()}`,
  )
  assert.equal(inside('dpkg --verify jobq; dpkg --audit'), '')
  const {version} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  assert.match(inside('jobq --version'), new RegExp(`^jobq/${version} linux-`))
  assert.match(inside('getent passwd jobq'), /^jobq:x:\d+:\d+::\/var\/lib\/jobq:\/usr\/sbin\/nologin$/m)
  assert.equal(inside('stat -c "%U %G %a" /var/lib/jobq /etc/jobq'), 'jobq jobq 750\nroot root 755\n')
})

test('what others look for is where they do, and the service is not enabled', () => {
  for (const file of [
    ...['man/man1/jobq.1.gz', 'man/man1/jobq-work.1.gz', 'doc/jobq/README.md', 'doc/jobq/docs/workers.md'],
    ...[
      'bash-completion/completions/jobq',
      'zsh/vendor-completions/_jobq',
      'fish/vendor_completions.d/jobq.fish',
    ],
  ])
    assert.ok(existsSync(join(machine, 'usr/share', file)), file)
  assert.ok(existsSync(join(machine, 'usr/lib/systemd/system/jobq.service')))
  assert.equal(inside('find /etc/systemd /etc/rc?.d -name "*jobq*" 2>/dev/null || true'), '')
  for (const shell of ['bash', 'zsh', 'fish']) assert.match(inside(`jobq completion ${shell}`), /jobq/)
})

test('copyright has the licence of every package, and that of Node.js', () => {
  const text = readFileSync(join(machine, 'usr/share/doc/jobq/copyright'), 'utf8')
  const lib = join(machine, 'usr/lib/jobq')
  for (const file of ['package.json', ...globSync('node_modules/{*,@*/*}/package.json', {cwd: lib})]) {
    const {name, version} = JSON.parse(readFileSync(join(lib, file), 'utf8'))
    assert.ok(text.includes(`\n${name} ${version}`), name)
  }
  assert.match(text, /^Node\.js \(npm's node-linux-\w+\) \d+\.\d+\.\d+$/m)
})

test("README's tour goes as it says, with its workers", () => {
  const blocks = blocksOf('README.md')
  for (const {file, code} of blocks)
    if (file !== null) {
      const path = join(machine, 'srv/app', file)
      mkdirSync(dirname(path), {recursive: true})
      writeFileSync(path, code)
    }
  const sessions = blocks.filter(({language}) => language === 'console')
  assert.ok(sessions.length > 1)
  for (const {code} of sessions)
    checkSession(code, blocks, shell => {
      const words = ['unshare', ...bare('/srv/app', shell)].map(word => `'${word.replaceAll("'", `'\\''`)}'`)
      return ran('script', '-qec', words.join(' '), '/dev/null')
    })
})

test("the service's user works a TypeScript worker of /etc/jobq", () => {
  const workers = join(machine, 'etc/jobq/workers')
  mkdirSync(workers)
  const lines = [
    `import {hostname} from 'node:os'`,
    `import {defineWorker, JobQueue} from 'jobq'`,
    `interface Greeting {name: string}`,
    `export default defineWorker<Greeting>({`,
    `  keepOutput: 'all',`,
    `  work({arg}: {arg: Greeting}) { console.log(\`hello \${arg.name}, \${typeof JobQueue.open} \${process.version}\`); void hostname() },`,
    `})`,
  ]
  writeFileSync(join(workers, 'Greet.ts'), lines.join('\n'))
  const jobq = (line: string) =>
    inside(
      `cd /etc/jobq && su --shell /bin/sh jobq -c ${`'JOBQ_DB=/var/lib/jobq/jobq.db ${line.replaceAll("'", `'\\''`)}'`}`,
    )
  assert.equal(jobq(`jobq enqueue Greet --arg '{"name":"Ada"}'`), '1\n')
  assert.match(jobq('jobq work --drain'), /^1 completed/)
  const {engines} = JSON.parse(readFileSync(join(machine, 'usr/lib/jobq/package.json'), 'utf8'))
  assert.equal(engines.node, '>=22.18')
  assert.match(jobq('jobq logs 1'), /hello Ada, function v\d+/)
})

test('it can be installed once more, and purged: jobs and their user stay', () => {
  inside('dpkg --install /root/jobq.deb')
  inside('env -u HOME jobq --version') // root without a home keeps what V8 has compiled beside jobq
  const {stdout} = attempt('dpkg --purge jobq')
  assert.match(stdout, /^jobq: \/var\/lib\/jobq and the user jobq are left$/m)
  assert.equal(
    inside('ls -A /var/lib/jobq; ls -d /usr/lib/jobq /usr/share/doc/jobq /usr/bin/jobq 2>/dev/null || true'),
    'jobq.db\n',
  )
  assert.ok(existsSync(join(machine, 'etc/jobq/workers/Greet.ts')))
  assert.match(inside('getent passwd jobq'), /^jobq:/)
  assert.equal(inside('dpkg --install /root/jobq.deb >/dev/null; jobq list --db /var/lib/jobq/jobq.db'), '')
  inside('dpkg --purge jobq')
})

test('the .tar.gz runs where it is unpacked, and through a link', () => {
  const opt = join(machine, 'opt')
  ran('tar', '-C', opt, '-xzf', tarball)
  inside('ln -s /opt/jobq-*/bin/jobq /usr/local/bin/jobq')
  mkdirSync(join(machine, 'srv/other/workers'), {recursive: true})
  const worker = join(machine, 'srv/other/workers/Note.ts')
  writeFileSync(
    worker,
    `import {defineWorker} from 'jobq'\nexport default defineWorker<{text: string}>({work: ({arg}) => console.log(arg.text)})\n`,
  )
  chmodSync(worker, 0o644)
  const line = `jobq enqueue Note --arg '{"text":"noted"}' --db j.db && jobq work --drain --db j.db 2>&1`
  assert.match(inside(line, '/srv/other'), /^1\n[\s\S]*Note \| noted\n[\s\S]*1 completed/)
  assert.match(inside('cd /opt/jobq-*/bin && sh jobq --version && ./jobq --version'), /^(jobq\/.*\n){2}$/)
})

function made(pattern: string): string {
  const [file] = globSync(pattern, {cwd: join(root, 'release')})
  if (!file) throw new Error(`expected release/${pattern}: run npm run release first`)
  return join(root, 'release', file)
}

function makeBase(): void {
  if (existsSync(base)) return
  const folder = `${machine}-base`
  ran('debootstrap', '--variant=minbase', SUITE, folder)
  mkdirSync(dirname(base), {recursive: true})
  ran('tar', '-C', folder, '-cf', base, '.')
  rmSync(folder, {recursive: true})
}

/** A shell in the bare Debian, as process 1 of its own, without a network and without anything of this one's environment. */
function bare(folder: string, shell: string): string[] {
  return [
    ...[
      '--mount',
      '--net',
      '--pid',
      '--ipc',
      '--fork',
      '--kill-child',
      `--root=${machine}`,
      `--wd=${folder}`,
    ],
    ...[
      '--mount-proc',
      '/usr/bin/env',
      '-i',
      'PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOME=/root',
    ],
    ...['TERM=xterm', 'NO_COLOR=1', 'TZ=UTC', '/bin/sh', '-c', shell],
  ]
}

function attempt(shell: string, folder = '/') {
  return spawnSync('unshare', bare(folder, shell), {encoding: 'utf8', timeout: 120_000})
}

/** @returns what it prints on standard output. @throws with the rest if it fails */
function inside(shell: string, folder = '/'): string {
  const {status, stdout, stderr, error} = attempt(shell, folder)
  if (error) throw error
  assert.equal(status, 0, `${shell}: ${stdout}${stderr}`)
  return stdout
}

function ran(file: string, ...args: string[]): string {
  const {status, stdout, stderr, error} = spawnSync(file, args, {encoding: 'utf8', maxBuffer: 1 << 26})
  if (error) throw error
  assert.equal(status, 0, `${file}: ${stdout}${stderr}`)
  return stdout
}
