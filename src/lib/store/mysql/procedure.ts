/**
 * A dispatcher's turn on MySQL as one procedure in the database, made by `jobq init`: it writes what was completed,
 * puts back the jobs whose lease has run out, and takes the next ones, or only looks. call.ts has its values and its
 * answer.
 */
import {MAX_ID} from '../../jobs/job.ts'
import {JUMP_SECONDS} from '../shared/lease-clock.ts'
import {AFTER_PROCEDURE} from './after.ts'
import type {MysqlConnection} from './connections/connection.ts'
import {jobColumns} from './rows.ts'
import {END_PROCEDURE} from './settle.ts'

/** Its name ends in its version: jobq of another version beside this one goes on using its own. */
export const PROCEDURE = 'jobq_turn_9'

/** How many leases of a function that ran out are put back in one turn. */
const EXPIRE_BATCH = 500

/** What is paused, in short: '' if nothing is. */
export const PAUSED = `COALESCE(MD5(GROUP_CONCAT(func ORDER BY func SEPARATOR ',')), '')`

/** The next of the functions; NULL behind the last. */
const NEXT_FUNC = `IF j_left = '' THEN
    SET j_func = NULL;
ELSE
    SET j_func = SUBSTRING_INDEX(j_left, ',', 1), j_left = SUBSTRING(j_left, LENGTH(j_func) + 2);
END IF;`

const HAS_ID = `id <= ${MAX_ID}`
/** Forced: KEY priority, which Qudo's schema has, lures the planner. */
const JOBS = 'FROM job FORCE INDEX (jobq_lane)'
/**
 * The jobs that are ready: of the function that is looked at, and of the lane that was found. A lane is what is ready
 * of one function and priority, by run_after and id: if its first job is not due, nothing in it is. So what is read
 * depends on functions and priorities, never on rows.
 */
const READY = `${JOBS} WHERE grabbed_until = 0`
const LANE = `${READY} AND func_id = j_func`
const BEST_LANE = `${READY} AND func_id = j_best_func AND priority = j_best_priority`
/** Where someone else is at the first one: the next that no one is at. */
const FOLLOWING = `${BEST_LANE} AND run_after <= j_now AND ${HAS_ID}
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
END IF;
IF j_afters AND j_ended <> '' THEN
    CALL ${AFTER_PROCEDURE}(j_ended, NULL);
END IF;
IF @jobq_freed = 1 THEN
    SET j_freed = 1, @jobq_freed = 0;
END IF;`

/** The nth of the parts of j_odd. */
const odd = (nth: number) => `SUBSTRING_INDEX(SUBSTRING_INDEX(j_odd, ';', ${nth}), ';', -1)`

/** What is seldom asked for. Where what the caller knows of functions and pauses is old, nothing is taken. */
const SELDOM = `IF j_go > 1 OR j_odd IS NOT NULL OR j_all IS NOT NULL THEN
    SET @jobq_limits = COALESCE(${odd(2)}, ''), @jobq_locks = COALESCE(${odd(3)}, ''), @jobq_waiting = COALESCE(${odd(4)}, ''),
        @jobq_fair = COALESCE(${odd(5)}, ''), @jobq_lanes = '';
    SELECT ${PAUSED} INTO j_one FROM jobq_pause;
    SELECT j_go AND COUNT(*) = COALESCE(j_all, COUNT(*)) AND j_one = COALESCE(${odd(1)}, '') INTO j_go FROM func;
    SET j_why = IF(j_go, '', 'stale');
END IF;`

/** Puts the jobs whose lease has run out back into their lanes: their worker is gone, and its machine may be. */
const LEASES = `-- Leases end by the second; backwards from now, where live entries are
IF j_go AND j_checked <> j_lease_time AND j_lease IS NOT NULL THEN
    SET j_func = j_first_func, j_left = j_funcs;
    WHILE j_func IS NOT NULL DO
        SET j_until = NULL;
        SELECT MAX(grabbed_until) INTO j_until ${JOBS} WHERE func_id = j_func AND grabbed_until <= j_lease_time;
        IF j_until > 0 THEN
            ${release()}
        END IF;
        ${NEXT_FUNC}
    END WHILE;
    SET j_checked = j_lease_time;
END IF;`

