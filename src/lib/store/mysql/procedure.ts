/**
 * A turn as a procedure in the database, made by `jobq init`; call.ts says when it is called. What it executes was
 * parsed before, and answers once: that takes half of the server's time, and of this process's, that statements take.
 * It reads lanes as the statements of claim.ts do.
 *
 * - One end and the first function are numbers, only what else there is are lists: these take longest to go through.
 * - A job that is wanted alone is told before it is written that it is taken: who runs it does not wait for that.
 * - Several are taken together from a lane, as far as no other function's job is before them. They are locked by their
 *   ids: a locking read along the lane locks one more, behind the last, and others would pass that over.
 * - MIN and MAX are read off the index while a statement is planned: 26 µs, where ORDER BY … LIMIT 1 takes 75. So an id
 *   that JavaScript can't hold is met first, and only then passed over.
 *
 * Its name ends in its version: jobq of another version beside this one goes on using its own. It runs with the caller's
 * rights.
 */
import {MAX_ID} from '../../jobs/job.ts'
import type {Link} from './connection.ts'
import {jobColumns} from './rows.ts'

export const PROCEDURE = 'jobq_turn_3'

/** The next of the functions; NULL behind the last. */
const NEXT_FUNC = `IF j_left = '' THEN
    SET j_func = NULL;
ELSE
    SET j_func = SUBSTRING_INDEX(j_left, ',', 1), j_left = SUBSTRING(j_left, LENGTH(j_func) + 2);
END IF;`

/** The jobs that are ready: of the function that is looked at, and of the lane that was found. */
const READY = 'FROM job FORCE INDEX (jobq_lane) WHERE grabbed_until = 0'
const LANE = `${READY} AND func_id = j_func`
const BEST_LANE = `${READY} AND func_id = j_best_func AND priority = j_best_priority`
/** Where someone else is at the first one: the next that no one is at. */
const FOLLOWING = `${BEST_LANE} AND run_after <= j_now AND id <= ${MAX_ID}
   AND (run_after > j_best_run_after OR (run_after = j_best_run_after AND id > j_best))
 ORDER BY run_after, id LIMIT 1 FOR UPDATE SKIP LOCKED`

/** Deletes what was completed and is still held: `j_ended`, and by group in `j_held`. */
const ENDS = `IF j_done IS NOT NULL THEN
    DELETE FROM job WHERE id = j_done AND grabbed_until = j_done_until;
    IF ROW_COUNT() = 1 THEN
        SET j_held = j_done, j_ended = j_done;
    END IF;
END IF;
WHILE j_several <> '' DO
    SET j_one = SUBSTRING_INDEX(j_several, ';', 1), j_several = SUBSTRING(j_several, LENGTH(j_one) + 2);
    ${execute(`'SELECT GROUP_CONCAT(id) INTO @jobq_ids FROM job WHERE grabbed_until = ',
        SUBSTRING_INDEX(j_one, ':', 1), ' AND id IN (', SUBSTRING_INDEX(j_one, ':', -1), ') FOR UPDATE'`)}
    IF @jobq_ids IS NOT NULL THEN
        SET j_held = CONCAT(j_held, @jobq_ids), j_ended = CONCAT(j_ended, IF(j_ended = '', '', ','), @jobq_ids);
    END IF;
    SET j_held = CONCAT(j_held, ';');
END WHILE;
IF j_ended <> '' AND j_done IS NULL THEN
    ${execute(`'DELETE FROM job WHERE id IN (', j_ended, ')'`)}
END IF;`

