/** Jobs of several databases taken, or put back for later, by their ids: each database is asked for its own. */
import type {AlikeJob, JobRow, Postponement, RowRef} from '../../../jobs/job.ts'
import type {Claimed, ClaimOptions} from '../../store.ts'
import type {Databases} from '../database.ts'

/** Where a database can't be asked, its jobs can't be given back either: that is done when it is back. */
export async function postponeIn(databases: Databases, jobs: readonly Postponement[]): Promise<void> {
  const parts = [...Map.groupBy(jobs, ({lease}) => databases.at(lease))].map(([database, mine]) =>
    database.ifAlive(store => store.postpone(mine)),
  )
  await Promise.all(parts)
}

/** All of them are of one database. */
export async function claimIn(
  databases: Databases,
  jobs: readonly RowRef[],
  seconds: number,
  options?: ClaimOptions,
): Promise<Claimed> {
  const database = databases.at(jobs[0]!)
  const claimed = await database.use(store => store.claim(jobs, seconds, options))
  return {...claimed, jobs: claimed.jobs.map(job => ({...job, db: database.index}))}
}

/** In the job's own database; where that can't be asked, none. */
export async function alikeIn(
  databases: Databases,
  job: JobRow,
  among?: {key: string; limit: number},
): Promise<AlikeJob[]> {
  const database = databases.at(job)
  const found = (await database.ifAlive(store => store.alike(job, among))) ?? []
  return found.map(each => ({...each, db: database.index}))
}
