/** One of several databases by itself. Its rows and jobs say that they are there. */
import type {RowRef} from '../../jobs/job.ts'
import type {OneDatabase, Store} from '../store.ts'
import {begun, type Database, withDb} from './database.ts'

export function oneOf(database: Database): OneDatabase {
  const {index: db, name} = database
  return {
    ...{db, name},
    schedules: () => database.use(store => store.schedules()),
    deaths: async () => (await database.use(store => store.deaths())).map(death => ({...death, db})),
    eachException: page => each(database, store => store.eachException(page)),
    eachStatus: page => each(database, store => store.eachStatus(page)),
    enqueue: async job => ({...(await database.use(store => store.enqueue(job))), db}),
  }
}

async function* each<Row extends RowRef>(
  database: Database,
  rows: (store: Store) => AsyncGenerator<Row>,
): AsyncGenerator<Row> {
  yield* withDb(await database.use(store => begun(rows(store))), database.index)
}
