/** Jobs that wait for others, where there are several databases: they go where those are, and wait for none elsewhere. */
import {UsageError} from '../../jobs/errors.ts'
import {type FailedAfter, idOf, type NewJob} from '../../jobs/job.ts'
import type {Database, Databases} from './database.ts'

/** How many jobs of one call are read before it is known where they go. */
const READ_AHEAD = 1000

type Jobs = Iterable<NewJob> | AsyncIterable<NewJob>

/** Where the job has to go, and the job as that database knows it; null: anywhere. @throws UsageError, NotFoundError */
export function placeOf(databases: Databases, job: NewJob): {database: Database; job: NewJob} | null {
  const first = job.after?.find(one => !('nth' in one))
  if (!first || 'nth' in first) return null
  const database = databases.at(first)
  return {database, job: as(database, job)}
}

/** The same of many jobs. What they wait for must be in one database, and the first of them soon say so. */
export async function placeOfAll(
  databases: Databases,
  jobs: Jobs,
): Promise<{database: Database | null; jobs: Jobs}> {
  const isNow = Symbol.iterator in jobs
  const source = isNow ? jobs[Symbol.iterator]() : jobs[Symbol.asyncIterator]()
  const read: NewJob[] = []
  let database: Database | null = null
  while (database === null && read.length < READ_AHEAD) {
    const next = await source.next()
    if (next.done) break
    read.push(next.value)
    database = placeOf(databases, next.value)?.database ?? null
  }
  return {
    database,
    jobs: isNow ? now(read, source as Iterator<NewJob>, database) : later(read, source, database),
  }
}

function* now(
  read: readonly NewJob[],
  source: Iterator<NewJob>,
  database: Database | null,
): Generator<NewJob> {
  for (const job of read) yield as(database, job)
  for (let next = source.next(); !next.done; next = source.next()) yield as(database, next.value)
}

async function* later(
  read: readonly NewJob[],
  source: Iterator<NewJob> | AsyncIterator<NewJob>,
  database: Database | null,
): AsyncGenerator<NewJob> {
  for (const job of read) yield as(database, job)
  for (let next = await source.next(); !next.done; next = await source.next()) yield as(database, next.value)
}

/** The job as the database knows it: its own jobs have no number. @throws UsageError */
function as(database: Database | null, job: NewJob): NewJob {
  if (!job.after) return job
  const after = job.after.map(one => {
    if ('nth' in one) return one
    const {id, db, anyEnd} = one
    if (database === null || db !== database.index)
      throw new UsageError(
        `after: expected jobs of one database${database ? `, ${database.index}` : ''}, got ${idOf({id, db})}`,
        {hint: 'a job can wait only for jobs of the database that it is in'},
      )
    return {id, anyEnd}
  })
  return {...job, after}
}

/** In each that can be reached. */
export async function failAfterIn(databases: Databases): Promise<{failed: FailedAfter[]; isMore: boolean}> {
  const parts = [...databases].map(async database => {
    const part = await database.ifAlive(store => store.failAfter())
    const failed = (part?.failed ?? []).map(job => ({...job, db: database.index}))
    return {failed, isMore: part?.isMore ?? false}
  })
  const all = await Promise.all(parts)
  return {failed: all.flatMap(({failed}) => failed), isMore: all.some(({isMore}) => isMore)}
}

/** Each is looked through to its end at once: places are not to be told apart. */
export async function lookAfterIn(databases: Databases): Promise<null> {
  const look = async (database: Database) => {
    for (let from: number | null = 0; from !== null; ) {
      const at: number = from
      from = await database.ifAlive(store => store.lookAfter(at))
    }
  }
  await Promise.all([...databases].map(look))
  return null
}
