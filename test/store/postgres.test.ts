/** The store on PostgreSQL: the suite, and what only this server can do. */
import {after, test} from 'node:test'
import {answersPostgres, PostgresDatabase} from '../support/postgres.ts'
import {postgresServer} from '../support/servers.ts'
import {storeSuite} from './suite.ts'

const server = await postgresServer(answersPostgres)

if ('missing' in server) test('the store on PostgreSQL', {skip: server.missing})
else {
  const pool: PostgresDatabase[] = []
  after(async () => {
    for (const database of pool) await database.drop()
    await server.stop()
  })
  storeSuite('PostgreSQL', () => PostgresDatabase.create(server.url, pool))
}
