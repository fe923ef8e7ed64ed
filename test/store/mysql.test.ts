/** The store on MySQL and MariaDB: the suite, and what only this driver does. */
import {after, test} from 'node:test'
import {preparedMysql} from '../support/prepared.ts'
import {mysqlServer} from '../support/servers.ts'
import {storeSuite} from './suite.ts'

const server = await mysqlServer()

if ('missing' in server) test('the store on MySQL', {skip: server.missing})
else {
  after(() => server.stop())
  storeSuite('MySQL', t => preparedMysql(t, server.url))
}
