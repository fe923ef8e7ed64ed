/** The store on PostgreSQL: the suite, and what only this server can do. */
import {after, test} from 'node:test'
import {answersPostgres} from '../support/postgres.ts'
import {preparedPostgres} from '../support/prepared.ts'
import {postgresServer} from '../support/servers.ts'
import {storeSuite} from './suite.ts'

const server = await postgresServer(answersPostgres)

if ('missing' in server) test('the store on PostgreSQL', {skip: server.missing})
else {
  after(() => server.stop())
  storeSuite('PostgreSQL', t => preparedPostgres(t, server.url))
}
