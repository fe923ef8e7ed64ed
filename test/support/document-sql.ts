/**
 * SQL that a document shows, run on an empty queue of a test's own. What the documents call the database `jobs` and the
 * user `jobq` gets a name of its own, since both belong to the whole server.
 */

import {join} from 'node:path'
import type {TestContext} from 'node:test'
import Sqlite from 'better-sqlite3'
import {JobQueue} from '../../src/lib/client/queue.ts'
import {MysqlDatabase} from './mysql.ts'
import {answersPostgres, PostgresDatabase} from './postgres.ts'
import {mysqlServer, postgresServer} from './servers.ts'
import {tempFolder} from './temp.ts'

/** @returns null, or why it could not be run here */
export async function runSql(
  t: TestContext,
  system: string | undefined,
  sql: string,
): Promise<string | null> {
  if (system === 'sqlite') return onSqlite(t, sql)
  if (system === 'mysql') return onMysql(t, sql)
  if (system === 'postgres') return onPostgres(t, sql)
  throw new Error(`sql: expected sqlite, mysql or postgres behind it, got ${system}`)
}

async function onSqlite(t: TestContext, sql: string): Promise<null> {
  const db = join(tempFolder(t), 'jobs.db')
  await (await JobQueue.open({db})).close()
  const connection = new Sqlite(db)
  connection.exec(sql)
  connection.close()
  return null
}

async function onMysql(t: TestContext, sql: string): Promise<string | null> {
  const server = await mysqlServer()
  if ('missing' in server) return server.missing
  t.after(() => server.stop())
  const db = await MysqlDatabase.create(server.url)
  const user = `'${db.name}'@`
  t.after(async () => {
    await db.query(`DROP USER IF EXISTS ${user}'%'`)
    await db.drop()
  })
  await prepare(db.url)
  await db.query(`CREATE USER ${user}'%'`)
  await db.query(sql.replaceAll('jobs.', `${db.name}.`).replaceAll('jobq@', user))
  return null
}

async function onPostgres(t: TestContext, sql: string): Promise<string | null> {
  const server = await postgresServer(answersPostgres)
  if ('missing' in server) return server.missing
  t.after(() => server.stop())
  const db = await PostgresDatabase.create(server.url)
  await db.query(`CREATE ROLE ${db.name}`)
  t.after(async () => {
    await db.query(`DROP OWNED BY ${db.name}`)
    await db.query(`DROP ROLE ${db.name}`)
    await db.drop()
  })
  await prepare(db.url)
  await db.query(sql.replaceAll(/\bTO jobq\b/g, `TO ${db.name}`))
  return null
}

async function prepare(url: string): Promise<void> {
  await JobQueue.init({db: url})
}
