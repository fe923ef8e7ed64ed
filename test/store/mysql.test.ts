/** The store on MySQL and MariaDB: the suite, and what only this driver does. */
import {after, test} from 'node:test'
import {MysqlDatabase} from '../support/mysql.ts'
import {mysqlServer} from '../support/servers.ts'
import {storeSuite} from './suite.ts'

const server = await mysqlServer()

if ('missing' in server) test('the store on MySQL', {skip: server.missing})
else {
  const pool: MysqlDatabase[] = []
  after(async () => {
    for (const database of pool) await database.drop()
    await server.stop()
  })
  storeSuite('MySQL', () => MysqlDatabase.create(server.url, pool))
}
