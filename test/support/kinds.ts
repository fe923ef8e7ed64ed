/** The three kinds of databases, for what is to hold on each: a prepared one of the test's own. */
import {join} from 'node:path'
import {after, type TestContext} from 'node:test'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/index.ts'
import type {MysqlDatabase} from './mysql.ts'
import {answersPostgres, type PostgresDatabase} from './postgres.ts'
import {preparedMysql, preparedPostgres} from './prepared.ts'
import {mysqlServer, type NoServer, postgresServer, type TestServer} from './servers.ts'
import {tempFolder} from './temp.ts'

export interface Prepared {
  db: string
  query(sql: string): Promise<Record<string, unknown>[]>
}

export interface DatabaseKind {
  name: 'SQLite' | 'MySQL' | 'PostgreSQL'
  server?: TestServer | NoServer
  /** Why there is none of it here. */
  skip: string | false
  create(t: TestContext): Promise<Prepared>
}

/** To be called outside of all tests: the servers are stopped after them. */
export async function databaseKinds(): Promise<DatabaseKind[]> {
  const [mysql, postgres] = [await mysqlServer(), await postgresServer(answersPostgres)]
  after(async () => {
    for (const server of [mysql, postgres]) if ('stop' in server) await server.stop()
  })
  return [
    {name: 'SQLite', create: onSqlite, skip: false},
    {
      name: 'MySQL',
      server: mysql,
      skip: 'missing' in mysql && mysql.missing,
      create: async t => asPrepared(await preparedMysql(t, (mysql as TestServer).url)),
    },
    {
      name: 'PostgreSQL',
      server: postgres,
      skip: 'missing' in postgres && postgres.missing,
      create: async t => asPrepared(await preparedPostgres(t, (postgres as TestServer).url)),
    },
  ]
}

async function onSqlite(t: TestContext): Promise<Prepared> {
  const db = join(tempFolder(t), 'jobs.db')
  await JobQueue.init({db})
  const file = new Sqlite(db)
  t.after(() => file.close())
  const query = async (sql: string) => {
    const statement = file.prepare<[], Record<string, unknown>>(sql)
    if (statement.reader) return statement.all()
    statement.run()
    return []
  }
  return {db, query}
}

function asPrepared(database: MysqlDatabase | PostgresDatabase): Prepared {
  return {db: database.url, query: sql => database.query(sql)}
}
