/** Each engine, on a server of the measurement's own where it is one, as its packages set it up. */
import {readFileSync} from 'node:fs'
import {find} from '../../test/support/machine.ts'
import {MysqlDatabase} from '../../test/support/mysql.ts'
import {ownMysql, ownPostgres} from '../../test/support/own-server.ts'
import {answersPostgres, PostgresDatabase} from '../../test/support/postgres.ts'
import {answersMysql} from '../../test/support/servers.ts'
import {fill, makeDatabase} from './floor.ts'
import {ifAvailable, Unavailable} from './peers.ts'
import type {Bench} from './scenario.ts'
import {openServerJobq} from './servers.ts'

export interface Engine {
  name: string
  /** Of a server on this host. */
  socket?: string
  /** One more database. */
  create(): Promise<TestBase>
}

export interface TestBase {
  /** As --db takes it. */
  db: string
  /** Many jobs, ready at once. */
  fill(count: number): Promise<void>
  /** What it has written ahead so far, in bytes. */
  written(): Promise<number>
  /** Of a server: how many connections there are to it, and what they have asked so far. */
  load?(): Promise<{connections: number; asked: number}>
}

export async function engines(bench: Bench, leftOut: string[]): Promise<Engine[]> {
  const all = [sqlite(bench)]
  for (const [name, start] of Object.entries({MariaDB: mariadb, PostgreSQL: postgres})) {
    const engine = await ifAvailable(name, leftOut, () => start(bench))
    if (engine) all.push(engine)
  }
  return all
}

function sqlite({jobq, folder}: Bench): Engine {
  return {
    name: 'SQLite',
    async create() {
      const db = await makeDatabase(jobq, folder())
      return {
        db,
        fill: async count => fill(db, {count}),
        // This process's own: of a dispatcher's there is no word
        written: async () => Number(/^wchar: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]),
      }
    },
  }
}

async function mariadb(bench: Bench): Promise<Engine> {
  const path = find('mariadbd')
  if (!path) throw new Unavailable('no mariadbd')
  const server = await ownMysql(path, answersMysql)
  bench.defer(() => server.stop())
  return {
    name: 'MariaDB',
    socket: `${server.folder}/socket`,
    async create() {
      const base = await MysqlDatabase.create(server.url)
      bench.defer(() => base.drop())
      const status = async (name: string) =>
        Number((await base.query(`SHOW GLOBAL STATUS LIKE '${name}'`))[0]!.Value)
      return {
        ...(await filled(bench, base.url)),
        written: () => status('Innodb_lsn_current'),
        load: async () => ({
          connections: await status('Threads_connected'),
          asked: await status('Questions'),
        }),
      }
    },
  }
}

async function postgres(bench: Bench): Promise<Engine> {
  const path = find('postgres')
  if (!path) throw new Unavailable('no postgres')
  const server = await ownPostgres(path, answersPostgres)
  bench.defer(() => server.stop())
  return {
    name: 'PostgreSQL',
    socket: `${server.folder}/.s.PGSQL.${new URL(server.url).port}`,
    async create() {
      const base = await PostgresDatabase.create(server.url)
      bench.defer(() => base.drop())
      await base.query(`ALTER DATABASE ${base.name} RESET ALL`)
      const one = async (sql: string) => Number((await base.query(sql))[0]!.n)
      return {
        ...(await filled(bench, base.url)),
        written: () => one(`SELECT pg_current_wal_insert_lsn() - '0/0' AS n`),
        load: async () => ({
          connections: await one(
            `SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()`,
          ),
          asked: await one(
            `SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()`,
          ),
        }),
      }
    },
  }
}

async function filled(bench: Bench, db: string): Promise<Pick<TestBase, 'db' | 'fill'>> {
  const queue = await openServerJobq(bench, db)
  bench.defer(() => queue.close())
  return {db, fill: async count => void (await queue.enqueueMany(count))}
}
