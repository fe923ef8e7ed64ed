/**
 * Jobs that wait for others on PostgreSQL (@see ../shared/after.ts): what is known of those when one is stored, the functions
 * that make due what has waited for a job that ends, and that fail what has waited for one that failed. Two jobs that one
 * waits for may end at once: each transaction locks it before it looks whether anything else is left, in a statement, and so
 * a snapshot, of its own.
 */
import {type FailedAfter, type RowRef, WAS_CANCELLED} from '../../jobs/job.ts'
import {
  type Edge,
  edgesAgain,
  FAIL_BATCH,
  followersOf,
  type Known,
  LOOK_BATCH,
  latestOf,
  MOST_WORDS,
  waitedFor,
} from '../shared/after.ts'
import {bigints, booleans} from './arrays.ts'
import type {PostgresConnections, Send, Statement, Value} from './connections/connections.ts'

/** The run_after of what waits. INTEGER is signed in PostgreSQL. */
export const NEVER = 2_147_483_647

/** `ids` have left the queue; `failure`, how: failed or aborted, or NULL. */
export const AFTER_FUNCTION = `CREATE OR REPLACE FUNCTION jobq_after_5(ids BIGINT[], failure TEXT) RETURNS VOID LANGUAGE plpgsql AS $body$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM jobq_after a WHERE a.after_id = ANY (ids)) THEN RETURN; END IF;
    IF failure IS NOT NULL THEN
        UPDATE jobq_after a SET outcome = failure WHERE a.after_id = ANY (ids) AND NOT a.any_end AND a.outcome IS NULL;
    END IF;
    PERFORM FROM job j WHERE j.id = ANY (ARRAY(
        SELECT a.job_id FROM jobq_after a WHERE a.after_id = ANY (ids) AND a.outcome IS NULL)) ORDER BY j.id FOR UPDATE;
    UPDATE job j SET run_after = a.run_after FROM jobq_after a
     WHERE a.after_id = ANY (ids) AND a.outcome IS NULL AND j.id = a.job_id AND j.run_after = ${NEVER}
       AND NOT EXISTS (SELECT FROM jobq_after o WHERE o.job_id = a.job_id AND o.after_id <> ALL (ids));
    DELETE FROM jobq_after a WHERE a.after_id = ANY (ids) AND a.outcome IS NULL;
END
$body$`

/** Fails so many jobs at most. @returns what it has failed */
export const FAIL_FUNCTION = `CREATE OR REPLACE FUNCTION jobq_fail_6(most INTEGER)
    RETURNS TABLE (id BIGINT, func TEXT, uniqkey TEXT, priority INTEGER, message TEXT) LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    now_s CONSTANT INTEGER := floor(extract(epoch FROM clock_timestamp()));
    edge RECORD; the_job RECORD; words TEXT; marks INTEGER; the_message TEXT; the_exception BIGINT;
BEGIN
    FOR i IN 1..most LOOP
        SELECT a.job_id, a.after_id, a.outcome INTO edge FROM jobq_after a
         WHERE a.outcome = ANY ('{failed,aborted}') LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        SELECT j.id, coalesce(f.name, '#' || j.func_id) AS name, j.uniqkey, j.priority INTO the_job
          FROM job j LEFT JOIN func f ON f.id = j.func_id
         WHERE j.id = edge.job_id AND j.run_after = ${NEVER} AND j.grabbed_until = 0 FOR UPDATE OF j;
        IF FOUND THEN
            SELECT split_part(convert_from(e.message, 'UTF8'), E'\\n', 1), e.retried INTO words, marks
              FROM jobq_attempt t JOIN exception_log e ON e.id = t.exception_id
             WHERE t.job_id = edge.after_id AND t.is_last ORDER BY t.id DESC LIMIT 1;
            -- It names the job itself and the one that failed first: what is between them may be thousands
            words := left(regexp_replace(coalesce(words, CASE edge.outcome WHEN 'aborted' THEN 'cancelled' ELSE '' END),
                '^job [0-9]+ failed: (?=job [0-9]+ (failed|aborted))', ''), ${MOST_WORDS});
            the_message := 'job ' || edge.after_id || ' ' || edge.outcome || CASE words WHEN '' THEN '' ELSE ': ' || words END;
            INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
                SELECT j.func_id, now_s, convert_to(the_message, 'UTF8'), j.uniqkey, j.arg,
                    -- One that was cancelled while it waited has left nothing
                    coalesce(marks, CASE edge.outcome WHEN 'aborted' THEN ${WAS_CANCELLED} ELSE 0 END) & ${WAS_CANCELLED}
                  FROM job j WHERE j.id = the_job.id
                RETURNING exception_log.id INTO the_exception;
            INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, ended_at, exception_id)
                SELECT j.id, j.func_id, 'failed', TRUE, now_s, the_exception FROM job j WHERE j.id = the_job.id;
            DELETE FROM job j WHERE j.id = the_job.id;
            DELETE FROM jobq_context c WHERE c.job_id = the_job.id;
            DELETE FROM jobq_death d WHERE d.job_id = the_job.id;
            UPDATE jobq_wait w SET outcome = 'failed', message = convert_to(the_message, 'UTF8'), ended_at = now_s
             WHERE w.job_id = the_job.id;
            PERFORM jobq_after_5(ARRAY[the_job.id], 'failed');
            id := the_job.id; func := the_job.name; uniqkey := the_job.uniqkey; message := the_message; priority := the_job.priority;
            RETURN NEXT;
        END IF;
        UPDATE jobq_after a SET outcome = 'told' WHERE a.job_id = edge.job_id AND a.outcome = ANY ('{failed,aborted}');
    END LOOP;
END
$body$`

