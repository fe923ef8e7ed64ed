/** Keys that stay taken, on PostgreSQL; rows whose time is over go as others come. */
import {DuplicateJobError} from '../../../jobs/errors.ts'
import type {NewJob} from '../../../jobs/job.ts'
import {texts} from '../arrays.ts'
import {NOW, type Send} from '../connections/connections.ts'

/** Does the key of a function stay taken? Both as SQL. */
export const isTaken = (func: string, uniqkey: string) =>
  `EXISTS (SELECT FROM jobq_key k WHERE k.func_id = ${func} AND k.uniqkey = ${uniqkey} AND k.taken_until > ${NOW})`

const FIND = {
  name: 'jobq_find_takers',
  text: `SELECT new.nth, k.job_id AS id, k.taken_until AS "takenUntil" FROM unnest($1::TEXT[], $2::TEXT[])
      WITH ORDINALITY AS new (func, uniqkey, nth)
    JOIN func ON func.name = new.func JOIN jobq_key k ON k.func_id = func.id AND k.uniqkey = new.uniqkey AND k.taken_until > ${NOW}`,
}

/** So many rows that are over go with each that comes: they can't pile up. */
const SWEPT = 2
const SWEEP = {
  name: 'jobq_sweep_keys',
  text: `DELETE FROM jobq_key WHERE ctid = ANY (ARRAY(SELECT ctid FROM jobq_key WHERE taken_until <= ${NOW}
    ORDER BY taken_until LIMIT $1 FOR UPDATE SKIP LOCKED))`,
}

/** Behind these jobs, in a statement of its own: one of those rows may have been taken anew. */
export async function sweepKeys(send: Send, jobs: readonly NewJob[]): Promise<void> {
  const taken = jobs.filter(({uniqFor}) => uniqFor !== undefined).length
  if (taken > 0) await send(SWEEP, [SWEPT * taken])
}

/** The refusals of those of these jobs whose keys stay taken; null for the others. */
export async function takersOf(send: Send, jobs: readonly NewJob[]): Promise<(DuplicateJobError | null)[]> {
  const {rows} = await send(FIND, [
    texts(jobs.map(({func}) => func)),
    texts(jobs.map(({uniqkey}) => uniqkey)),
  ])
  const found = new Map(rows.map(row => [Number(row.nth), row]))
  return jobs.map(({func, uniqkey}, i) => {
    const row = found.get(i + 1)
    if (!row || uniqkey === null) return null
    return new DuplicateJobError(func, uniqkey, Number(row.id), {takenUntil: Number(row.takenUntil)})
  })
}
