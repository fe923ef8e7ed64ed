/** What has become of jobs, from what is kept of their attempts: failures, ends, deaths. */
import type {NoticeName} from '../../config/notices.ts'
import type {RowRef} from '../../jobs/job.ts'
import type {OneDatabase} from '../../store/store.ts'

/** Something that a notice is about. */
export interface Happened extends RowRef {
  /** Which of its job's deaths it is, the first being 1; 0 for what is none. */
  nth: number
  jobId: number | null
  func: string
  uniqkey: string | null
  /** Unix seconds. */
  at: number
  message: string
  isLast: boolean
  exceptionId: number | null
}

/**
 * What has happened since then, by each kind of notice that is about it.
 * @param names which notices are asked for. @param from, now Unix seconds, by the database's clock
 */
export async function* happenedSince(
  database: OneDatabase,
  names: ReadonlySet<NoticeName>,
  from: number,
  now: number,
): AsyncGenerator<[NoticeName, Happened]> {
  const all = {limit: Number.MAX_SAFE_INTEGER, offset: 0}
  if (names.has('onFailed') || names.has('onGivenUp') || names.has('onDeath'))
    for await (const row of database.eachException({...all, since: {ago: now - from}, heads: true})) {
      const {state, exceptionTime: at, id: exceptionId} = row
      if (at < from || state === 'cancelled') continue
      const isLast = state === 'failed' || state === 'retried'
      const happened = {...row, at, isLast, exceptionId, nth: 0}
      yield ['onFailed', happened]
      if (isLast) yield ['onGivenUp', happened]
      for (const death of lastDeaths(happened)) yield ['onDeath', death]
    }
  if (names.has('onCompleted'))
    for await (const row of database.eachStatus(all)) {
      if (row.jobEndTime < from) break
      if (row.status !== 'completed') continue
      yield [
        'onCompleted',
        {...row, at: row.jobEndTime, message: '', isLast: true, exceptionId: null, nth: 0},
      ]
    }
  if (names.has('onDeath'))
    for (const [, rows] of Map.groupBy(await database.deaths(), ({jobId}) => jobId))
      for (const [i, {jobId, diedAt: at, how: message, ...row}] of rows.reverse().entries())
        if (at >= from)
          yield [
            'onDeath',
            {...row, id: jobId, jobId, at, message, isLast: false, exceptionId: null, nth: i + 1},
          ]
}

/** With a job's last death its others are kept no more: the exception has them. */
function* lastDeaths(happened: Happened): Generator<Happened> {
  const {jobId, message} = happened
  const [, times = '0'] = /^its worker died (\d+) times: /.exec(message) ?? []
  if (jobId === null) return
  const how = message.split(/(?:: |; )\d+\. /).slice(1)
  for (let nth = 1; nth <= Number(times); nth++)
    yield {...happened, id: jobId, nth, message: how[nth - 1] ?? message}
}
