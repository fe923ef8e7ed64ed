/**
 * A turn as one call: a procedure in the database, made by `jobq init`. What it executes was parsed before, and answers
 * once: that takes half of the server's time, and of this process's, that statements take.
 *
 * It does what nearly every turn is: writes what was completed, and takes the next jobs where nothing is special. For all
 * else (and where it is missing, since `jobq init` may not make procedures, or this user may not call them) there are the
 * statements of mysql-settle.ts and mysql-take.ts. It reads lanes as they do.
 *
 * Its name ends in its version: jobq of another version beside this one goes on using its own. It runs with the caller's
 * rights.
 */
import type {Settlement} from '../job.ts'
import type {MysqlLanes} from './mysql-lanes.ts'
import {type Link, type Reply, textOf} from './mysql-link.ts'
import {jobColumns} from './mysql-rows.ts'
import type {SettleResult, Want} from './store.ts'

export const PROCEDURE = 'jobq_turn_2'

/**
 * Of the ends and of the functions the first is numbers and the others a list: mostly there are no others, and lists are
 * what takes longest to go through. A job that is wanted alone is told before it is written that it is taken: who runs it
 * does not wait for that. MIN and MAX are read off the index while a statement is planned, in a third of the time of
 * ORDER BY … LIMIT 1.
 *
 * @param link tells the character set of the tables
 */
