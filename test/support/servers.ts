/**
 * Database servers for tests: the one that JOBQ_TEST_MYSQL_URL or JOBQ_TEST_POSTGRES_URL names, else one on the usual
 * local port, else one started from the system's binaries in a folder of its own, on 127.0.0.1 only. Where there is none
 * of these the tests are skipped with a word; with CI=true they fail.
 */
import {type ChildProcess, execFileSync, spawn} from 'node:child_process'
import {chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs'
import {createServer} from 'node:net'
import {tmpdir} from 'node:os'
import {delimiter, join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {createConnection} from 'mysql2/promise'

export interface TestServer {
  /** As someone who may make databases and users; names a database that is there. */
  url: string
  /** Ends it, if it was started here. */
  stop(): Promise<void>
}

/** Why there is none, for the tests that are skipped. */
export interface NoServer {
  missing: string
}

const START_MS = 60_000

export async function mysqlServer(): Promise<TestServer | NoServer> {
  const given = process.env.JOBQ_TEST_MYSQL_URL
  if (given) return running(given)
  for (const local of ['mysql://root@127.0.0.1:3306/mysql'])
    if (await answersMysql(local)) return running(local)
  const server = find('mariadbd', 'mysqld')
  if (!server) return none('MySQL', 'JOBQ_TEST_MYSQL_URL', 'apt-get install mariadb-server')
  return startMysql(server)
}

/** @param answers whether a URL can be connected to */
export async function postgresServer(
  answers: (url: string) => Promise<boolean>,
): Promise<TestServer | NoServer> {
  const given = process.env.JOBQ_TEST_POSTGRES_URL
  if (given) return running(given)
  for (const user of ['postgres', 'postgres:postgres']) {
    const local = `postgres://${user}@127.0.0.1:5432/postgres`
    if (await answers(local)) return running(local)
  }
  const server = find('postgres')
  if (!server) return none('PostgreSQL', 'JOBQ_TEST_POSTGRES_URL', 'apt-get install postgresql')
  return startPostgres(server, answers)
}

function running(url: string): TestServer {
  return {url, stop: async () => {}}
}

export function none(what: string, variable: string, install: string): NoServer {
  const missing = `no ${what}: name one in ${variable}, or ${install}`
  if (process.env.CI === 'true') throw new Error(missing)
  return {missing}
}

async function answersMysql(url: string): Promise<boolean> {
  try {
    const connection = await createConnection({uri: url, connectTimeout: 3000})
    await connection.end()
    return true
  } catch {
    return false
  }
}

async function startMysql(server: string): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'jobq-mysql-'))
  const data = join(folder, 'data')
  const user = process.getuid?.() === 0 ? ['--user=root'] : []
  const install = find('mariadb-install-db', 'mysql_install_db')
  try {
    if (install && !isOracle(server))
      execFileSync(
        install,
        [
          ...['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal'],
          ...['--skip-test-db', ...user],
        ],
        {stdio: 'pipe'},
      )
    else {
      mkdirSync(data)
      execFileSync(server, ['--no-defaults', '--initialize-insecure', `--datadir=${data}`, ...user], {
        stdio: 'pipe',
      })
    }
    const port = await freePort()
    const child = spawn(
      server,
      [
        ...['--no-defaults', `--datadir=${data}`, ...user, '--bind-address=127.0.0.1', `--port=${port}`],
        ...[`--socket=${join(folder, 'socket')}`, `--pid-file=${join(folder, 'pid')}`],
      ],
      {stdio: 'ignore'},
    )
    const url = `mysql://root@127.0.0.1:${port}/mysql`
    return await started(child, folder, url, answersMysql, 'SIGTERM')
  } catch (error) {
    rmSync(folder, {recursive: true, force: true})
    throw error
  }
}

async function startPostgres(
  server: string,
  answers: (url: string) => Promise<boolean>,
): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'jobq-postgres-'))
  const data = join(folder, 'data')
  const as = process.getuid?.() === 0 ? unprivileged() : null
  try {
    if (as) chownSync(folder, as.uid, as.gid)
    const initdb = find('initdb')
    if (!initdb) throw new Error('there is a postgres, but no initdb')
    execFileSync(initdb, ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync'], {
      stdio: 'pipe',
      cwd: folder,
      ...as,
    })
    const port = await freePort()
    const child = spawn(server, ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder], {
      stdio: 'ignore',
      cwd: folder,
      ...as,
    })
    return await started(child, folder, `postgres://postgres@127.0.0.1:${port}/postgres`, answers, 'SIGINT')
  } catch (error) {
    rmSync(folder, {recursive: true, force: true})
    throw error
  }
}

/** Ended with this process at the latest: no test leaves a server behind. */
export async function started(
  child: ChildProcess,
  folder: string,
  url: string,
  answers: (url: string) => Promise<boolean>,
  signal: NodeJS.Signals,
): Promise<TestServer> {
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const kill = () => {
    child.kill('SIGKILL')
    rmSync(folder, {recursive: true, force: true})
  }
  process.once('exit', kill)
  const giveUpAt = performance.now() + START_MS
  while (!(await answers(url))) {
    if (child.exitCode !== null || performance.now() > giveUpAt) {
      kill()
      throw new Error(`${child.spawnfile} did not start (exit status ${child.exitCode})`)
    }
    await sleep(50)
  }
  return {
    url,
    stop: async () => {
      child.kill(signal)
      await gone
      process.off('exit', kill)
      rmSync(folder, {recursive: true, force: true})
    },
  }
}

/** Debian keeps PostgreSQL's binaries, and MariaDB's server, where PATH does not lead. */
export function find(...names: string[]): string | undefined {
  const versions = existsSync('/usr/lib/postgresql')
    ? readdirSync('/usr/lib/postgresql').sort().reverse()
    : []
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    ...['/usr/sbin', '/usr/libexec', '/usr/local/sbin', '/usr/local/bin'],
    ...versions.map(version => `/usr/lib/postgresql/${version}/bin`),
  ]
  return names.flatMap(name => folders.map(folder => join(folder, name))).find(path => existsSync(path))
}

function isOracle(server: string): boolean {
  return !/mariadb/i.test(execFileSync(server, ['--no-defaults', '--version'], {encoding: 'utf8'}))
}

/** PostgreSQL refuses to run as root. */
export function unprivileged(): {uid: number; gid: number} {
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const line =
    users.find(user => user.startsWith('postgres:')) ?? users.find(user => user.startsWith('nobody:'))
  const [, , uid, gid] = (line ?? 'nobody:x:65534:65534').split(':').map(Number)
  return {uid: uid!, gid: gid!}
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