function release(): string {
  const ended = `grabbed_until BETWEEN 1 AND`
  return `SELECT GROUP_CONCAT(id) INTO j_ids FROM (
    SELECT id ${JOBS} WHERE func_id = j_func AND ${ended} j_lease_time AND ${HAS_ID} ORDER BY grabbed_until LIMIT ${EXPIRE_BATCH}) ended;
IF j_ids IS NOT NULL THEN
    ${execute(`'SELECT GROUP_CONCAT(id) INTO @jobq_ids FROM job
        WHERE ${ended} ', j_lease_time, ' AND id IN (', j_ids, ') FOR UPDATE SKIP LOCKED'`)}
    SET j_ids = COALESCE(@jobq_ids, '');
    WHILE j_ids <> '' DO
        SET j_got = SUBSTRING_INDEX(j_ids, ',', 1), j_ids = SUBSTRING(j_ids, LENGTH(j_got) + 2);
        SELECT grabbed_until, priority INTO j_until, j_priority FROM job WHERE id = j_got;
        CALL ${END_PROCEDURE}(j_got, j_until, 'died', 'its lease ran out (its dispatcher or machine is gone)', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0);
        IF @jobq_failed IS NOT NULL THEN
            SET @jobq_buried = CONCAT(IF(j_buried, CONCAT(@jobq_buried, ','), ''), j_got, ':', j_priority, ':', @jobq_failed),
                j_buried = 1;
        END IF;
    END WHILE;
    -- Deaths of jobs that have ended otherwise: nobody asks for them, but they must not pile up
    SELECT GROUP_CONCAT(job_id) INTO j_ids FROM (
        SELECT DISTINCT job_id FROM jobq_death LEFT JOIN job ON job.id = job_id WHERE job.id IS NULL LIMIT ${EXPIRE_BATCH}) gone;
    IF j_ids IS NOT NULL THEN
        ${execute(`'DELETE FROM jobq_death WHERE job_id IN (', j_ids, ')'`)}
    END IF;
END IF;`
}

/** How many jobs of a function may run at once, of 'func_id=most,…'. */
const mostOf = (func: string) =>
  `SUBSTRING_INDEX(SUBSTRING_INDEX(@jobq_limits, CONCAT(',', ${func}, '='), -1), ',', 1)`
const isLimited = (func: string) =>
  `j_odd IS NOT NULL AND LOCATE(CONCAT(',', ${func}, '='), @jobq_limits) > 0`
/** How many more may: 0 if it is full, or paused. Counts no further than it must. */
const room = (func: string) => `SET j_room = ${mostOf(func)};
IF j_room > 0 THEN
    SELECT j_room - COUNT(*) INTO j_room FROM (
        SELECT 1 ${JOBS} WHERE func_id = ${func} AND grabbed_until > j_lease_time LIMIT j_room) running;
END IF;`

/** Down to the next lane. */
const LOWER = `IF j_priority = 0 THEN
    LEAVE lanes;
END IF;
SET j_below = j_priority - 1, j_priority = NULL;
SELECT MAX(priority) INTO j_priority ${LANE} AND priority <= j_below;`

/** A lane that is due, but may not be taken from; and what is told of it who only looks. */
const ODD = `IF j_id > ${MAX_ID} THEN
    SET j_below = j_priority, j_priority = NULL;
    SELECT priority INTO j_priority ${LANE} AND priority <= j_below AND ${HAS_ID} ORDER BY priority DESC LIMIT 1;
    SELECT run_after, id INTO j_run_after, j_id ${LANE} AND priority = j_priority AND ${HAS_ID} ORDER BY run_after, id LIMIT 1;
    IF j_priority IS NULL OR j_priority < j_floor THEN
        LEAVE lanes;
    END IF;
    IF j_run_after > j_now THEN
        SET j_due = LEAST(COALESCE(j_due, j_run_after), j_run_after);
        ${LOWER}
        ITERATE lanes;
    END IF;
END IF;
IF ${isLimited('j_func')} THEN
    ${room('j_func')}
    IF j_room = 0 THEN
        LEAVE lanes;
    END IF;
END IF;
IF j_lease IS NULL THEN
    SET @jobq_lanes = CONCAT(@jobq_lanes, j_func, ':', j_priority, ':', j_run_after, ':', j_id, ' ');
ELSEIF j_why = 'passed' AND LOCATE(CONCAT(',', j_func, ':', j_priority, ','), @jobq_passed) > 0 THEN
    ${LOWER}
    ITERATE lanes;
END IF;`

/**
 * The lane of the best job that there is from priority j_level down to j_floor, and at the same priority the best one
 * of another function. Who only looks is told of each function's lanes down to the first that is due. MIN and MAX are
 * read off the index while a statement is planned: 26 µs, where ORDER BY … LIMIT 1 takes 75. So an id that JavaScript
 * can't hold is met first, and only then passed over. No number in them is above what its column holds: MariaDB's
 * MAX(priority) under `priority < 4294967296` is wrong.
 */
const BEST = `SET j_func = j_first_func, j_left = j_funcs, j_floor = j_start, j_best = NULL, j_best_priority = 0, j_next = NULL;
WHILE j_func IS NOT NULL DO
    SET j_priority = NULL;
    IF j_level IS NULL THEN
        SELECT MAX(priority) INTO j_priority ${LANE};
    ELSE
        SELECT MAX(priority) INTO j_priority ${LANE} AND priority <= j_level;
    END IF;
    lanes: WHILE j_priority >= j_floor DO
        SELECT MIN(run_after) INTO j_run_after ${LANE} AND priority = j_priority;
        IF j_run_after <= j_now THEN
            SELECT MIN(id) INTO j_id ${LANE} AND priority = j_priority AND run_after = j_run_after;
            IF j_id > ${MAX_ID} OR j_odd IS NOT NULL THEN
                ${ODD}
            END IF;
            IF j_best IS NULL OR j_priority > j_best_priority THEN
                SET j_next = NULL, ${put('best')}, j_floor = IF(j_lease IS NULL, 0, j_priority);
            ELSEIF j_priority = j_best_priority AND (j_odd IS NULL OR @jobq_fair = '') AND (${isBefore('best')}) THEN
                SET j_next = j_best, j_next_run_after = j_best_run_after, ${put('best')};
            ELSEIF j_next IS NULL OR ${isBefore('next')} THEN
                SET j_next = j_id, j_next_run_after = j_run_after;
            END IF;
            LEAVE lanes;
        END IF;
        SET j_due = LEAST(COALESCE(j_due, j_run_after), j_run_after);
        IF j_lease IS NULL THEN
            SET @jobq_lanes = CONCAT(@jobq_lanes, j_func, ':', j_priority, ':', j_run_after, ' ');
        END IF;
        ${LOWER}
    END WHILE;
    ${NEXT_FUNC}
END WHILE;`

const STATE = `CONCAT_WS(' ', j_checked, IF(j_buried, @jobq_buried, ''), j_why, COALESCE(j_due, ''), COALESCE(@jobq_end, ''), j_freed)`

/** Others are at all that is due of the lane: it is looked at no more. */
const PASS = `SET @jobq_passed = CONCAT(IF(j_why = 'passed', @jobq_passed, ''), ',', j_best_func, ':', j_best_priority, ','),
        j_why = 'passed';
    IF j_odd IS NULL THEN
        SET j_odd = '', @jobq_limits = '', @jobq_locks = '', @jobq_waiting = '', @jobq_fair = '';
    END IF;`

/** The best job, told before it is written that it is taken: who runs it does not wait for that. */
function takeOne({keys}: Pick<MysqlConnection, 'keys'>): string {
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
    SELECT j_now AS now, 1 AS n, j_held AS held, IF(j_buried OR j_freed, ${STATE}, j_checked) AS state, j_got AS id,
        j_best_func AS func_id, j_arg AS arg, j_uniqkey AS uniqkey, j_enqueue_time AS enqueue_time,
        j_now + j_lease AS grabbed_until, j_run_after AS run_after, j_retry_cnt AS retry_cnt,
        j_best_priority AS priority, j_context AS context;
    UPDATE job SET grabbed_until = j_now + j_lease WHERE id = j_got;
    SET j_count = 1;
ELSE
    ${PASS}
END IF;`
}