export function createProcedure(link: Pick<Link, 'keys'>): string {
  const lane = `FROM job FORCE INDEX (jobq_lane) WHERE func_id = j_func AND grabbed_until = 0`
  const columns = `${jobColumns(link)}, (SELECT context FROM jobq_context WHERE job_id = job.id) AS context`
  const row = `id, ${link.keys.select('uniqkey')}, arg, enqueue_time, run_after, retry_cnt`
  const variables = 'j_got, j_uniqkey, j_arg, j_enqueue_time, j_run_after, j_retry_cnt'
  return `CREATE PROCEDURE ${PROCEDURE} (
    j_first BIGINT UNSIGNED,                 -- a job that was completed; or NULL
    j_first_until INT UNSIGNED,              -- and its grabbed_until
    j_others MEDIUMTEXT CHARACTER SET ascii, -- others that were: 'id:grabbed_until,…'
    j_first_func INT UNSIGNED,               -- from what to take
    j_funcs MEDIUMTEXT CHARACTER SET ascii,  -- and from what else: 'func_id,…'
    j_all INT UNSIGNED,                      -- how many functions there were when it last looked for one; or NULL
    j_checked INT UNSIGNED,                  -- the second in which no lease had run out
    j_lease INT UNSIGNED,
    j_most INT UNSIGNED,
    j_is_whole INT                           -- begin a transaction and commit it, behind the answer
)
    SQL SECURITY INVOKER
BEGIN
    DECLARE j_now, j_until INT UNSIGNED;
    DECLARE j_held, j_taken MEDIUMTEXT CHARACTER SET ascii DEFAULT '';
    DECLARE j_left MEDIUMTEXT CHARACTER SET ascii;
    DECLARE j_one VARCHAR(40) CHARACTER SET ascii;
    DECLARE j_waits, j_contexts, j_go, j_at INT DEFAULT 0;
    DECLARE j_count INT UNSIGNED DEFAULT 0;
    DECLARE j_func, j_priority, j_run_after, j_best_func, j_best_priority, j_best_run_after, j_hidden INT UNSIGNED;
    DECLARE j_enqueue_time, j_retry_cnt INT UNSIGNED;
    DECLARE j_id, j_best, j_got BIGINT UNSIGNED;
    DECLARE j_arg, j_uniqkey, j_context MEDIUMBLOB;
    DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

    IF j_is_whole THEN
        START TRANSACTION;
    END IF;
    SET j_id = j_first, j_until = j_first_until, j_left = j_others;
    WHILE j_id IS NOT NULL DO
        DELETE FROM job WHERE id = j_id AND grabbed_until = j_until;
        SET j_held = CONCAT(j_held, ROW_COUNT());
        ${nextOf('j_left', 'j_id', 'j_until')}
    END WHILE;

    -- Behind the deletes, so that what was tracked before them is seen
    SELECT UNIX_TIMESTAMP(), EXISTS (SELECT 1 FROM jobq_wait), EXISTS (SELECT 1 FROM jobq_context),
        j_most > 0 AND NOT EXISTS (SELECT 1 FROM jobq_pause)
      INTO j_now, j_waits, j_contexts, j_go;
    IF j_go AND j_all IS NOT NULL THEN
        SELECT COUNT(*) = j_all INTO j_go FROM func;
    END IF;
    IF j_waits OR j_contexts THEN
        SET j_id = j_first, j_left = j_others;
        WHILE j_id IS NOT NULL DO
            SET j_at = j_at + 1;
            IF j_waits AND SUBSTRING(j_held, j_at, 1) = '1' THEN
                UPDATE jobq_wait SET outcome = 'completed', message = '', ended_at = j_now WHERE job_id = j_id;
            END IF;
            IF j_contexts AND SUBSTRING(j_held, j_at, 1) = '1' THEN
                DELETE FROM jobq_context WHERE job_id = j_id;
            END IF;
            ${nextOf('j_left', 'j_id', 'j_until')}
        END WHILE;
    END IF;

    -- Leases end by the second; backwards from now, where live entries are
    IF j_go AND j_checked <> j_now THEN
        SET j_func = j_first_func, j_left = j_funcs;
        WHILE j_func IS NOT NULL DO
            SET j_until = NULL;
            SELECT MAX(grabbed_until) INTO j_until FROM job FORCE INDEX (jobq_lane)
             WHERE func_id = j_func AND grabbed_until <= j_now;
            IF j_until > 0 THEN
                SET j_go = 0;
            END IF;
            ${nextOf('j_left', 'j_func')}
        END WHILE;
    END IF;
    SET j_checked = IF(j_go, j_now, 0);

    WHILE j_go AND j_count < j_most DO
        SET j_func = j_first_func, j_left = j_funcs, j_best = NULL, j_hidden = NULL;
        WHILE j_func IS NOT NULL DO
            SET j_priority = NULL;
            SELECT MAX(priority) INTO j_priority ${lane};
            IF j_priority IS NOT NULL AND (j_best IS NULL OR j_priority >= j_best_priority) THEN
                SELECT MIN(run_after) INTO j_run_after ${lane} AND priority = j_priority;
                IF j_run_after > j_now THEN
                    SET j_hidden = GREATEST(j_priority, COALESCE(j_hidden, 0));
                ELSE
                    SELECT MIN(id) INTO j_id ${lane} AND priority = j_priority AND run_after = j_run_after;
                    IF j_best IS NULL OR j_priority > j_best_priority OR j_run_after < j_best_run_after
                        OR (j_run_after = j_best_run_after AND j_id < j_best) THEN
                        SET j_best = j_id, j_best_func = j_func, j_best_priority = j_priority,
                            j_best_run_after = j_run_after;
                    END IF;
                END IF;
            END IF;
            ${nextOf('j_left', 'j_func')}
        END WHILE;
        -- A lane that is not due may hide a lower one that is better than what was found: that is for the caller
        SET j_got = NULL;
        IF j_best IS NOT NULL AND (j_hidden IS NULL OR j_best_priority >= j_hidden) THEN
            SELECT ${row} INTO ${variables}
              FROM job WHERE id = j_best AND grabbed_until = 0 FOR UPDATE SKIP LOCKED;
            IF j_got IS NULL THEN
                SELECT ${row} INTO ${variables} FROM job FORCE INDEX (jobq_lane)
                 WHERE func_id = j_best_func AND grabbed_until = 0 AND priority = j_best_priority AND run_after <= j_now
                   AND (run_after > j_best_run_after OR (run_after = j_best_run_after AND id > j_best))
                 ORDER BY run_after, id LIMIT 1 FOR UPDATE SKIP LOCKED;
            END IF;
        END IF;
        IF j_got IS NULL THEN
            SET j_go = 0;
        ELSE
            IF j_most = 1 THEN
                IF j_contexts THEN
                    SELECT context INTO j_context FROM jobq_context WHERE job_id = j_got;
                END IF;
                SELECT j_now AS now, 1 AS n, j_held AS held, j_checked AS checked, j_got AS id, j_best_func AS func_id,
                    j_arg AS arg, j_uniqkey AS uniqkey, j_enqueue_time AS enqueue_time,
                    j_now + j_lease AS grabbed_until, j_run_after AS run_after, j_retry_cnt AS retry_cnt,
                    j_best_priority AS priority, j_context AS context;
            END IF;
            UPDATE job SET grabbed_until = j_now + j_lease WHERE id = j_got;
            SET j_count = j_count + 1, j_taken = CONCAT(j_taken, IF(j_taken = '', '', ','), j_got);
        END IF;
    END WHILE;

    IF j_count = 0 THEN
        SELECT j_now AS now, 0 AS n, j_held AS held, j_checked AS checked;
    ELSEIF j_most > 1 THEN
        SET @jobq = CONCAT('SELECT ? AS now, ? AS n, ? AS held, ? AS checked, ${columns.replaceAll("'", "''")}
            FROM job WHERE id IN (', j_taken, ') ORDER BY priority DESC, run_after, id'),
            @jobq_now = j_now, @jobq_n = j_count, @jobq_held = j_held, @jobq_checked = j_checked;
        PREPARE jobq_taken FROM @jobq;
        EXECUTE jobq_taken USING @jobq_now, @jobq_n, @jobq_held, @jobq_checked;
        DEALLOCATE PREPARE jobq_taken;
    END IF;
    IF j_is_whole THEN
        COMMIT;
    END IF;
END`
}