const AFTER = {name: 'jobq_after', text: 'SELECT jobq_after_5($1::BIGINT[], $2)'}
const MARKED = {
  name: 'jobq_after_marked',
  text: `SELECT FROM jobq_after WHERE outcome = ANY ('{failed,aborted}') LIMIT 1`,
}
const FAIL = {
  name: 'jobq_fail',
  text: 'SELECT id, func, uniqkey, priority, message FROM jobq_fail_6($1)',
}
const LIVING = {
  name: 'jobq_after_living',
  text: 'SELECT id FROM job WHERE id = ANY ($1::BIGINT[]) FOR KEY SHARE',
}
const ENDED = {
  name: 'jobq_after_ended',
  text: `SELECT job_id AS id, outcome FROM jobq_attempt WHERE job_id = ANY ($1::BIGINT[]) AND is_last
    UNION ALL SELECT job_id, outcome FROM jobq_wait WHERE job_id = ANY ($1::BIGINT[]) AND outcome IS NOT NULL`,
}
const INSERT = {
  name: 'jobq_after_insert',
  text: `INSERT INTO jobq_after (job_id, after_id, any_end, run_after)
    SELECT e.job_id, e.after_id, e.any_end, e.run_after::INTEGER
    FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BOOLEAN[], $4::BIGINT[]) AS e (job_id, after_id, any_end, run_after)
    ON CONFLICT (job_id, after_id) DO UPDATE SET any_end = excluded.any_end, run_after = excluded.run_after, outcome = NULL`,
}
const ALSO = {
  name: 'jobq_after_also',
  text: `INSERT INTO jobq_after (job_id, after_id, any_end, run_after)
    SELECT a.job_id, n.id, a.any_end, a.run_after FROM jobq_after a CROSS JOIN unnest($2::BIGINT[]) AS n (id)
    WHERE a.after_id = $1::BIGINT AND a.outcome IS NULL ON CONFLICT DO NOTHING`,
}
const LOOK = {
  name: 'jobq_after_look',
  text: `SELECT a.after_id AS id, NOT EXISTS (SELECT FROM job WHERE job.id = a.after_id) AS gone,
      (SELECT t.outcome FROM jobq_attempt t WHERE t.job_id = a.after_id AND t.is_last ORDER BY t.id DESC LIMIT 1) AS outcome
    FROM (SELECT DISTINCT after_id FROM jobq_after WHERE after_id > $1::BIGINT AND outcome IS NULL
      ORDER BY after_id LIMIT ${LOOK_BATCH}) a`,
}
const FORGET_TOLD = {
  name: 'jobq_after_forget',
  text: `DELETE FROM jobq_after a WHERE a.outcome = 'told' AND NOT EXISTS (SELECT FROM jobq_attempt t WHERE t.job_id = a.job_id)`,
}

