/** jobq's functions and triggers in a PostgreSQL database, made by `jobq init`; the longest is in grab.ts. */

import {WAS_CANCELLED} from '../../jobs/job.ts'
import {AFTER_FUNCTION, FAIL_FUNCTION, NEVER} from './after.ts'
import {texts} from './arrays.ts'
import {type PostgresConnections, TELLS_ENDS} from './connections/connections.ts'
import {notPrepared} from './errors.ts'
import {GRAB_FUNCTION} from './grab.ts'

/**
 * Ends of attempts, each if its lease still holds; @returns which did. `outcome` is NULL where the job stays, `message`
 * where there is no exception to log, `status` where the worker keeps none, `cut` where no output is kept: then its array
 * may be NULL, as that of `cancelled` where nothing was.
 *
 * Waits are looked at in a statement behind the one that deletes: who began to track one of these jobs while that waited
 * for its row has committed by now.
 */
const END = `CREATE OR REPLACE FUNCTION jobq_end_6(
    ids BIGINT[], mine INTEGER[], outcomes TEXT[], messages BYTEA[], retries BIGINT[], statuses TEXT[],
    starts INTEGER[], stops INTEGER[], begins INTEGER[], hosts TEXT[], pids INTEGER[], cuts BOOLEAN[], outputs BYTEA[], cancelled BOOLEAN[]
) RETURNS SETOF BIGINT LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    now_s CONSTANT INTEGER := floor(extract(epoch FROM clock_timestamp()));
    held_nth BIGINT[]; left_ids BIGINT[];
BEGIN
    WITH ends AS MATERIALIZED (
        SELECT * FROM unnest(ids, mine, outcomes, messages, retries, statuses, starts, stops, begins, hosts, pids, cuts, cancelled) WITH ORDINALITY
            AS e (job_id, mine, outcome, message, retry_in, status, started, ended, began, host, pid, cut, is_cancelled, nth)
    ), gone AS (
        DELETE FROM job USING ends e WHERE outcome IS NOT NULL AND job.id = job_id AND grabbed_until + 0 = e.mine
        RETURNING e.*, func_id, uniqkey, arg
    ), kept AS (
        UPDATE job SET grabbed_until = 0, retry_cnt = retry_cnt + (message IS NOT NULL)::INTEGER,
            run_after = CASE WHEN message IS NULL THEN run_after ELSE least(now_s + retry_in, ${NEVER - 1})::INTEGER END
        FROM ends e WHERE outcome IS NULL AND job.id = job_id AND grabbed_until + 0 = e.mine
        RETURNING e.*, func_id, uniqkey, arg
    ), held AS (SELECT * FROM gone UNION ALL SELECT * FROM kept
    ), exceptions AS (
        INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
        SELECT func_id, now_s, message, uniqkey, arg,
            CASE WHEN is_cancelled THEN ${WAS_CANCELLED} ELSE 0 END
        FROM held WHERE message IS NOT NULL ORDER BY nth
        RETURNING id
    ), statuses AS (
        INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
        SELECT func_id, arg, uniqkey, status, started, ended FROM held WHERE status IS NOT NULL ORDER BY nth
        RETURNING id
    ), attempts AS (
        -- Their rows have ascending ids, in the order in which they were inserted
        INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, started_at, ended_at, host, pid, exception_id, status_id)
        SELECT job_id, func_id, coalesce(outcome, 'failed'), outcome IS NOT NULL, coalesce(began, started), coalesce(ended, now_s),
            host, pid, x.id, s.id
        FROM held
        LEFT JOIN (SELECT nth, row_number() OVER (ORDER BY nth) AS n FROM held WHERE message IS NOT NULL) xn USING (nth)
        LEFT JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM exceptions) x ON x.n = xn.n
        LEFT JOIN (SELECT nth, row_number() OVER (ORDER BY nth) AS n FROM held WHERE status IS NOT NULL) sn USING (nth)
        LEFT JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM statuses) s ON s.n = sn.n
        WHERE message IS NOT NULL OR status IS NOT NULL OR cut IS NOT NULL ORDER BY nth
    )
    SELECT array_agg(held.nth), array_agg(held.job_id) FILTER (WHERE held.outcome IS NOT NULL)
      INTO held_nth, left_ids FROM held;
    IF EXISTS (SELECT FROM jobq_wait w WHERE w.job_id = ANY (left_ids))
        OR EXISTS (SELECT FROM jobq_context c WHERE c.job_id = ANY (left_ids)) THEN
        UPDATE jobq_wait w SET outcome = e.outcome, message = e.message, ended_at = now_s
            FROM unnest(ids, outcomes, messages) AS e (job_id, outcome, message)
            WHERE w.job_id = e.job_id AND w.job_id = ANY (left_ids);
        DELETE FROM jobq_context c WHERE c.job_id = ANY (left_ids);
    END IF;
    IF EXISTS (SELECT FROM jobq_after) THEN
        -- What was replaced is waited for until it is known what came in its place
        PERFORM jobq_after_5(array_agg(e.job_id), e.failure) FROM (
            SELECT u.job_id, CASE WHEN u.outcome IN ('failed', 'aborted') THEN u.outcome END AS failure
            FROM unnest(ids, outcomes) AS u (job_id, outcome) WHERE u.job_id = ANY (left_ids) AND u.outcome <> 'replaced') e
         GROUP BY e.failure;
    END IF;
    IF cuts IS NOT NULL THEN
        -- Who held the job has written its last attempt
        INSERT INTO jobq_output (job_id, attempt_id, is_cut, output)
            SELECT ids[e.nth], (SELECT max(a.id) FROM jobq_attempt a WHERE a.job_id = ids[e.nth]), cuts[e.nth], outputs[e.nth]
            FROM unnest(held_nth) AS e (nth) WHERE cuts[e.nth] IS NOT NULL;
    END IF;
    RETURN QUERY SELECT unnest(held_nth);
END
$body$`

