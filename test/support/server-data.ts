/**
 * The data of a server that has just been set up. It is made once and kept in .cache, then copied: making it takes 3 s of
 * CPU, copying it 0.05.
 */
import {execFileSync, type SpawnOptions} from 'node:child_process'
import {createHash} from 'node:crypto'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {find} from './machine.ts'

const MADE = join(import.meta.dirname, '../../.cache/servers')
/** MySQL's redo log, which is made with its data, and has to be named again where the server is started. */
export const REDO = '--innodb-log-file-size=4M'

type User = Pick<SpawnOptions, 'uid' | 'gid'>

/** @param as whose it will be */
export function makeMysqlData(server: string, data: string, as: User = {}): void {
  const user = process.getuid?.() === 0 && as.uid === undefined ? ['--user=root'] : []
  const install = find('mariadb-install-db', 'mysql_install_db')
  const [command, args] =
    install && !isOracle(server)
      ? [install, ['--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db']]
      : [server, ['--no-defaults', '--initialize-insecure']]
  makeData(data, {server, as, command, args: [...args, ...user, REDO], dataOption: '--datadir='})
}

/** @param as whose it will be */
export function makePostgresData(data: string, as: User): void {
  const [server, command] = [find('postgres'), find('initdb')]
  if (!server || !command) throw new Error('expected a postgres and an initdb')
  const args = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync']
  makeData(data, {server, as, command, args, dataOption: '--pgdata='})
}

interface Maker {
  server: string
  as: User
  command: string
  args: readonly string[]
  dataOption: string
}

function makeData(data: string, maker: Maker): void {
  const {server, as, command, args} = maker
  const {mtimeMs, size} = statSync(server)
  const key = JSON.stringify([realpathSync(server), mtimeMs, size, command, args, as.uid, as.gid])
  const made = join(MADE, createHash('sha256').update(key).digest('hex').slice(0, 16))
  if (!existsSync(made)) makeOnce(made, maker)
  execFileSync('cp', ['-a', made, data])
}

/** Whoever is first with it has made it: the others' is thrown away. */
function makeOnce(made: string, {as, command, args, dataOption}: Maker): void {
  const folder = mkdtempSync(join(tmpdir(), 'jobq-data-'))
  const mine = `${made}.${process.pid}`
  try {
    if (as.uid !== undefined) chownSync(folder, as.uid, as.gid!)
    const data = join(folder, 'data')
    execFileSync(command, [...args, `${dataOption}${data}`], {
      ...{stdio: 'pipe', cwd: folder, uid: as.uid, gid: as.gid},
      env: {...process.env, TMPDIR: folder}, // a MariaDB that starts deletes what another one has in its
    })
    mkdirSync(MADE, {recursive: true})
    execFileSync('cp', ['-a', data, mine])
    if (!existsSync(made)) renameSync(mine, made)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error
  } finally {
    for (const path of [folder, mine]) rmSync(path, {recursive: true, force: true})
  }
}

export function isOracle(server: string): boolean {
  return !/mariadb/i.test(execFileSync(server, ['--no-defaults', '--version'], {encoding: 'utf8'}))
}
