/** The store on MySQL and MariaDB: the suite, and what only this driver does. */
import {after, test} from 'node:test'
import {MysqlStore} from '../../src/lib/store/mysql/store.ts'
import {MysqlDatabase} from '../support/mysql.ts'
import {mysqlServer} from '../support/servers.ts'
import {storeSuite} from './suite.ts'

const server = await mysqlServer()

if ('missing' in server) test('the store on MySQL', {skip: server.missing})
else {
  const pools: MysqlDatabase[][] = [[], []]
  after(async () => {
    for (const database of pools.flat()) await database.drop()
    await server.stop()
  })
  storeSuite('MySQL', () => MysqlDatabase.create(server.url, pools[0]))

  const byStatements = async () => {
    const database = await MysqlDatabase.create(server.url, pools[1])
    const address = await database.withoutProcedure()
    return Object.assign(database, {connect: async () => new MysqlStore(address, database.name)})
  }
  storeSuite('MySQL, for who may not call procedures', byStatements, {
    lacks: [
      ...(['enqueue', 'uniqkey', 'enqueue many', 'enqueue many, from a slow source', 'init'] as const),
      ...(['retry of an exception', 'list', 'exceptions and statuses', 'row by row'] as const),
      ...(['counts and times', "in a caller's transaction", 'arguments and names'] as const),
    ],
  })
}