/** What is kept beside these jobs. */
const ENDS_BESIDE = `IF j_waits AND j_ended <> '' THEN
    ${execute(
      `'UPDATE jobq_wait SET outcome = ''completed'', message = '''', ended_at = ', j_now, ' WHERE job_id IN (', j_ended, ')'`,
    )}
END IF;
IF j_contexts AND j_ended <> '' THEN
    ${execute(`'DELETE FROM jobq_context WHERE job_id IN (', j_ended, ')'`)}
END IF;`

/** Where a lease has run out nothing is taken: that is for the caller. */
const LEASES = `-- Leases end by the second; backwards from now, where live entries are
IF j_go AND j_checked <> j_now THEN
    SET j_func = j_first_func, j_left = j_funcs;
    WHILE j_func IS NOT NULL DO
        SET j_until = NULL;
        SELECT MAX(grabbed_until) INTO j_until FROM job FORCE INDEX (jobq_lane)
         WHERE func_id = j_func AND grabbed_until <= j_now;
        IF j_until > 0 AND EXISTS (SELECT 1 FROM job FORCE INDEX (jobq_lane)
            WHERE func_id = j_func AND grabbed_until BETWEEN 1 AND j_now AND id <= ${MAX_ID}) THEN
            SET j_go = 0;
        END IF;
        ${NEXT_FUNC}
    END WHILE;
END IF;
SET j_checked = IF(j_go, j_now, 0);`

/** The lane of the best job there is, and at the same priority the best one of another function. */
const BEST = `SET j_func = j_first_func, j_left = j_funcs, j_best = NULL, j_best_priority = 0, j_next = NULL, j_hidden = NULL,
    j_more = 0;
funcs: WHILE j_func IS NOT NULL DO
    SET j_priority = NULL;
    SELECT MAX(priority) INTO j_priority ${LANE};
    IF j_priority >= j_best_priority THEN
        SELECT MIN(run_after) INTO j_run_after ${LANE} AND priority = j_priority;
        SELECT MIN(id) INTO j_id ${LANE} AND priority = j_priority AND run_after = j_run_after;
        IF j_id > ${MAX_ID} THEN
            SET j_priority = NULL;
            SELECT priority INTO j_priority ${LANE} AND id <= ${MAX_ID} ORDER BY priority DESC LIMIT 1;
            SELECT run_after, id INTO j_run_after, j_id ${LANE} AND priority = j_priority AND id <= ${MAX_ID}
             ORDER BY run_after, id LIMIT 1;
            IF j_priority IS NULL OR j_priority < j_best_priority THEN
                ${NEXT_FUNC}
                ITERATE funcs;
            END IF;
        END IF;
        IF j_run_after > j_now THEN
            SET j_hidden = GREATEST(j_priority, COALESCE(j_hidden, 0));
        ELSEIF j_best IS NULL OR j_priority > j_best_priority THEN
            SET j_next = NULL, ${put('best')};
        ELSEIF ${isBefore('best')} THEN
            SET j_next = j_best, j_next_run_after = j_best_run_after, ${put('best')};
        ELSEIF j_next IS NULL OR ${isBefore('next')} THEN
            SET j_next = j_id, j_next_run_after = j_run_after;
        END IF;
    END IF;
    ${NEXT_FUNC}
END WHILE;`

/** The best job, told before it is written. */
function takeOne({keys}: Pick<Link, 'keys'>): string {
  const row = `id, ${keys.select('uniqkey')}, arg, enqueue_time, run_after, retry_cnt
          INTO j_got, j_uniqkey, j_arg, j_enqueue_time, j_run_after, j_retry_cnt`
  return `SET j_got = NULL;
SELECT ${row} FROM job WHERE id = j_best AND grabbed_until = 0 FOR UPDATE SKIP LOCKED;
IF j_got IS NULL THEN
    SELECT ${row} ${FOLLOWING};
END IF;
IF j_got IS NOT NULL THEN
    IF j_contexts THEN
        SELECT context INTO j_context FROM jobq_context WHERE job_id = j_got;
    END IF;
    SELECT j_now AS now, 1 AS n, j_held AS held, j_checked AS checked, j_got AS id,
        j_best_func AS func_id, j_arg AS arg, j_uniqkey AS uniqkey, j_enqueue_time AS enqueue_time,
        j_now + j_lease AS grabbed_until, j_run_after AS run_after, j_retry_cnt AS retry_cnt,
        j_best_priority AS priority, j_context AS context;
    UPDATE job SET grabbed_until = j_now + j_lease WHERE id = j_got;
    SET j_more = 1;
END IF;`
}

/** As many of the best lane as come before another function's job. */
const TAKE_SEVERAL = `SET j_more = j_most - j_count, j_to = j_now, j_below = ${MAX_ID + 1};
IF j_next IS NOT NULL AND j_next_run_after > j_best_run_after THEN
    SET j_to = j_next_run_after - 1;
ELSEIF j_next IS NOT NULL THEN
    SET j_to = j_best_run_after, j_below = j_next;
END IF;
SELECT GROUP_CONCAT(id) INTO j_ids FROM (
    SELECT id ${BEST_LANE} AND run_after BETWEEN j_best_run_after AND j_to AND id < j_below
     ORDER BY run_after, id LIMIT j_more) stretch;
${execute(`'SELECT GROUP_CONCAT(id), COUNT(*) INTO @jobq_ids, @jobq_n FROM job
    WHERE grabbed_until = 0 AND id IN (', COALESCE(j_ids, j_best), ') FOR UPDATE SKIP LOCKED'`)}
SET j_ids = @jobq_ids, j_more = @jobq_n;
IF j_more = 0 THEN
    SELECT id, 1 INTO j_ids, j_more ${FOLLOWING};
END IF;
IF j_more > 0 THEN
    ${execute(`'UPDATE job SET grabbed_until = ', j_now + j_lease, ' WHERE id IN (', j_ids, ')'`)}
    SET j_taken = CONCAT(j_taken, IF(j_taken = '', '', ','), j_ids);
END IF;`

/** What has not been told yet. */
function answer(link: Pick<Link, 'keys'>): string {
  const columns = `${jobColumns(link)}, (SELECT context FROM jobq_context WHERE job_id = job.id) AS context`
  return `IF j_count = 0 THEN
    SELECT j_now AS now, 0 AS n, j_held AS held, j_checked AS checked;
ELSEIF j_most > 1 THEN
    SET @jobq_now = j_now, @jobq_n = j_count, @jobq_held = j_held, @jobq_checked = j_checked;
    ${execute(
      `'SELECT ? AS now, ? AS n, ? AS held, ? AS checked, ${columns.replaceAll("'", "''")}
        FROM job WHERE id IN (', j_taken, ') ORDER BY priority DESC, run_after, id'`,
      '@jobq_now, @jobq_n, @jobq_held, @jobq_checked',
    )}
END IF;`
}

const VARIABLES = `DECLARE j_now, j_until, j_to INT UNSIGNED;
    DECLARE j_held, j_ended, j_taken MEDIUMTEXT CHARACTER SET ascii DEFAULT '';
    DECLARE j_left, j_one, j_ids MEDIUMTEXT CHARACTER SET ascii;
    DECLARE j_waits, j_contexts, j_go INT DEFAULT 0;
    DECLARE j_count, j_more INT UNSIGNED DEFAULT 0;
    DECLARE j_func, j_priority, j_run_after, j_hidden INT UNSIGNED;
    DECLARE j_best_func, j_best_priority, j_best_run_after, j_next_run_after INT UNSIGNED;
    DECLARE j_enqueue_time, j_retry_cnt INT UNSIGNED;
    DECLARE j_id, j_best, j_next, j_below, j_got BIGINT UNSIGNED;
    DECLARE j_arg, j_uniqkey, j_context MEDIUMBLOB;`

/** @param link tells the character set of the tables */
export function createProcedure(link: Pick<Link, 'keys'>): string {
  return `CREATE PROCEDURE ${PROCEDURE} (
    j_done BIGINT UNSIGNED,                  -- a job that was completed; or NULL
    j_done_until INT UNSIGNED,               -- and its grabbed_until
    j_several MEDIUMTEXT CHARACTER SET ascii, -- several that were: 'grabbed_until:id,id…;…'
    j_first_func INT UNSIGNED,               -- from what to take; or NULL
    j_funcs MEDIUMTEXT CHARACTER SET ascii,  -- and from what else: 'func_id,…'
    j_all INT UNSIGNED,                      -- how many functions there were when it last looked for one; or NULL
    j_checked INT UNSIGNED,                  -- the second in which no lease had run out
    j_lease INT UNSIGNED,
    j_most INT UNSIGNED,
    j_is_whole INT                           -- begin a transaction and commit it, behind the answer
)
    SQL SECURITY INVOKER
BEGIN
    ${VARIABLES}
    DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;

    IF j_is_whole THEN
        START TRANSACTION;
    END IF;
    ${ENDS}

    -- Behind the deletes, so that what was tracked before them is seen
    SELECT UNIX_TIMESTAMP(), EXISTS (SELECT 1 FROM jobq_wait), EXISTS (SELECT 1 FROM jobq_context),
        j_most > 0 AND NOT EXISTS (SELECT 1 FROM jobq_pause)
      INTO j_now, j_waits, j_contexts, j_go;
    IF j_go AND j_all IS NOT NULL THEN
        SELECT COUNT(*) = j_all INTO j_go FROM func;
    END IF;
    ${ENDS_BESIDE}

    ${LEASES}

    WHILE j_go AND j_count < j_most DO
        ${BEST}
        -- A lane that is not due may hide a lower one that is better than what was found: that is for the caller
        IF j_best IS NOT NULL AND (j_hidden IS NULL OR j_best_priority >= j_hidden) THEN
            IF j_most = 1 THEN
                ${takeOne(link)}
            ELSE
                ${TAKE_SEVERAL}
            END IF;
        END IF;
        SET j_count = j_count + j_more, j_go = j_more > 0;
    END WHILE;

    ${answer(link)}
    IF j_is_whole THEN
        COMMIT;
    END IF;
END`
}

function put(name: string): string {
  return `j_${name} = j_id, j_${name}_func = j_func, j_${name}_priority = j_priority, j_${name}_run_after = j_run_after`
}

function isBefore(name: string): string {
  return `j_run_after < j_${name}_run_after OR (j_run_after = j_${name}_run_after AND j_id < j_${name})`
}

/** @param parts of its SQL, as SQL. @param using user variables: a prepared statement sees no others */
function execute(parts: string, using = ''): string {
  return `SET @jobq = CONCAT(${parts});
        PREPARE jobq_turn FROM @jobq;
        EXECUTE jobq_turn${using && ` USING ${using}`};
        DEALLOCATE PREPARE jobq_turn;`
}
