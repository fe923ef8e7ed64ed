/**
 * Database servers for tests: the one that JOBQ_TEST_MYSQL_URL or JOBQ_TEST_POSTGRES_URL names, else one on the usual
 * local port, else one started from the system's binaries in a folder of its own, on 127.0.0.1 only. Where there is none
 * of these the tests are skipped with a word; with CI=true they fail.
 */
import {createConnection} from 'mysql2/promise'
import {find} from './machine.ts'
import {ownMysql, ownPostgres} from './own-server.ts'

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

export async function mysqlServer(): Promise<TestServer | NoServer> {
  const given = process.env.JOBQ_TEST_MYSQL_URL
  if (given) return running(given)
  for (const local of ['mysql://root@127.0.0.1:3306/mysql'])
    if (await answersMysql(local)) return running(local)
  const server = find('mariadbd', 'mysqld')
  if (!server) return none('MySQL', 'JOBQ_TEST_MYSQL_URL', 'apt-get install mariadb-server')
  return ownMysql(server, answersMysql)
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
  return ownPostgres(server, answers)
}

function running(url: string): TestServer {
  return {url, stop: async () => {}}
}

export function none(what: string, variable: string, install: string): NoServer {
  const missing = `no ${what}: name one in ${variable}, or ${install}`
  if (process.env.CI === 'true') throw new Error(missing)
  return {missing}
}

export async function answersMysql(url: string): Promise<boolean> {
  try {
    const connection = await createConnection({uri: url, connectTimeout: 3000})
    await connection.end()
    return true
  } catch {
    return false
  }
}
