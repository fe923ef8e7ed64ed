/**
 * Prepared databases that the tests of a file hand on, emptied: making one takes longer than most tests. One whose tables or
 * functions a test has changed is not handed on.
 */
import {after, type TestContext} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import type {PostgresStore} from '../../src/lib/store/postgres/store.ts'
import {MysqlDatabase} from './mysql.ts'
import {PostgresDatabase} from './postgres.ts'

interface Reusable {
  readonly url: string
  /** All that is not data, in some form: what `jobq init` has made has the same in each. */
  shape(): Promise<string>
  /** Leaves no rows; ids begin anew. */
  empty(): Promise<void>
  drop(): Promise<void>
}

const spares: Reusable[][] = []
/** The file's tests have ended: what comes back now is of no use. */
let isOver = false
after(async () => {
  isOver = true
  for (const database of spares.flat()) await database.drop()
})

class Reused<Database extends Reusable> {
  readonly #create: () => Promise<Database>
  readonly #spare: Database[] = []
  #shape: string | undefined

  constructor(create: () => Promise<Database>) {
    this.#create = create
    spares.push(this.#spare)
  }

  async take(): Promise<Database> {
    const spare = this.#spare.pop()
    if (spare) return spare
    const database = await this.#create()
    await JobQueue.init({db: database.url})
    this.#shape ??= await database.shape()
    return database
  }

  async giveBack(database: Database): Promise<void> {
    if (isOver || (await database.shape()) !== this.#shape) return database.drop()
    try {
      await database.empty()
      this.#spare.push(database)
    } catch (error) {
      await database.drop()
      throw error
    }
  }

  /** For one test, whose every other hook has run when it goes back: no process works in it any more. */
  async lend(t: Pick<TestContext, 'after'>): Promise<Database> {
    const database = await this.take()
    t.after(() => t.after(() => this.giveBack(database))) // what a hook adds runs after all the others
    return database
  }
}

const mysql = new Map<string, Reused<MysqlDatabase>>()
const postgres = new Map<string, Reused<PostgresDatabase>>()

/** @param server its URL */
export function preparedMysql(t: Pick<TestContext, 'after'>, server: string): Promise<MysqlDatabase> {
  return onServer(mysql, server, MysqlDatabase).lend(t)
}

export function preparedPostgres(t: Pick<TestContext, 'after'>, server: string): Promise<PostgresDatabase> {
  return onServer(postgres, server, PostgresDatabase).lend(t)
}

/** With a store on it. */
export async function prepared(
  t: TestContext,
  server: string,
): Promise<{db: PostgresDatabase; store: PostgresStore}> {
  const db = await preparedPostgres(t, server)
  const store = db.store()
  t.after(() => store.close())
  return {db, store}
}

function onServer<Database extends Reusable>(
  all: Map<string, Reused<Database>>,
  server: string,
  {create}: {create(server: string): Promise<Database>},
): Reused<Database> {
  const reused = all.get(server) ?? new Reused(() => create(server))
  all.set(server, reused)
  return reused
}
