/**
 * Writing how attempts ended on MySQL, within the transaction of a turn: a procedure for each end that is more than
 * completed without a status, which the turn's own procedure writes (procedure.ts).
 */
import {JobqError} from '../../jobs/errors.ts'
import {keptOutput, MAX_DEATHS, type Settlement, WAS_CANCELLED} from '../../jobs/job.ts'
import type {SettleResult} from '../store.ts'
import {AFTER_PROCEDURE, afterCall, NEVER} from './after.ts'
import {literal, type MysqlConnection, type Reply, textOf} from './connections/connection.ts'
import {Inserter} from './insert.ts'

/** Its name ends in its version, as the turn's does. */
export const END_PROCEDURE = 'jobq_end_9'

/**
 * An end is written if its lease still holds; its row is locked first, so that all of it finds the row or nothing does.
 * The deaths of a job's workers are counted in the database, so that it holds across processes; ids are never used
 * twice. job_status.arg is NOT NULL in Qudo's MySQL schema, alone: no argument is an empty one there.
 */
export const CREATE_END = `CREATE PROCEDURE ${END_PROCEDURE} (
    j_job BIGINT UNSIGNED,
    j_mine INT UNSIGNED,                        -- its grabbed_until
    j_outcome VARCHAR(10) CHARACTER SET ascii,
    j_message MEDIUMTEXT CHARACTER SET utf8mb4, -- of the exception, or how its worker died; or NULL
    j_retry_in BIGINT UNSIGNED,                 -- NULL: not again
    j_started INT UNSIGNED,                     -- of its status; or NULL
    j_ended INT UNSIGNED,
    j_began INT UNSIGNED,                       -- where and since when it ran, as far as it is known
    j_host VARCHAR(255) CHARACTER SET utf8mb4,
    j_pid INT UNSIGNED,
    j_is_cut INT,                               -- of the output that is to be kept; NULL: there is none
    j_output MEDIUMBLOB,
    j_is_cancelled INT,
    j_is_asked INT                              -- answer; the exception of a last death is @jobq_failed in any case
)
    SQL SECURITY INVOKER
BEGIN
    DECLARE j_now INT UNSIGNED DEFAULT UNIX_TIMESTAMP();
    DECLARE j_deaths INT UNSIGNED DEFAULT 0;
    DECLARE j_is_death INT DEFAULT 0;
    DECLARE j_found, j_exception, j_status BIGINT UNSIGNED;
    DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

    SET @jobq_failed = NULL;
    SELECT id INTO j_found FROM job WHERE id = j_job AND grabbed_until = j_mine FOR UPDATE;
    IF j_found IS NOT NULL THEN
        IF j_outcome = 'died' THEN
            INSERT INTO jobq_death (job_id, died_at, how) VALUES (j_job, j_now, j_message);
            SELECT COUNT(*), CONCAT('its worker died ', COUNT(*), ' times: ', GROUP_CONCAT(nth, '. ', how ORDER BY nth SEPARATOR '; '))
              INTO j_deaths, j_message
              FROM (SELECT ROW_NUMBER() OVER (ORDER BY id) AS nth, how FROM jobq_death WHERE job_id = j_job) deaths;
            SET j_is_death = j_deaths < ${MAX_DEATHS}, j_outcome = IF(j_deaths < ${MAX_DEATHS}, 'released', 'failed');
        END IF;
        IF j_outcome IN ('failed', 'aborted') THEN
            INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
                SELECT func_id, j_now, j_message, uniqkey, arg, IF(j_is_cancelled, ${WAS_CANCELLED}, 0) FROM job WHERE id = j_job;
            SET j_exception = LAST_INSERT_ID();
        END IF;
        IF j_deaths >= ${MAX_DEATHS} THEN
            SET @jobq_failed = j_exception;
            DELETE FROM jobq_death WHERE job_id = j_job;
        END IF;
        IF j_started IS NOT NULL AND j_outcome <> 'released' THEN
            INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
                SELECT func_id, COALESCE(arg, ''), uniqkey,
                    CASE j_outcome WHEN 'failed' THEN 'failed' WHEN 'aborted' THEN 'abort' ELSE 'completed' END,
                    j_started, j_ended
                FROM job WHERE id = j_job;
            SET j_status = LAST_INSERT_ID();
        END IF;
        IF j_exception IS NOT NULL OR j_status IS NOT NULL OR j_is_cut IS NOT NULL THEN
            INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, started_at, ended_at, host, pid, exception_id, status_id)
                SELECT id, func_id, IF(j_is_death, 'died', j_outcome), NOT j_is_death AND (j_outcome <> 'failed' OR j_retry_in IS NULL),
                    COALESCE(j_began, j_started), IF(j_is_death, j_now, COALESCE(j_ended, j_now)), j_host, j_pid, j_exception, j_status
                FROM job WHERE id = j_job;
        END IF;
        IF j_is_cut IS NOT NULL THEN
            INSERT INTO jobq_output (job_id, attempt_id, is_cut, output) VALUES (j_job, LAST_INSERT_ID(), j_is_cut, j_output);
        END IF;
        IF j_outcome = 'released' THEN
            UPDATE job SET grabbed_until = 0 WHERE id = j_job;
        ELSEIF j_outcome = 'failed' AND j_retry_in IS NOT NULL THEN
            UPDATE job SET grabbed_until = 0, retry_cnt = retry_cnt + 1, run_after = LEAST(j_now + j_retry_in, ${NEVER - 1})
                WHERE id = j_job;
        ELSE
            -- Out of the queue; with it goes its context, and who waits for it is told how it has ended
            DELETE FROM job WHERE id = j_job;
            UPDATE jobq_wait SET outcome = j_outcome, message = COALESCE(j_message, ''), ended_at = j_now WHERE job_id = j_job;
            DELETE FROM jobq_context WHERE job_id = j_job;
            IF j_outcome <> 'replaced' AND EXISTS (SELECT 1 FROM jobq_after) THEN
                CALL ${AFTER_PROCEDURE}(j_job, IF(j_outcome IN ('failed', 'aborted'), j_outcome, NULL));
            END IF;
        END IF;
    END IF;
    IF j_is_asked THEN
        SELECT j_found IS NOT NULL AS held, IF(@jobq_failed IS NULL, NULL, j_message) AS failed;
    END IF;
END`