/**
 * As many of the best lane as come before another function's job, and then one that comes behind that function's. The first of
 * these are locked by their ids: a locking read along the lane locks one more, behind the last, which others would pass over.
 * Where others are at all of the first, it is read along all the same: what they are at is passed over there without looking for
 * what it was before (eight dispatchers that looked, a hundred ids at a time, worked a tenth of what they do).
 */
const TAKE_SEVERAL = `SET j_more = IF(j_odd IS NULL OR @jobq_fair = '', j_most - j_count, 1), j_to = j_now, j_below = ${MAX_ID + 1};
IF ${isLimited('j_best_func')} THEN
    ${room('j_best_func')}
    SET j_more = LEAST(j_more, j_room);
END IF;
IF j_next IS NOT NULL AND j_next_run_after > j_best_run_after THEN
    SET j_to = j_next_run_after - 1;
ELSEIF j_next IS NOT NULL THEN
    SET j_to = j_best_run_after, j_below = j_next;
END IF;
SET j_room = j_more, j_more = 0;
SELECT GROUP_CONCAT(id) INTO j_ids FROM (
    SELECT id ${BEST_LANE} AND run_after BETWEEN j_best_run_after AND j_to AND id < j_below
     ORDER BY run_after, id LIMIT j_room) head;
IF j_ids IS NULL THEN
    SET j_ids = j_best; -- by turns it is not the first
END IF;
${execute(`'SELECT GROUP_CONCAT(id), COUNT(*) INTO @jobq_ids, @jobq_n FROM job
    WHERE grabbed_until = 0 AND id IN (', j_ids, ') FOR UPDATE SKIP LOCKED'`)}
