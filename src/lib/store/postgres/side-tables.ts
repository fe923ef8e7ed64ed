/**
 * What jobq keeps beside a job on PostgreSQL, in tables of its own: its context, and whether someone wants to know how
 * it ends. Parts of the statements that insert jobs.
 */
import {KEPT_SECONDS, type NewJob} from '../../jobs/job.ts'
import {NOW} from './connections/connections.ts'

/** INTEGER is signed in PostgreSQL. */
export const MAX_INTEGER = 2_147_483_647

/** How many rows are added between two sweeps, each of which looks at twice as many. */
const SWEEP_EVERY = 50
/** Where a process begins: anywhere, since most that enqueue are short. */
const ANYWHERE = -1

export type Beside = Pick<NewJob, 'context' | 'tracked' | 'tags' | 'expires' | 'uniqFor'>

export function hasBeside(job: Beside): boolean {
  return job.context !== undefined || job.tracked === true || hasMore(job)
}

/** What few have, in more tables: so there are statements with them, and without. */
export function hasMore({tags, expires, uniqFor}: Beside): boolean {
  return [tags, expires, uniqFor].some(more => more !== undefined)
}

/**
 * Common table expressions that write it. An id that was given before, by a sequence that was set back, may have rows.
 * @param jobs a table with `id`, `context` and `tracked`; and MORE_COLUMNS if `isMore`
 */
export const writeBeside = (jobs: string, isMore: boolean) => `${isMore ? writeMore(jobs) : ''}
  contexts AS (
    INSERT INTO jobq_context (job_id, context) SELECT id, context FROM ${jobs} WHERE context IS NOT NULL
    ON CONFLICT (job_id) DO UPDATE SET context = excluded.context),
  waits AS (
    INSERT INTO jobq_wait (job_id) SELECT id FROM ${jobs} WHERE tracked
    ON CONFLICT (job_id) DO UPDATE SET outcome = NULL, message = NULL, ended_at = NULL)`

const writeMore = (jobs: string) => `
  tags AS (
    INSERT INTO jobq_tag (job_id, name, value) SELECT beside.id, t.key, t.value FROM ${jobs}, json_each_text(beside.tags::JSON) t
    ON CONFLICT (job_id, name) DO UPDATE SET value = excluded.value),
  expiries AS (
    INSERT INTO jobq_expiry (job_id, expires_at)
    SELECT id, least(${NOW} + beside.expires, ${MAX_INTEGER})::INTEGER FROM ${jobs} WHERE beside.expires IS NOT NULL
    ON CONFLICT (job_id) DO UPDATE SET expires_at = excluded.expires_at),
  keys AS (
    INSERT INTO jobq_key (func_id, uniqkey, taken_until, job_id)
    SELECT func_id, uniqkey, least(${NOW} + beside.uniq_for, ${MAX_INTEGER})::INTEGER, id FROM ${jobs}
    WHERE beside.uniq_for IS NOT NULL
    ON CONFLICT (func_id, uniqkey) DO UPDATE SET taken_until = excluded.taken_until, job_id = excluded.job_id),`

/** Tags as JSON; seconds. Besides them there are func_id and uniqkey. */
export const MORE_COLUMNS = ['tags TEXT', 'expires BIGINT', 'uniq_for BIGINT'].map(
  column => column.split(' ') as [string, string],
)

/** Of a job, as MORE_COLUMNS has them. */
export function moreValues({tags, expires, uniqFor}: Beside): [string | null, number | null, number | null] {
  const json = tags === undefined ? null : JSON.stringify(Object.fromEntries(tags))
  return [json, expires ?? null, uniqFor ?? null]
}

/** Of two parameters, sweepValues'; SWEPT goes to the columns of the answer. Rows that someone has locked are left. */
export const sweep = (first: number) => `
  ${sweepTable('jobq_context', first, 'TRUE')},
  ${sweepTable('jobq_wait', first, `(kept.outcome IS NULL OR kept.ended_at < ${NOW} - ${KEPT_SECONDS})`)}`

export const SWEPT = `(SELECT max(job_id) FROM jobq_context_stretch) AS "contextTo",
  (SELECT max(job_id) FROM jobq_wait_stretch) AS "waitTo"`

function sweepTable(table: string, first: number, condition: string): string {
  const from = `$${table === 'jobq_context' ? first : first + 1}::BIGINT`
  const rows = `$${first + 2}::INTEGER`
  return `${table}_stretch AS MATERIALIZED (
    SELECT job_id FROM ${table} WHERE job_id > CASE WHEN ${from} < 0
      THEN (SELECT floor(random() * max(job_id))::BIGINT FROM ${table}) ELSE ${from} END
    ORDER BY job_id LIMIT ${rows}),
  ${table}_swept AS (
    DELETE FROM ${table} WHERE job_id = ANY (ARRAY(
      SELECT kept.job_id FROM ${table}_stretch s JOIN ${table} kept ON kept.job_id = s.job_id
      WHERE NOT EXISTS (SELECT FROM job j WHERE j.id = s.job_id) AND ${condition} FOR UPDATE OF kept SKIP LOCKED)))`
}

/**
 * Where a process has come to in its sweeps. Whoever ends a job here takes its rows away. But Perl and older jobqs
 * leave them, and an end may never be asked for: so who adds rows looks for such, a stretch of the tables at a time,
 * and they can't pile up.
 */
export class Sweeper {
  #left = 1 + Math.floor(Math.random() * SWEEP_EVERY)
  #contextFrom = ANYWHERE
  #waitFrom = ANYWHERE

  /** @param added so many rows are about to be. @returns from where to sweep (null: not now), and how many rows */
  values(added: number): [contextFrom: number | null, waitFrom: number | null, rows: number] {
    this.#left -= added
    if (this.#left > 0) return [null, null, 0]
    this.#left = SWEEP_EVERY
    return [this.#contextFrom, this.#waitFrom, 2 * Math.max(added, SWEEP_EVERY)]
  }

  /** @param row with SWEPT's columns */
  swept(row: Record<string, unknown>, [from]: readonly (number | null)[]): void {
    if (from === null) return
    this.#contextFrom = Number(row.contextTo ?? 0)
    this.#waitFrom = Number(row.waitTo ?? 0)
  }
}
