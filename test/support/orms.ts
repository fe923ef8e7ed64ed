/** ORMs as an application has them: each opened on a database, and what runs a function in a transaction of it. */
import Sqlite from 'better-sqlite3'
import {sql as drizzleSql} from 'drizzle-orm'
import {drizzle as drizzleSqlite} from 'drizzle-orm/better-sqlite3'
import {drizzle as drizzleMysql} from 'drizzle-orm/mysql2'
import {drizzle as drizzlePg} from 'drizzle-orm/node-postgres'
import {drizzle as drizzlePostgresJs} from 'drizzle-orm/postgres-js'
import knex from 'knex'
import {CamelCasePlugin, Kysely, sql as kyselySql, MysqlDialect, PostgresDialect} from 'kysely'
import {createPool} from 'mysql2'
import {createPool as createPromisePool} from 'mysql2/promise'
import pg from 'pg'
import postgres from 'postgres'
import {prismaOn} from './prisma.ts'

export interface OrmTransactions {
  /** Commits when the function has returned, rolls back when it throws. */
  transaction<T>(work: (tx: unknown) => T | Promise<T>): Promise<T>
  /** A row of `photo`. */
  write(tx: unknown, name: string): unknown
  /** The ORM itself. */
  outside: unknown
  close(): unknown
}

export interface Orm {
  name: string
  database: 'SQLite' | 'MySQL' | 'PostgreSQL'
  /** Its callback can't wait. */
  isSync?: boolean
  /** Why it can't be tried here. */
  missing?: string | undefined
  open(db: string): OrmTransactions | Promise<OrmTransactions>
}

interface Drizzle {
  transaction(work: (tx: DrizzleTransaction) => Promise<unknown>): Promise<unknown>
}

interface DrizzleTransaction {
  execute(query: ReturnType<typeof drizzleSql>): Promise<unknown>
}

function ofDrizzle(db: Drizzle, close: () => Promise<unknown>): OrmTransactions {
  return {
    transaction: work => db.transaction(async tx => work(tx)) as Promise<never>,
    write: async (tx, name) =>
      void (await (tx as DrizzleTransaction).execute(drizzleSql`INSERT INTO photo (name) VALUES (${name})`)),
    outside: db,
    close,
  }
}

function ofKysely(dialect: MysqlDialect | PostgresDialect): OrmTransactions {
  const db = new Kysely<{photo: {name: string}}>({dialect, plugins: [new CamelCasePlugin()]})
  return {
    transaction: work => db.transaction().execute(async trx => work(trx)),
    write: (tx, name) =>
      kyselySql`INSERT INTO photo (name) VALUES (${name})`.execute(tx as Kysely<{photo: {name: string}}>),
    outside: db,
    close: () => db.destroy(),
  }
}

function ofKnex(client: string, connection: string | object): OrmTransactions {
  const db = knex({
    client,
    connection,
    useNullAsDefault: true,
    postProcessResponse: () => 'changed by the application',
  })
  return {
    transaction: work => db.transaction(async trx => work(trx)),
    write: async (tx, name) => void (await (tx as typeof db)('photo').insert({name})),
    outside: db,
    close: () => db.destroy(),
  }
}

export const ORMS: readonly Orm[] = [
  {
    name: 'drizzle with better-sqlite3',
    database: 'SQLite',
    isSync: true,
    open: file => {
      const client = new Sqlite(file)
      const db = drizzleSqlite({client})
      return {
        transaction: async work => db.transaction(tx => work(tx) as never, {behavior: 'immediate'}),
        write: (tx, name) =>
          (tx as typeof db).run(drizzleSql`INSERT INTO photo (name) VALUES (${name})`).changes,
        outside: db,
        close: () => void client.close(),
      }
    },
  },
  {
    name: 'drizzle with mysql2',
    database: 'MySQL',
    open: url => {
      const client = createPromisePool(url)
      return ofDrizzle(drizzleMysql({client}) as unknown as Drizzle, () => client.end())
    },
  },
  {
    name: 'drizzle with pg',
    database: 'PostgreSQL',
    open: url => {
      const client = new pg.Pool({connectionString: url})
      return ofDrizzle(drizzlePg({client}) as unknown as Drizzle, () => client.end())
    },
  },
  {
    name: 'drizzle with postgres.js',
    database: 'PostgreSQL',
    open: url => {
      const client = postgres(url)
      return ofDrizzle(drizzlePostgresJs({client}) as unknown as Drizzle, () => client.end())
    },
  },
  {
    name: 'postgres.js',
    database: 'PostgreSQL',
    open: url => {
      const sql = postgres(url)
      return {
        transaction: work => sql.begin(async tx => work(tx)) as Promise<never>,
        write: async (tx, name) => void (await (tx as typeof sql)`INSERT INTO photo (name) VALUES (${name})`),
        outside: sql,
        close: () => sql.end(),
      }
    },
  },
  {
    name: 'kysely',
    database: 'MySQL',
    open: url => ofKysely(new MysqlDialect({pool: createPool(url)})),
  },
  {
    name: 'kysely',
    database: 'PostgreSQL',
    open: url => ofKysely(new PostgresDialect({pool: new pg.Pool({connectionString: url})})),
  },
  {
    name: 'knex',
    database: 'SQLite',
    open: file => ofKnex('better-sqlite3', {filename: file}),
  },
  {name: 'knex', database: 'MySQL', open: url => ofKnex('mysql2', url)},
  {name: 'knex', database: 'PostgreSQL', open: url => ofKnex('pg', url)},
  ...(['MySQL', 'PostgreSQL'] as const).map(database => prismaOn(database)),
]
