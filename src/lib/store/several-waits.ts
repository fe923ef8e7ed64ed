/** Waiting for jobs of several databases to end: each is asked for its own. */
import type {JobEnd, RowRef} from '../job.ts'
import type {Database, Databases} from './several-database.ts'

export async function trackIn(databases: Databases, jobs: readonly RowRef[]): Promise<RowRef[]> {
  return where(databases, jobs, (database, mine) => database.use(store => store.track(mine)))
}

/** Of a database that can't be asked now, nothing is known: it is asked again. */
export async function endsIn(databases: Databases, jobs: readonly RowRef[]): Promise<JobEnd[]> {
  return where(databases, jobs, async (database, mine) => {
    return (await database.ifAlive(store => store.ends(mine))) ?? []
  })
}

/** Asks each database for those of the jobs that are in it. */
export async function where<Row extends RowRef>(
  databases: Databases,
  jobs: readonly RowRef[],
  ask: (database: Database, mine: readonly RowRef[]) => Promise<Row[]>,
): Promise<Row[]> {
  const groups = Map.groupBy(jobs, job => databases.at(job))
  const parts = [...groups].map(async ([database, mine]) => {
    const rows = await ask(
      database,
      mine.map(({id}) => ({id})),
    )
    return rows.map(row => ({...row, db: database.index}))
  })
  return (await Promise.all(parts)).flat()
}
