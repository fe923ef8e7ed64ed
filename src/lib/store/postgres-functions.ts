/**
 * jobq's functions in the database, made by `jobq init`: what would be a round trip a lane is one call here.
 *
 * A name ends in its version: jobq of another version beside this one goes on using its own. They run with the caller's
 * rights and name no schema: the search_path says where the tables are.
 *
 * jobq_grab walks lanes. A lane is the ready side of one (function, priority): entries of jobq_lane with
 * grabbed_until = 0, in the order run_after, id. The walk keeps a head for each function and takes the best one, which
 * may be locked by another grab: then the next. The planner may not sort or scan: whatever the statistics say, it is the
 * index, also by a plan that was made when the table was empty.
 */

/**
 * A turn: ends what was completed (the n-th of `done`, if its lease still holds), then takes the next jobs. With a lease
 * of NULL it only looks. A function is found by its id, or by its name where that is not known.
 *
 * Rows are told apart by `what`: done, job, buried, head (of a mere look), and last `now` with the time of the next.
 */
const GRAB = `CREATE OR REPLACE FUNCTION jobq_grab_1(
    done BIGINT[], done_until INTEGER[],
    known INTEGER[], names TEXT[], held BOOLEAN[], most INTEGER[], served BIGINT[],
    wanted INTEGER, lease INTEGER, max_deaths INTEGER
) RETURNS TABLE (
    what TEXT, job_id BIGINT, job_func_id INTEGER, job_func TEXT, job_arg BYTEA, job_uniqkey TEXT,
    job_enqueue_time INTEGER, job_grabbed_until INTEGER, job_run_after INTEGER, job_retry_cnt INTEGER, job_priority INTEGER
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $body$
#variable_conflict use_column
DECLARE
    only_look CONSTANT BOOLEAN := lease IS NULL;
    is_fair CONSTANT BOOLEAN := served IS NOT NULL;
    now_s INTEGER := floor(extract(epoch FROM clock_timestamp()));
    ids INTEGER[]; func_names TEXT[]; func_held BOOLEAN[]; func_most INTEGER[]; func_served BIGINT[];
    paused TEXT[];
    -- for each function: is it to be taken from, must its head be sought, and behind which entry
    is_open BOOLEAN[]; is_stale BOOLEAN[]; running INTEGER[];
    lanes INTEGER[]; times INTEGER[]; heads BIGINT[];
    lane INTEGER; head_time INTEGER; head_id BIGINT;
    best INTEGER; taken INTEGER := 0; turn_no BIGINT := 0;
    due_at INTEGER; lease_end INTEGER; was_locked BOOLEAN := FALSE; is_held BOOLEAN := FALSE;
    ended RECORD; death RECORD;
BEGIN
    FOR i IN 1..cardinality(done) LOOP
        DELETE FROM job j WHERE j.id = done[i] AND j.grabbed_until = done_until[i];
        IF FOUND THEN what := 'done'; job_id := i; RETURN NEXT; END IF;
    END LOOP;

    ids := known; func_names := names; func_held := held; func_most := most; func_served := served;
    IF array_position(known, NULL) IS NOT NULL THEN
        SELECT array_agg(f.id ORDER BY n.nth), array_agg(f.name::TEXT ORDER BY n.nth), array_agg(n.held ORDER BY n.nth),
               array_agg(n.most ORDER BY n.nth), array_agg(n.served ORDER BY n.nth)
          INTO ids, func_names, func_held, func_most, func_served
          FROM unnest(names, held, most, served) WITH ORDINALITY AS n (name, held, most, served, nth)
          JOIN func f ON f.name = n.name;
    END IF;
    IF wanted = 0 OR ids IS NULL OR cardinality(ids) = 0 THEN
        what := 'now'; job_id := NULL; job_enqueue_time := now_s;
        RETURN NEXT;
        RETURN;
    END IF;

    IF NOT only_look THEN
        -- One at a time counts what runs of a function that has a limit, over all processes
        FOR i IN 1..cardinality(ids) LOOP
            IF func_most[i] > 0 THEN
                PERFORM pg_advisory_xact_lock('job'::REGCLASS::OID::INTEGER, limited.id)
                   FROM (SELECT l.id FROM unnest(ids, func_most) AS l (id, most) WHERE l.most > 0 ORDER BY l.id OFFSET 0) limited;
                EXIT;
            END IF;
        END LOOP;
        FOR i IN 1..cardinality(ids) LOOP
            SELECT j.grabbed_until INTO lease_end FROM job j WHERE j.func_id = ids[i] AND j.grabbed_until > 0
             ORDER BY j.grabbed_until LIMIT 1;
            CONTINUE WHEN lease_end IS NULL OR lease_end > now_s;
            FOR ended IN SELECT j.id, j.grabbed_until FROM job j
                WHERE j.func_id = ids[i] AND j.grabbed_until BETWEEN 1 AND now_s
                ORDER BY j.grabbed_until LIMIT 1000 FOR UPDATE SKIP LOCKED
            LOOP
                SELECT d.failed INTO death FROM jobq_die_1(ended.id, ended.grabbed_until,
                    'its lease ran out (its dispatcher or machine is gone)', NULL, NULL, max_deaths) d;
                IF death.failed IS NOT NULL THEN
                    what := 'buried'; job_id := ended.id; job_func := func_names[i];
                    job_arg := convert_to(death.failed, 'UTF8');
                    RETURN NEXT;
                END IF;
            END LOOP;
        END LOOP;
    END IF;

    SELECT array_agg(p.func) INTO paused FROM jobq_pause p;
    is_stale := array_fill(TRUE, ARRAY[cardinality(ids)]);
    lanes := array_fill(NULL::INTEGER, ARRAY[cardinality(ids)]);
    times := lanes; running := lanes; heads := lanes::BIGINT[];
    FOR i IN 1..cardinality(ids) LOOP
        is_open[i] := paused IS NULL OR NOT ('' = ANY (paused) OR func_names[i] = ANY (paused));
        IF func_most[i] > 0 THEN
            running[i] := (SELECT count(*) FROM
                (SELECT FROM job j WHERE j.func_id = ids[i] AND j.grabbed_until > now_s LIMIT func_most[i]) r);
            is_open[i] := is_open[i] AND running[i] < func_most[i];
        END IF;
        turn_no := greatest(turn_no, func_served[i]);
    END LOOP;

    WHILE taken < wanted LOOP
        best := NULL;
        FOR i IN 1..cardinality(ids) LOOP
            CONTINUE WHEN NOT is_open[i];
            IF is_stale[i] THEN
                is_stale[i] := FALSE;
                lane := lanes[i];
                head_id := NULL;
                IF lane IS NOT NULL THEN
                    SELECT j.id, j.run_after INTO head_id, head_time FROM job j
                     WHERE j.func_id = ids[i] AND j.grabbed_until = 0 AND j.priority = lane
                       AND (j.run_after, j.id) > (times[i], heads[i])
                     ORDER BY j.run_after, j.id LIMIT 1;
                END IF;
                LOOP
                    EXIT WHEN head_id IS NOT NULL AND head_time <= now_s;
                    IF head_id IS NOT NULL THEN due_at := least(due_at, head_time); END IF;
                    -- the next lower lane, and its first entry
                    SELECT j.priority INTO lane FROM job j
                     WHERE j.func_id = ids[i] AND j.grabbed_until = 0 AND j.priority < coalesce(lane, 2147483648)
                     ORDER BY j.priority DESC LIMIT 1;
                    EXIT WHEN lane IS NULL;
                    SELECT j.id, j.run_after INTO head_id, head_time FROM job j
                     WHERE j.func_id = ids[i] AND j.grabbed_until = 0 AND j.priority = lane
                     ORDER BY j.run_after, j.id LIMIT 1;
                END LOOP;
                lanes[i] := lane; times[i] := head_time; heads[i] := head_id;
                IF lane IS NULL THEN is_open[i] := FALSE; CONTINUE; END IF;
            END IF;
            IF best IS NULL OR lanes[i] > lanes[best] OR (lanes[i] = lanes[best] AND
                CASE WHEN is_fair THEN func_served[i] < func_served[best]
                     ELSE (times[i], heads[i]) < (times[best], heads[best]) END) THEN
                best := i;
            END IF;
        END LOOP;
        EXIT WHEN best IS NULL;
        IF only_look THEN
            what := 'head'; job_id := heads[best]; job_run_after := times[best]; job_priority := lanes[best];
            RETURN NEXT;
            due_at := now_s;
            EXIT;
        END IF;
        IF func_held[best] THEN is_held := TRUE; EXIT; END IF;
        RETURN QUERY UPDATE job j SET grabbed_until = now_s + lease
            WHERE j.id = (SELECT k.id FROM job k WHERE k.id = heads[best] AND k.grabbed_until = 0 AND k.run_after <= now_s
                             FOR UPDATE SKIP LOCKED)
            RETURNING 'job', j.id, j.func_id, func_names[best], j.arg, j.uniqkey::TEXT, j.enqueue_time, j.grabbed_until,
                j.run_after, j.retry_cnt, j.priority;
        is_stale[best] := TRUE;
        IF NOT FOUND THEN was_locked := TRUE; CONTINUE; END IF;
        taken := taken + 1;
        IF is_fair THEN turn_no := turn_no + 1; func_served[best] := turn_no; END IF;
        IF running[best] IS NOT NULL THEN
            running[best] := running[best] + 1;
            is_open[best] := running[best] < func_most[best];
        END IF;
    END LOOP;

    IF is_held OR taken = wanted THEN
        due_at := NULL;
    ELSIF best IS NULL THEN
        FOR i IN 1..cardinality(ids) LOOP
            SELECT j.grabbed_until INTO lease_end FROM job j WHERE j.func_id = ids[i] AND j.grabbed_until > 0
             ORDER BY j.grabbed_until LIMIT 1;
            due_at := least(due_at, lease_end);
        END LOOP;
        -- Whoever holds a lock may give its job back without a word
        IF was_locked THEN due_at := least(due_at, now_s + 1); END IF;
    END IF;
    what := 'now'; job_id := NULL; job_enqueue_time := now_s; job_run_after := due_at;
    RETURN NEXT;
END
$body$`

