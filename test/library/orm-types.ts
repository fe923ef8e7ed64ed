/** What the compiler says of ORMs' transactions: nothing of this is run, `npm run types` reads it. */
import type {BetterSQLite3Database} from 'drizzle-orm/better-sqlite3'
import type {MySql2Database} from 'drizzle-orm/mysql2'
import type {NodePgDatabase} from 'drizzle-orm/node-postgres'
import type {PostgresJsDatabase} from 'drizzle-orm/postgres-js'
import type {Knex} from 'knex'
import type {Kysely} from 'kysely'
import type {Sql} from 'postgres'
import type {EnqueuedJob, JobQueue} from '../../src/lib/index.ts'

interface Apps {
  sqlite: BetterSQLite3Database
  mysql: MySql2Database
  pg: NodePgDatabase
  postgresJs: PostgresJsDatabase
  kysely: Kysely<Record<string, never>>
  knex: Knex
  sql: Sql
}

export async function enqueueInEach(queue: JobQueue, apps: Apps): Promise<EnqueuedJob[]> {
  const now: EnqueuedJob = apps.sqlite.transaction(tx => queue.enqueueIn(tx, 'F'))
  const later: Promise<EnqueuedJob>[] = [
    apps.mysql.transaction(tx => queue.enqueueIn(tx, 'F')),
    apps.pg.transaction(tx => queue.enqueueIn(tx, 'F')),
    apps.postgresJs.transaction(tx => queue.enqueueIn(tx, 'F')),
    apps.kysely.transaction().execute(trx => queue.enqueueIn(trx, 'F')),
    apps.knex.transaction(trx => queue.enqueueIn(trx, 'F')),
    apps.sql.begin(sql => queue.enqueueIn(sql, 'F')),
  ]
  // @ts-expect-error kysely itself is in no transaction
  later.push(queue.enqueueIn(apps.kysely, 'F'))
  return [now, ...(await Promise.all(later))]
}