/**
 * A death of the job's worker: the job goes back to its lane, or fails for good with its last one. The count is kept in
 * the database, so that it holds across processes; ids are never used twice.
 */
const DIE = `CREATE OR REPLACE FUNCTION jobq_die_5(
    the_job BIGINT, mine INTEGER, how TEXT, started INTEGER, ended INTEGER, began INTEGER, the_host TEXT, the_pid INTEGER,
    the_cut BOOLEAN, the_output BYTEA, max_deaths INTEGER
) RETURNS TABLE (held BOOLEAN, failed TEXT) LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    now_s CONSTANT INTEGER := floor(extract(epoch FROM clock_timestamp()));
    deaths INTEGER; the_exception BIGINT; the_status BIGINT; the_attempt BIGINT;
BEGIN
    held := FALSE;
    failed := NULL;
    PERFORM FROM job j WHERE j.id = the_job AND j.grabbed_until = mine FOR UPDATE;
    IF NOT FOUND THEN RETURN NEXT; RETURN; END IF;
    held := TRUE;
    INSERT INTO jobq_death (job_id, died_at, how) VALUES (the_job, now_s, $3);
    SELECT count(*), 'its worker died ' || count(*) || ' times: ' || string_agg(d.nth || '. ' || d.how, '; ' ORDER BY d.nth)
      INTO deaths, failed
      FROM (SELECT row_number() OVER (ORDER BY x.id) AS nth, x.how FROM jobq_death x WHERE x.job_id = the_job) d;
    IF deaths < max_deaths THEN
        failed := NULL;
        IF the_cut IS NOT NULL THEN
            INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, started_at, ended_at, host, pid)
                SELECT j.id, j.func_id, 'died', FALSE, began, now_s, the_host, the_pid FROM job j WHERE j.id = the_job
                RETURNING id INTO the_attempt;
            INSERT INTO jobq_output (job_id, attempt_id, is_cut, output) VALUES (the_job, the_attempt, the_cut, the_output);
        END IF;
        UPDATE job j SET grabbed_until = 0 WHERE j.id = the_job;
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
        SELECT j.func_id, now_s, convert_to(failed, 'UTF8'), j.uniqkey, j.arg, 0 FROM job j WHERE j.id = the_job
        RETURNING id INTO the_exception;
    IF started IS NOT NULL THEN
        INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
            SELECT j.func_id, j.arg, j.uniqkey, 'failed', started, ended FROM job j WHERE j.id = the_job
            RETURNING id INTO the_status;
    END IF;
    INSERT INTO jobq_attempt (job_id, func_id, outcome, is_last, started_at, ended_at, host, pid, exception_id, status_id)
        SELECT j.id, j.func_id, 'failed', TRUE, coalesce(began, started), coalesce(ended, now_s), the_host, the_pid,
            the_exception, the_status
        FROM job j WHERE j.id = the_job
        RETURNING id INTO the_attempt;
    IF the_cut IS NOT NULL THEN
        INSERT INTO jobq_output (job_id, attempt_id, is_cut, output) VALUES (the_job, the_attempt, the_cut, the_output);
    END IF;
    UPDATE jobq_wait w SET outcome = 'failed', message = convert_to(failed, 'UTF8'), ended_at = now_s WHERE w.job_id = the_job;
    DELETE FROM jobq_context c WHERE c.job_id = the_job;
    DELETE FROM jobq_death d WHERE d.job_id = the_job;
    DELETE FROM job j WHERE j.id = the_job;
    IF EXISTS (SELECT FROM jobq_after) THEN
        PERFORM jobq_after_5(ARRAY[the_job], 'failed');
    END IF;
    RETURN NEXT;
END
$body$`