/** SQL that takes the next of a list, 'a:b,…' or 'a,…', into variables; the first is NULL behind the last. */
function nextOf(list: string, first: string, second?: string): string {
  const and = second === undefined ? '' : `, ${second} = SUBSTRING_INDEX(j_one, ':', -1)`
  return `IF ${list} = '' THEN
            SET ${first} = NULL;
        ELSE
            SET j_one = SUBSTRING_INDEX(${list}, ',', 1), ${list} = SUBSTRING(${list}, LENGTH(j_one) + 2),
                ${first} = SUBSTRING_INDEX(j_one, ':', 1)${and};
        END IF;`
}

/** Whether taking what is wanted is what the procedure does. */
export function isPlain(lanes: MysqlLanes, want: Want): boolean {
  if (want.limit === 0) return true
  const ids = lanes.idsOf(want.funcs)
  const isHeld = want.held !== undefined && lanes.idsOf([...want.held]).length > 0
  const isFair = want.fair === true && ids.length > 1
  const isLimited = lanes.limited(want).length > 0
  return (
    ids.length > 0 && lanes.paused.length === 0 && !isHeld && !isFair && !isLimited && !lanes.hasDelayed(ids)
  )
}

export function isPlainEnd({outcome, span}: Settlement): boolean {
  return outcome.kind === 'completed' && span === undefined
}

/**
 * @param ends that are plain
 * @param isWhole whether the call is the whole transaction
 */
export function call(lanes: MysqlLanes, ends: readonly Settlement[], want: Want, isWhole: boolean): string {
  const [first, ...others] = ends.map(({lease}) => lease)
  const [func, ...funcs] = want.limit === 0 ? [] : lanes.idsOf(want.funcs)
  const done = `${first?.id ?? null}, ${first?.grabbedUntil ?? null}`
  const more = others.map(({id, grabbedUntil}) => `${id}:${grabbedUntil}`)
  const all = lanes.unknown(want).length === 0 ? null : lanes.countFuncs
  return `CALL ${PROCEDURE}(${done}, '${more}', ${func ?? null}, '${funcs}', ${all}, ${lanes.checked}, ${want.lease}, ${want.limit}, ${isWhole})`
}

/** Whether all rows have come of the answer to a call: what else comes is of the COMMIT. */
export function isAnswered([answer]: readonly Reply[]): boolean {
  const [row] = answer?.rows ?? []
  return row !== undefined && answer!.rows.length === Math.max(1, Number(row.n))
}

/** How the ends went, from the answer to the call. */
export function heldOf(lanes: MysqlLanes, [answer]: readonly Reply[]): SettleResult[] {
  const {held, checked} = answer!.rows[0]!
  if (Number(checked) > 0) lanes.checked = Number(checked)
  return [...textOf(held)].map(each => ({held: each === '1'}))
}