IF @jobq_n > 0 THEN
    SET j_ids = @jobq_ids, j_more = @jobq_n;
ELSE
    SELECT GROUP_CONCAT(id), COUNT(*) INTO j_ids, j_more FROM (
        SELECT id ${BEST_LANE} AND run_after BETWEEN j_best_run_after AND j_to AND id < j_below
         ORDER BY run_after, id LIMIT j_room FOR UPDATE SKIP LOCKED) others;
END IF;
IF j_more = 0 THEN
    SELECT id, 1 INTO j_ids, j_more ${FOLLOWING};
END IF;
IF j_more > 0 THEN
    ${execute(`'UPDATE job SET grabbed_until = ', j_now + j_lease, ' WHERE id IN (', j_ids, ')'`)}
    SET j_taken = CONCAT(j_taken, IF(j_taken = '', '', ','), j_ids), j_count = j_count + j_more;
    IF j_odd IS NOT NULL AND @jobq_fair <> '' THEN
        -- Whose turn it was is the last of all
        SET j_left = SUBSTRING(REPLACE(CONCAT(',', j_first_func, ',', j_funcs, ','), CONCAT(',', j_best_func, ','), ','), 2);
        SET j_first_func = SUBSTRING_INDEX(j_left, ',', 1);
        SET j_funcs = CONCAT(SUBSTRING(j_left, LENGTH(j_first_func) + 2), j_best_func);
    END IF;
ELSE
    ${PASS}
END IF;`

/** When the next lease ends, of any of the functions. */
const NEXT_END = `SET j_func = j_first_func, j_left = j_funcs, @jobq_end = NULL;
WHILE j_func IS NOT NULL DO
    SET j_until = NULL;
    SELECT grabbed_until INTO j_until ${JOBS} WHERE func_id = j_func AND grabbed_until > 0 AND ${HAS_ID}
     ORDER BY grabbed_until LIMIT 1;
    SET @jobq_end = LEAST(COALESCE(@jobq_end, j_until), COALESCE(j_until, @jobq_end));
    ${NEXT_FUNC}
END WHILE;`

/** What has not been told yet. */
function answer(link: Pick<MysqlConnection, 'keys'>): string {
  const columns = `${jobColumns(link)}, (SELECT context FROM jobq_context WHERE job_id = job.id) AS context`
  return `IF j_go AND j_count < j_most THEN
    ${NEXT_END}
END IF;
IF j_count = 0 THEN
    SELECT j_now AS now, 0 AS n, j_held AS held, ${STATE} AS state, @jobq_lanes AS lanes, j_best AS best, j_best_priority AS priority, j_best_run_after AS run_after;
ELSE
    SET @jobq_now = j_now, @jobq_n = j_count, @jobq_held = j_held, @jobq_state = ${STATE};
    ${execute(
      `'SELECT ? AS now, ? AS n, ? AS held, ? AS state, ${columns.replaceAll("'", "''")}
        FROM job WHERE id IN (', j_taken, ') ORDER BY ',
        IF(j_odd IS NOT NULL AND @jobq_fair <> '', CONCAT('FIND_IN_SET(id, ''', j_taken, ''')'), 'priority DESC, run_after, id')`,
      '@jobq_now, @jobq_n, @jobq_held, @jobq_state',
    )}
