/**
 * Jobs that wait for others. Such a job's run_after is the last time that its column holds, so that nobody takes it, Perl's
 * Qudo and older jobqs included, and it costs a grab nothing; jobq_after has a row for each job that it waits for, with the
 * time that it asked for itself. The transaction that ends a job deletes what waits for it there, and makes due whose last
 * one that was. What waits for a job that fails is marked (`outcome`), and fails in transactions of its own, some jobs in
 * each (Store.failAfter): a chain of ten thousand holds no lock for long, and whoever works goes on with what someone has left. Its
 * rows stay, as 'told', for a retry.
 */
import {AfterFailedError, NotFoundError, noDatabase, UsageError} from '../../jobs/errors.ts'
import {CANCELLED, type JobEnd, type NewJob, WAS_CANCELLED} from '../../jobs/job.ts'

/** What is known of a job: it is in the queue, or has ended so. */
export type Known = 'there' | JobEnd['outcome']

/** What a job is still to wait for. */
export interface Edge {
  id: number
  anyEnd: boolean
}

/** How many jobs fail in one transaction for one that they waited for. */
export const FAIL_BATCH = 100
/** How many jobs that others wait for are looked at in one transaction, whether they are still there. */
export const LOOK_BATCH = 1000

/**
 * What this job is to wait for, of what it was asked to; empty: it has all ended well.
 * @param idOf of the nth job that was stored before it in the same call, the first being 1
 * @throws NotFoundError, AfterFailedError, UsageError
 */
export function edgesOf(
  {after = []}: NewJob,
  known: (id: number) => Known | undefined,
  idOf: (nth: number) => number | undefined = () => undefined,
): Edge[] {
  const edges = new Map<number, Edge>()
  for (const one of after) {
    const anyEnd = one.anyEnd ?? false
    if ('db' in one && one.db !== undefined && one.db !== 1) throw noDatabase(one.db)
    const id = 'nth' in one ? idOf(one.nth) : one.id
    if (id === undefined) throw noEarlier((one as {nth: number}).nth)
    const how = 'nth' in one ? 'there' : known(id)
    if (how === undefined || how === 'gone') throw unknown(id)
    if ((how === 'failed' || how === 'aborted') && !anyEnd) throw new AfterFailedError(id, how)
    if (how === 'there') edges.set(id, {id, anyEnd: anyEnd && (edges.get(id)?.anyEnd ?? true)})
  }
  return [...edges.values()]
}

/** {id} of the exceptions that Store.followers tells. @param exception its id, as SQL */
export const followersOf = (
  exception: string,
) => `SELECT DISTINCT t.exception_id AS id, a.job_id FROM jobq_attempt x
  JOIN jobq_after a ON a.after_id = x.job_id AND a.outcome = 'told'
  JOIN jobq_attempt t ON t.job_id = a.job_id AND t.is_last
  JOIN exception_log e ON e.id = t.exception_id AND e.retried IN (0, ${WAS_CANCELLED})
  WHERE x.exception_id = ${exception} AND x.is_last AND NOT EXISTS (
    SELECT 1 FROM jobq_after o JOIN jobq_attempt f ON f.job_id = o.after_id AND f.is_last
    WHERE o.job_id = a.job_id AND o.outcome = 'told' AND f.exception_id IS NOT NULL AND f.retried_as IS NULL)
  ORDER BY a.job_id`

/** {old, id, anyEnd}: the job of an exception, and what it waited for. */
export const waitedFor = (
  exception: string,
) => `SELECT x.job_id AS old, a.after_id AS id, a.any_end AS "anyEnd"
  FROM jobq_attempt x JOIN jobq_after a ON a.job_id = x.job_id WHERE x.exception_id = ${exception} AND x.is_last`

/**
 * What a job that is retried is to wait for, of what it waited for.
 * @param latest what a job was retried as, at last; itself, if it was not
 * @throws AfterFailedError
 */
export function edgesAgain(
  edges: readonly Edge[],
  latest: (id: number) => number,
  known: (id: number) => Known | undefined,
): Edge[] {
  return edges.flatMap(({id, anyEnd}) => {
    const now = latest(id)
    const how = known(now)
    if (now !== id && !anyEnd && (how === 'failed' || how === 'aborted')) throw new AfterFailedError(now, how)
    return how === 'there' ? {id: now, anyEnd} : []
  })
}

/** What each of these jobs was retried as, at last. @param nextOf asks what some were retried as, those that were */
export async function latestOf(
  ids: readonly number[],
  nextOf: (ids: readonly number[]) => Promise<Map<number, number>>,
): Promise<Map<number, number>> {
  const latest = new Map(ids.map(id => [id, id]))
  for (let asked = [...ids]; asked.length > 0; ) {
    const next = await nextOf(asked)
    for (const [id, now] of latest) latest.set(id, next.get(now) ?? now)
    asked = [...next.values()]
  }
  return latest
}

/** The ids of jobs that are not of the same call. */
export function idsIn(jobs: readonly NewJob[]): number[] {
  const ids = jobs.flatMap(({after = []}) => after.flatMap(one => ('nth' in one ? [] : one.id)))
  return [...new Set(ids)].sort((a, b) => a - b)
}

/**
 * Why a job failed that waited for another. It names that one, and behind it the one that failed by itself, since what
 * stands between may be thousands.
 * @param words of that one's last exception, if there is one
 */
export function messageOf(id: number, outcome: 'failed' | 'aborted', words = ''): string {
  const [line = ''] = words.split('\n', 1)
  const root = /^job \d+ failed: (?=job \d+ (failed|aborted))/.exec(line)?.[0] ?? ''
  const why = line.slice(root.length, root.length + MOST_WORDS) || (outcome === 'aborted' ? CANCELLED : '')
  return `job ${id} ${outcome}${why && `: ${why}`}`
}

/** So many characters of an exception go on to those that waited. */
export const MOST_WORDS = 500

function noEarlier(nth: number): UsageError {
  return new UsageError(`after: expected an earlier job, got #${nth}`, {
    hint: 'a job waits for what comes before it, so none can wait in a circle: #1 is the first',
  })
}

function unknown(id: number): NotFoundError {
  return new NotFoundError(`after: no job ${id} in the queue, and how it ended is not kept`, {
    hint: 'one that is enqueued with --tracked keeps its end; or enqueue both in one batch, with "after": ["#1"]',
  })
}
