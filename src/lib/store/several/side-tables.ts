/** What is kept beside jobs in several databases: each that can be reached sees to its own. */
import type {ExpiredJob, JobProgress, Progress, RowRef} from '../../jobs/job.ts'
import type {Beside} from '../store.ts'
import type {Databases} from './database.ts'

export async function besideIn(databases: Databases): Promise<Beside> {
  const parts = await Promise.all([...databases].map(database => database.ifAlive(store => store.beside())))
  const expiries = parts.flatMap(part => part?.expiryIn ?? [])
  return {
    hasTags: parts.some(part => part?.hasTags),
    expiryIn: expiries.length === 0 ? null : Math.min(...expiries),
    hasOldResults: parts.some(part => part?.hasOldResults),
  }
}

export async function batchMarkedIn(databases: Databases, mark: string): Promise<RowRef | null> {
  for (const database of databases) {
    const found = await database.ifAlive(store => store.batchMarked(mark))
    if (found) return {...found, db: database.index}
  }
  return null
}

export async function tellProgressIn(
  databases: Databases,
  told: readonly (RowRef & Progress)[],
): Promise<void> {
  const parts = [...Map.groupBy(told, job => databases.at(job))].map(([database, mine]) =>
    database.ifAlive(store => store.tellProgress(mine.map(({db: _, ...job}) => job))),
  )
  await Promise.all(parts)
}

export async function forgetProgressIn(databases: Databases, jobs: readonly RowRef[]): Promise<void> {
  await databases.whereAre(jobs, async (database, mine) => {
    await database.ifAlive(store => store.forgetProgress(mine))
    return []
  })
}

export async function progressIn(databases: Databases, jobs: readonly RowRef[]): Promise<JobProgress[]> {
  return databases.whereAre(jobs, async (database, mine) => {
    return (await database.ifAlive(store => store.progress(mine))) ?? []
  })
}

export async function sweepResultsIn(databases: Databases): Promise<boolean> {
  const parts = [...databases].map(database => database.ifAlive(store => store.sweepResults()))
  return (await Promise.all(parts)).some(isMore => isMore)
}

export async function expireIn(databases: Databases): Promise<{expired: ExpiredJob[]; isMore: boolean}> {
  const parts = [...databases].map(async database => {
    const part = await database.ifAlive(store => store.expire())
    const expired = (part?.expired ?? []).map(job => ({...job, db: database.index}))
    return {expired, isMore: part?.isMore ?? false}
  })
  const all = await Promise.all(parts)
  return {expired: all.flatMap(({expired}) => expired), isMore: all.some(({isMore}) => isMore)}
}

export async function forgetBesideIn(databases: Databases, jobs: readonly RowRef[]): Promise<void> {
  await databases.whereAre(jobs, async (database, mine) => {
    await database.ifAlive(store => store.forgetBeside(mine))
    return []
  })
}

/** Each goes on from the same spot: the least that one has come to. */
export async function sweepTagsIn(databases: Databases, from: number): Promise<number | null> {
  const parts = [...databases].map(database => database.ifAlive(store => store.sweepTags(from)))
  const next = (await Promise.all(parts)).filter(part => part !== null)
  return next.length === 0 ? null : Math.min(...next)
}