/** Its answer is for `resultOf`. Of what was replaced only the old job's end. */
export function endCall({lease, outcome, span, ran, output, isCancelled = false}: Settlement): string {
  const {kind} = outcome
  const kept = keptOutput(output, kind)
  const message =
    kind === 'failed'
      ? outcome.message
      : kind === 'aborted'
        ? outcome.reason
        : kind === 'died'
          ? outcome.how
          : null
  const retryIn = kind === 'failed' ? outcome.retryIn : null
  const values = [
    lease.id,
    lease.grabbedUntil,
    kind,
    message,
    retryIn,
    span?.start ?? null,
    span?.end ?? null,
    ran?.start ?? null,
    ran?.host ?? null,
    ran?.pid ?? null,
    kept ? Number(kept.isCut) : null,
    kept?.bytes ?? null,
    Number(isCancelled),
    1,
  ]
  return `CALL ${END_PROCEDURE}(${values.map(literal)})`
}

export function resultOf(reply: Reply | undefined): SettleResult {
  const {held, failed} = reply!.rows[0]!
  return {held: Number(held) === 1, ...(failed === null ? {} : {failed: textOf(failed)})}
}

/** The new jobs and the old one's end are one: if a new one is refused, none is stored and the old one has failed. */
export async function replace(link: MysqlConnection, settlement: Settlement): Promise<SettleResult> {
  const {outcome} = settlement
  if (outcome.kind !== 'replaced') throw new Error(`expected replaced, got ${outcome.kind}`)
  const [, clock, ended] = await link.batch([
    'SAVEPOINT replacing',
    'SELECT UNIX_TIMESTAMP() AS now',
    endCall(settlement),
  ])
  const {held} = resultOf(ended)
  if (!held) return {held}
  try {
    const jobs = await new Inserter(link, Number(clock!.rows[0]!.now)).insert(
      outcome.jobs.map(job => ({...job, isContinuation: true})),
    )
    // What waits for it waits for those in its place
    const {id} = settlement.lease
    const also = (job: number) => `INSERT IGNORE INTO jobq_after (job_id, after_id, any_end, run_after)
      SELECT job_id, ${job}, any_end, run_after FROM jobq_after WHERE after_id = ${id} AND outcome IS NULL`
    await link.batch([...jobs.map(job => also(job.id)), afterCall([id], null)])
    return {held}
  } catch (error) {
    if (!(error instanceof JobqError)) throw error
    const message = `job.replace: ${error.message}`
    const failed = endCall({...settlement, outcome: {kind: 'failed', message, retryIn: outcome.retryIn}})
    const [, answer] = await link.batch(['ROLLBACK TO SAVEPOINT replacing', failed])
    return {...resultOf(answer), failed: message}
  }
}