END IF;`
}

const VARIABLES = `DECLARE j_now, j_lease_time, j_until, j_to, j_due INT UNSIGNED;
    DECLARE j_held, j_ended, j_taken MEDIUMTEXT CHARACTER SET ascii DEFAULT '';
    DECLARE j_left, j_one, j_ids MEDIUMTEXT CHARACTER SET ascii;
    DECLARE j_why VARCHAR(10) CHARACTER SET ascii DEFAULT '';
    DECLARE j_waits, j_contexts, j_afters, j_go, j_buried, j_freed INT DEFAULT 0;
    DECLARE j_count, j_start INT UNSIGNED DEFAULT 0;
    DECLARE j_func, j_priority, j_run_after, j_room, j_more, j_floor, j_level INT UNSIGNED;
    DECLARE j_best_func, j_best_priority, j_best_run_after, j_next_run_after INT UNSIGNED;
    DECLARE j_enqueue_time, j_retry_cnt INT UNSIGNED;
    DECLARE j_id, j_best, j_next, j_below, j_got BIGINT UNSIGNED;
    DECLARE j_arg, j_uniqkey, j_context MEDIUMBLOB;`

/**
 * What it executes was parsed before, and answers once: that takes half of the server's time, and of this process's,
 * that statements take. One end and the first function are numbers, only what else there is are lists: these take
 * longest to go through. It runs with the caller's rights.
 * @param link tells the character set of the tables
 */
export function createProcedure(link: Pick<MysqlConnection, 'keys'>): string {
  return `CREATE PROCEDURE ${PROCEDURE} (
    j_done BIGINT UNSIGNED,                  -- a job that was completed; or NULL
    j_done_until INT UNSIGNED,               -- and its grabbed_until
    j_several MEDIUMTEXT CHARACTER SET ascii, -- several that were: 'grabbed_until:id,id…;…'
    j_first_func INT UNSIGNED,               -- from what to take; or NULL
    j_funcs MEDIUMTEXT CHARACTER SET ascii,  -- and from what else: 'func_id,…'
    j_all INT UNSIGNED,                      -- how many functions there were when it last looked for one; or NULL
    j_odd MEDIUMTEXT CHARACTER SET ascii,    -- what is seldom asked for; or NULL. Parts, with ; between them:
        -- what was paused then; how many may run, 0 where it is paused: ',func_id=most,…,'; those of which some may:
        -- 'func_id,…'; those that can't start, and what is behind them: ',func_id,…,'; 'fair': functions of equal priority
        -- take turns, in the order in which they are given
    j_checked INT UNSIGNED,                  -- the second in which no lease had run out
    j_latest INT UNSIGNED,                   -- a clock beyond that has jumped; or NULL
    j_lease INT UNSIGNED,                    -- NULL: only look, and j_odd is there
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

    -- Behind the deletes, so that what was tracked before them is seen. A clock that has jumped ahead ends no lease
    SELECT UNIX_TIMESTAMP(), IF(UNIX_TIMESTAMP() > j_latest, j_latest - ${JUMP_SECONDS}, UNIX_TIMESTAMP()),
        IF(j_most > 0, 1 + EXISTS (SELECT 1 FROM jobq_pause), 0),
        EXISTS (SELECT 1 FROM jobq_wait), EXISTS (SELECT 1 FROM jobq_context), EXISTS (SELECT 1 FROM jobq_after)
      INTO j_now, j_lease_time, j_go, j_waits, j_contexts, j_afters;
    ${ENDS_BESIDE}
    ${SELDOM}
    ${LEASES}

    take: WHILE j_go AND j_count < j_most DO
        ${BEST}
        IF j_best IS NULL THEN
            IF j_start = 0 THEN
                LEAVE take;
            END IF;
            SET j_level = j_start - 1, j_start = 0;
            ITERATE take;
        ELSEIF j_odd IS NOT NULL THEN
            IF j_lease IS NULL THEN
                LEAVE take;
            ELSEIF @jobq_locks <> '' THEN
                -- Who counts what runs must be alone at it, over all processes
                ${execute(`'SELECT GROUP_CONCAT(id) INTO @jobq_ids FROM func WHERE id IN (', @jobq_locks, ') FOR UPDATE'`)}
                SET @jobq_locks = '';
                ITERATE take;
            ELSEIF LOCATE(CONCAT(',', j_best_func, ','), @jobq_waiting) > 0 THEN
                SET j_why = 'held';
                LEAVE take;
            END IF;
        END IF;
        IF j_most = 1 THEN
            ${takeOne(link)}
        ELSE
            ${TAKE_SEVERAL}
        END IF;
        SET j_level = j_best_priority, j_start = j_best_priority; -- nothing above is due
    END WHILE;

    IF j_count = 0 OR j_most > 1 THEN
        ${answer(link)}
    END IF;
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