/** Coalesced by the server: a transaction rings once, however many statements and rows it changes. */
const RING = `CREATE OR REPLACE FUNCTION jobq_ring() RETURNS TRIGGER LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM pg_notify(('jobq_' || TG_TABLE_SCHEMA)::NAME::TEXT, '');
    RETURN NULL;
END
$body$`

/** With the rights, and the search_path, of whoever deletes jobs: Perl's user may know nothing of jobq's tables. */
const RING_WAITING = `CREATE OR REPLACE FUNCTION jobq_ring_waiting() RETURNS TRIGGER LANGUAGE plpgsql AS $body$
DECLARE
    waits CONSTANT REGCLASS := to_regclass(format('%I.jobq_wait', TG_TABLE_SCHEMA));
    is_waiting BOOLEAN := TRUE;
BEGIN
    IF waits IS NOT NULL AND has_table_privilege(waits, 'SELECT') THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE outcome IS NULL)', waits) INTO is_waiting;
    END IF;
    IF is_waiting THEN
        PERFORM pg_notify(('jobq_' || TG_TABLE_SCHEMA)::NAME::TEXT, '');
    END IF;
    RETURN NULL;
END
$body$`

/**
 * In an order in which they can be made. A name ends in its version: jobq of another version beside this one goes on
 * using its own. They run with the caller's rights and name no schema: the search_path says where the tables are.
 */
export const FUNCTIONS: Readonly<Record<string, string>> = {
  jobq_ring: RING,
  jobq_ring_waiting: RING_WAITING,
  jobq_after_5: AFTER_FUNCTION,
  jobq_fail_6: FAIL_FUNCTION,
  jobq_end_6: END,
  jobq_die_5: DIE,
  jobq_grab_5: GRAB_FUNCTION,
}

const MISSING = {
  name: 'jobq_missing_functions',
  text: 'SELECT name FROM unnest($1::TEXT[]) AS name WHERE to_regproc(name) IS NULL ORDER BY name LIMIT 1',
}

/** Before jobs are taken: whose end can't be written has run, and would run again. @throws StoreError FOREIGN */
export async function checkFunctions(link: PostgresConnections): Promise<void> {
  const {rows} = await link.run(MISSING, [texts(Object.keys(FUNCTIONS))], true)
  if (rows.length === 0) return
  throw notPrepared(link.name, `function ${rows[0]!.name} does not exist`)
}

/**
 * Perl's and psql's inserts ring, too. A trigger for each row that becomes ready, rather than one a statement, since its
 * condition costs a grab or a renewal next to nothing. Who waits for a job hears of it as well when Perl has worked it.
 */
export const TRIGGERS: Readonly<Record<string, {table: string; sql: string}>> = {
  jobq_inserted: {
    table: 'job',
    sql: `CREATE TRIGGER jobq_inserted AFTER INSERT ON job FOR EACH STATEMENT EXECUTE FUNCTION jobq_ring()`,
  },
  jobq_ready: {
    table: 'job',
    sql: `CREATE TRIGGER jobq_ready AFTER UPDATE ON job FOR EACH ROW WHEN (NEW.grabbed_until = 0) EXECUTE FUNCTION jobq_ring()`,
  },
  jobq_left: {
    table: 'job',
    sql: `CREATE TRIGGER jobq_left AFTER DELETE ON job FOR EACH STATEMENT
    WHEN (current_setting('${TELLS_ENDS}', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION jobq_ring_waiting()`,
  },
  jobq_told: {
    table: 'jobq_wait',
    sql: `CREATE TRIGGER jobq_told AFTER UPDATE ON jobq_wait FOR EACH ROW WHEN (OLD.outcome IS NULL AND NEW.outcome IS NOT NULL) EXECUTE FUNCTION jobq_ring()`,
  },
  jobq_resumed: {
    table: 'jobq_pause',
    sql: `CREATE TRIGGER jobq_resumed AFTER DELETE ON jobq_pause FOR EACH STATEMENT EXECUTE FUNCTION jobq_ring()`,
  },
}
