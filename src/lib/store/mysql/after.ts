/**
 * Jobs that wait for others on MySQL (@see ../shared/after.ts): what is known of those when one is stored, the procedures
 * that make due what has waited for a job that ends, and that fail what has waited for one that failed. Two jobs that one
 * waits for may end at once: each transaction locks it before it looks whether anything else is left.
 */
import {type FailedAfter, MAX_UINT32, type RowRef, WAS_CANCELLED} from '../../jobs/job.ts'
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
import {type MysqlConnection, type Session, textOf, textOrNull} from './connections/connection.ts'

/** Their names end in their version, as the turn's does. */
export const AFTER_PROCEDURE = 'jobq_after_8'
export const FAIL_PROCEDURE = 'jobq_fail_9'

/** The run_after of what waits. */
export const NEVER = MAX_UINT32

/** @param parts of its SQL, as SQL */
const execute = (parts: string) => `SET @jobq = CONCAT(${parts});
    PREPARE jobq_after FROM @jobq;
    EXECUTE jobq_after;
    DEALLOCATE PREPARE jobq_after;`

/** Indexes are forced: a table that is read to its end is locked to its end. */
export const CREATE_AFTER = `CREATE PROCEDURE ${AFTER_PROCEDURE} (
    j_ids MEDIUMTEXT CHARACTER SET ascii,    -- jobs that have left the queue: 'id,id…'
    j_failure VARCHAR(10) CHARACTER SET ascii -- how: 'failed' or 'aborted'; or NULL
)
    SQL SECURITY INVOKER
BEGIN
    ${execute(`'SELECT COUNT(*) INTO @jobq_n FROM jobq_after FORCE INDEX (after_id) WHERE after_id IN (', j_ids, ')'`)}
    IF @jobq_n > 0 THEN
        IF j_failure IS NOT NULL THEN
            ${execute(
              `'UPDATE jobq_after FORCE INDEX (after_id) SET outcome = ''', j_failure, ''' WHERE after_id IN (', j_ids, ') AND any_end = 0 AND outcome IS NULL'`,
            )}
        END IF;
        ${execute(
          `'SELECT COUNT(job.id) INTO @jobq_n FROM (SELECT DISTINCT job_id FROM jobq_after FORCE INDEX (after_id)
            WHERE after_id IN (', j_ids, ') AND outcome IS NULL ORDER BY job_id) a STRAIGHT_JOIN job ON job.id = a.job_id FOR UPDATE'`,
        )}
        SET @jobq_freed = 1; -- the turn's: what it takes now may be one of these
        ${execute(
          `'UPDATE (SELECT job_id, MIN(run_after) AS run_after FROM jobq_after FORCE INDEX (after_id)
            WHERE after_id IN (', j_ids, ') AND outcome IS NULL GROUP BY job_id) a STRAIGHT_JOIN job ON job.id = a.job_id
            SET job.run_after = a.run_after WHERE job.run_after = ${NEVER} AND NOT EXISTS (
              SELECT 1 FROM jobq_after o WHERE o.job_id = a.job_id AND o.after_id NOT IN (', j_ids, '))'`,
        )}
        ${execute(
          `'DELETE a FROM jobq_after a FORCE INDEX (after_id) WHERE after_id IN (', j_ids, ') AND outcome IS NULL'`,
        )}
    END IF;
END`

export const CREATE_FAIL = `CREATE PROCEDURE ${FAIL_PROCEDURE} (
    j_most INT UNSIGNED -- jobs; answers with those that have failed: 'id:priority:exception,…'
)
    SQL SECURITY INVOKER
BEGIN
    DECLARE j_now INT UNSIGNED DEFAULT UNIX_TIMESTAMP();
    DECLARE j_left INT UNSIGNED DEFAULT j_most;
    DECLARE j_job, j_cause, j_found, j_exception BIGINT UNSIGNED;
    DECLARE j_priority, j_retried INT UNSIGNED;
    DECLARE j_outcome VARCHAR(10) CHARACTER SET ascii;
    DECLARE j_message MEDIUMTEXT CHARACTER SET utf8mb4;
    DECLARE j_told MEDIUMTEXT CHARACTER SET ascii DEFAULT '';
    DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

    fail: WHILE j_left > 0 DO
        SET j_left = j_left - 1, j_job = NULL, j_found = NULL, j_message = NULL, j_retried = NULL;
        SELECT job_id, after_id, outcome INTO j_job, j_cause, j_outcome FROM jobq_after FORCE INDEX (outcome)
            WHERE outcome IN ('failed', 'aborted') LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF j_job IS NULL THEN
            LEAVE fail;
        END IF;
        SELECT id, priority INTO j_found, j_priority FROM job
            WHERE id = j_job AND run_after = ${NEVER} AND grabbed_until = 0 FOR UPDATE;
        IF j_found IS NOT NULL THEN
            SELECT SUBSTRING_INDEX(COALESCE(CONVERT(message USING utf8mb4), ''), CHAR(10 USING utf8mb4), 1), retried INTO j_message, j_retried
                FROM jobq_attempt a JOIN exception_log e ON e.id = a.exception_id
                WHERE a.job_id = j_cause AND a.is_last ORDER BY a.id DESC LIMIT 1;
            -- It names the job itself and the one that failed first: what is between them may be thousands
            IF j_message REGEXP '^job [0-9]+ failed: job [0-9]+ (failed|aborted)' THEN
                SET j_message = SUBSTRING(j_message, LOCATE(' failed: ', j_message) + 9);
            END IF;
            SET j_message = LEFT(COALESCE(j_message, IF(j_outcome = 'aborted', 'cancelled', '')), ${MOST_WORDS});
            SET j_message = CONCAT('job ', j_cause, ' ', j_outcome, IF(j_message = '', '', ': '), j_message);
            -- One that was cancelled while it waited has left nothing
            INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
                SELECT func_id, j_now, j_message, uniqkey, arg,
                    COALESCE(j_retried, IF(j_outcome = 'aborted', ${WAS_CANCELLED}, 0)) & ${WAS_CANCELLED} FROM job WHERE id = j_job;
            SET j_exception = LAST_INSERT_ID();
            INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, ended_at, exception_id)
                SELECT id, func_id, 'failed', 1, j_now, j_exception FROM job WHERE id = j_job;
            DELETE FROM job WHERE id = j_job;
            DELETE FROM jobq_context WHERE job_id = j_job;
            DELETE FROM jobq_death WHERE job_id = j_job;
            UPDATE jobq_wait SET outcome = 'failed', message = j_message, ended_at = j_now WHERE job_id = j_job;
            CALL ${AFTER_PROCEDURE}(j_job, 'failed');
            SET j_told = CONCAT(j_told, IF(j_told = '', '', ','), j_job, ':', j_priority, ':', j_exception);
        END IF;
        UPDATE jobq_after SET outcome = 'told' WHERE job_id = j_job AND outcome IN ('failed', 'aborted');
    END WHILE;
    SELECT j_told AS told;
END`

/** A call for jobs that have just left the queue, within their transaction. */
export function afterCall(ids: readonly number[], failure: 'failed' | 'aborted' | null): string {
  return `CALL ${AFTER_PROCEDURE}('${ids.join()}', ${failure === null ? 'NULL' : `'${failure}'`})`
}

/** Those in the queue are locked: none can end before it is known that it is waited for. */
export async function knownOf(session: Session, ids: readonly number[]): Promise<Map<number, Known>> {
  const known = new Map<number, Known>()
  if (ids.length === 0) return known
  const living = await session.run(
    `SELECT id FROM job FORCE INDEX (PRIMARY) WHERE id IN (${ids}) LOCK IN SHARE MODE`,
  )
  for (const {id} of living.rows) known.set(Number(id), 'there')
  const others = ids.filter(id => !known.has(id))
  if (others.length === 0) return known
  const {rows} = await session.run(
    `SELECT job_id, outcome FROM jobq_attempt WHERE job_id IN (${others}) AND is_last = 1
     UNION ALL SELECT job_id, outcome FROM jobq_wait WHERE job_id IN (${others}) AND outcome IS NOT NULL`,
  )
  for (const {job_id, outcome} of rows) known.set(Number(job_id), textOf(outcome) as Known)
  return known
}

/** Jobs that others wait for and that are gone, and how they ended as far as that is known. */
export async function goneOf(
  link: MysqlConnection,
  from: number,
): Promise<{next: number | null; gone: Map<'failed' | 'aborted' | null, number[]>}> {
  const {rows} = await link.run(
    `SELECT a.after_id AS id, job.id IS NULL AS gone,
       (SELECT outcome FROM jobq_attempt t WHERE t.job_id = a.after_id AND is_last = 1 ORDER BY t.id DESC LIMIT 1) AS outcome
     FROM (SELECT DISTINCT after_id FROM jobq_after FORCE INDEX (after_id) WHERE after_id > ${from} AND outcome IS NULL
       ORDER BY after_id LIMIT ${LOOK_BATCH}) a LEFT JOIN job ON job.id = a.after_id`,
  )
  const gone = Map.groupBy(
    rows.filter(row => Number(row.gone) === 1),
    ({outcome}) => {
      const how = textOrNull(outcome)
      return how === 'failed' || how === 'aborted' ? how : null
    },
  )
  const ids = [...gone].map(([how, some]) => [how, some.map(({id}) => Number(id))] as const)
  return {next: rows.length < LOOK_BATCH ? null : Number(rows.at(-1)!.id), gone: new Map(ids)}
}

/** Of those that have failed for others and can't be retried any more. */
export const FORGET_TOLD = `DELETE a FROM jobq_after a FORCE INDEX (outcome) LEFT JOIN jobq_attempt t ON t.job_id = a.job_id
  WHERE a.outcome = 'told' AND t.id IS NULL`

/** As Store.failAfter, where something is marked. */
export async function failMarked(link: MysqlConnection): Promise<FailedAfter[]> {
  const [, answer] = await link.batch(['START TRANSACTION', `CALL ${FAIL_PROCEDURE}(${FAIL_BATCH})`])
  await link.run('COMMIT')
  const told = textOf(answer!.rows[0]!.told)
  if (told === '') return []
  const jobs = told.split(',').map(each => each.split(':').map(Number) as [number, number, number])
  const {rows} = await link.run(
    `SELECT id, func_id, (SELECT ${link.names.select('name')} FROM func WHERE func.id = func_id) AS func,
       ${link.keys.select('uniqkey')} AS uniqkey, message
     FROM exception_log WHERE id IN (${jobs.map(([, , exception]) => exception)})`,
  )
  const exceptions = new Map(rows.map(row => [Number(row.id), row]))
  return jobs.flatMap(([id, priority, exception]) => {
    const row = exceptions.get(exception)
    if (!row) return []
    const func = row.func === null ? `#${row.func_id}` : textOf(row.func)
    return [{id, func, uniqkey: textOrNull(row.uniqkey), priority, message: textOf(row.message)}]
  })
}

/** As Store.followers. */
export async function followers(link: MysqlConnection, exceptionId: number): Promise<RowRef[]> {
  const {rows} = await link.run(followersOf(String(exceptionId)))
  return rows.map(({id}) => ({id: Number(id)}))
}

/** What the job of this exception is to wait for when it is retried; it is forgotten. @throws AfterFailedError */
export async function takeEdges(link: MysqlConnection, exceptionId: number): Promise<Edge[]> {
  const {rows} = await link.run(waitedFor(String(exceptionId)).replaceAll('"', '`'))
  if (rows.length === 0) return []
  const edges = rows.map(({id, anyEnd}) => ({id: Number(id), anyEnd: Number(anyEnd) === 1}))
  const latest = await latestOf(
    edges.map(({id}) => id),
    ids => nextOf(link, ids),
  )
  const known = await knownOf(link, [...new Set(latest.values())])
  const again = edgesAgain(
    edges,
    id => latest.get(id)!,
    id => known.get(id),
  )
  await link.run(`DELETE FROM jobq_after WHERE job_id = ${Number(rows[0]!.old)}`)
  return again
}

async function nextOf(link: MysqlConnection, ids: readonly number[]): Promise<Map<number, number>> {
  const {rows} = await link.run(
    `SELECT job_id, MAX(retried_as) AS next FROM jobq_attempt WHERE job_id IN (${ids}) AND retried_as > job_id GROUP BY job_id`,
  )
  return new Map(rows.map(row => [Number(row.job_id), Number(row.next)]))
}