/**
 * A death of the job's worker: the job goes back to its lane, or fails for good with its last one. The count is kept in
 * the database, so that it holds across processes; ids are never used twice.
 */
const DIE = `CREATE OR REPLACE FUNCTION jobq_die_1(
    the_job BIGINT, mine INTEGER, how TEXT, started INTEGER, ended INTEGER, max_deaths INTEGER
) RETURNS TABLE (held BOOLEAN, failed TEXT) LANGUAGE plpgsql SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    now_s INTEGER := floor(extract(epoch FROM clock_timestamp()));
    deaths INTEGER;
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
        UPDATE job j SET grabbed_until = 0 WHERE j.id = the_job;
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO exception_log (func_id, exception_time, message, uniqkey, arg, retried)
        SELECT j.func_id, now_s, convert_to(failed, 'UTF8'), j.uniqkey, j.arg, 0 FROM job j WHERE j.id = the_job;
    IF started IS NOT NULL THEN
        INSERT INTO job_status (func_id, arg, uniqkey, status, job_start_time, job_end_time)
            SELECT j.func_id, j.arg, j.uniqkey, 'failed', started, ended FROM job j WHERE j.id = the_job;
    END IF;
    DELETE FROM jobq_death d WHERE d.job_id = the_job;
    DELETE FROM job j WHERE j.id = the_job;
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

/** The channel that jobq_ring rings, as SQL. */
export const CHANNEL = `('jobq_' || current_schema())::NAME::TEXT`

/** jobq_ring comes first: triggers need it. */
export const FUNCTIONS: Readonly<Record<string, string>> = {
  jobq_ring: RING,
  jobq_die_1: DIE,
  jobq_grab_1: GRAB,
}

/**
 * Perl's and psql's inserts ring, too. A trigger for each row that becomes ready, rather than one a statement, since its
 * condition costs a grab or a renewal next to nothing.
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
  jobq_resumed: {
    table: 'jobq_pause',
    sql: `CREATE TRIGGER jobq_resumed AFTER DELETE ON jobq_pause FOR EACH STATEMENT EXECUTE FUNCTION jobq_ring()`,
  },
}
