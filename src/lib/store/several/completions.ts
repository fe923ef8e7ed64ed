/** Waiting for jobs of several databases to end: each is asked for its own. */
import type {RowRef, StoredEnd} from '../../jobs/job.ts'
import type {Databases} from './database.ts'

export async function trackIn(databases: Databases, jobs: readonly RowRef[]): Promise<RowRef[]> {
  return databases.whereAre(jobs, (database, mine) => database.use(store => store.track(mine)))
}

/** Of a database that can't be asked now, nothing is known: it is asked again. */
export async function endsIn(databases: Databases, jobs: readonly RowRef[]): Promise<StoredEnd[]> {
  return databases.whereAre(jobs, async (database, mine) => {
    return (await database.ifAlive(store => store.ends(mine))) ?? []
  })
}