const FOLLOWERS = {name: 'jobq_after_followers', text: followersOf('$1::BIGINT')}
const WAITED_FOR = {name: 'jobq_after_waited_for', text: waitedFor('$1::BIGINT')}
const FORGET = {name: 'jobq_after_forget_job', text: 'DELETE FROM jobq_after WHERE job_id = $1::BIGINT'}
const LATEST = {
  name: 'jobq_after_latest',
  text: `SELECT job_id AS id, max(retried_as) AS next FROM jobq_attempt
    WHERE job_id = ANY ($1::BIGINT[]) AND retried_as > job_id GROUP BY job_id`,
}

/** For jobs that have just left the queue, within their transaction. */
export function afterEnds(
  ids: readonly number[],
  failure: 'failed' | 'aborted' | null,
): [Statement, Value[]] {
  return [AFTER, [bigints(ids), failure]]
}

/** What waits for this job waits for those as well. */
export function alsoAfter(id: number, others: readonly number[]): [Statement, Value[]] {
  return [ALSO, [id, bigints(others)]]
}

/** Those in the queue are locked: none can end before it is known that it is waited for. */
export async function knownOf(send: Send, ids: readonly number[]): Promise<Map<number, Known>> {
  const known = new Map<number, Known>()
  if (ids.length === 0) return known
  for (const {id} of (await send(LIVING, [bigints(ids)])).rows) known.set(Number(id), 'there')
  const others = ids.filter(id => !known.has(id))
  if (others.length === 0) return known
  for (const {id, outcome} of (await send(ENDED, [bigints(others)])).rows)
    known.set(Number(id), String(outcome) as Known)
  return known
}

export interface WaitingJob {
  id: number
  runAfter: number
  edges: readonly Edge[]
}

export function insertEdges(jobs: readonly WaitingJob[]): [Statement, Value[]] {
  const rows = jobs.flatMap(({id, runAfter, edges}) => edges.map(edge => ({id, runAfter, edge})))
  return [
    INSERT,
    [
      bigints(rows.map(({id}) => id)),
      bigints(rows.map(({edge}) => edge.id)),
      booleans(rows.map(({edge}) => edge.anyEnd)),
      bigints(rows.map(({runAfter}) => runAfter)),
    ],
  ]
}

/** As Store.failAfter. */
export async function failAfter(
  link: PostgresConnections,
): Promise<{failed: FailedAfter[]; isMore: boolean}> {
  if ((await link.run(MARKED, [], true)).rows.length === 0) return {failed: [], isMore: false}
  const {rows} = await link.transaction(send => send(FAIL, [FAIL_BATCH]))
  return {failed: rows as unknown as FailedAfter[], isMore: true}
}

/** As Store.lookAfter. */
export async function lookAfter(link: PostgresConnections, from: number): Promise<number | null> {
  const {rows} = await link.run(LOOK, [from], true)
  const gone = Map.groupBy(
    rows.filter(row => row.gone === true),
    ({outcome}) => (outcome === 'failed' || outcome === 'aborted' ? outcome : null),
  )
  if (gone.size > 0)
    await link.transaction(async send => {
      for (const [how, some] of gone)
        await send(
          ...afterEnds(
            some.map(({id}) => Number(id)),
            how,
          ),
        )
    })
  if (from === 0) await link.run(FORGET_TOLD, [], true)
  return rows.length < LOOK_BATCH ? null : Number(rows.at(-1)!.id)
}

/** As Store.followers. */
export async function followers(send: Send, exceptionId: number): Promise<RowRef[]> {
  return (await send(FOLLOWERS, [exceptionId])).rows.map(({id}) => ({id: Number(id)}))
}

/** What the job of this exception is to wait for when it is retried; it is forgotten. @throws AfterFailedError */
export async function takeEdges(send: Send, exceptionId: number): Promise<Edge[]> {
  const {rows} = await send(WAITED_FOR, [exceptionId])
  if (rows.length === 0) return []
  const edges = rows.map(({id, anyEnd}) => ({id: Number(id), anyEnd: anyEnd === true}))
  const latest = await latestOf(
    edges.map(({id}) => id),
    async ids =>
      new Map((await send(LATEST, [bigints(ids)])).rows.map(({id, next}) => [Number(id), Number(next)])),
  )
  const known = await knownOf(send, [...new Set(latest.values())])
  const again = edgesAgain(
    edges,
    id => latest.get(id)!,
    id => known.get(id),
  )
  await send(FORGET, [Number(rows[0]!.old)])
  return again
}
