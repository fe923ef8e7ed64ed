/**
 * jobq's function in PostgreSQL that takes jobs, made by `jobq init`: what would be a round trip for each lane (what is
 * ready of one function and priority) is one call.
 */

import {MAX_ID} from '../../jobs/job.ts'

/** Ids that JavaScript can't hold are passed over. */
const HAS_ID = `j.id + 0 <= ${MAX_ID}`
/** What an entry of jobq_lane is, but for its priority. Lanes are in the order run_after, id. */
const IN_LANE = `j.func_id = f.id AND j.grabbed_until = 0 AND ${HAS_ID}`

/**
 * The jobs that are due at the highest level under `below`, in the order of work: `level`, `picked`, `picked_of`. A level
 * is the lanes of one priority.
 * @param order of jobs that are equally important
 */
const pick = (rank: string, order: string) => `
        WITH top AS MATERIALIZED (
            SELECT f.id, f.nth, f.room, func_served[f.nth] AS served,
                (SELECT j.priority FROM job j WHERE ${IN_LANE} AND j.priority < below ORDER BY j.priority DESC LIMIT 1) AS priority
            FROM unnest(ids, rooms) WITH ORDINALITY AS f (id, room, nth) WHERE f.room > 0)
        SELECT max(due.priority), array_agg(due.job) FILTER (WHERE due.job IS NOT NULL),
               array_agg(due.nth) FILTER (WHERE due.job IS NOT NULL)
          INTO level, picked, picked_of
          FROM (SELECT f.priority, f.nth, due.id AS job
                  FROM top f LEFT JOIN LATERAL (
                       SELECT j.id, j.run_after${rank} FROM job j
                        WHERE ${IN_LANE} AND j.priority = f.priority AND j.run_after <= now_s AND j.id <> ALL (locked)
                        ORDER BY j.run_after, j.id LIMIT f.room) due ON TRUE
                 WHERE f.priority = (SELECT max(t.priority) FROM top t)
                 ORDER BY ${order} LIMIT wanted - taken) due;`

/**
 * A turn: ends what was completed (the n-th of `done`, if its lease still holds), then takes the next jobs. With a lease
 * of NULL it only looks. Functions come by their ids; if not all of these are known by all their names, and then rows
 * tell the name. What holds for none of them is NULL: are jobs of it held, how many may run, when was it served last.
 *
 * Rows are told apart by `what`: lost (the n-th of `done`, of which the lease did not hold), job (in any order), buried,
 * head (of a mere look), and last `now` with the time of the next.
 *
 * The planner may not sort or scan: its connection (connections.ts) forbids it. As settings of the function that would
 * cost each call 24 µs, of about 110 in all.
 */
export const GRAB_FUNCTION = `CREATE OR REPLACE FUNCTION jobq_grab_5(
    done BIGINT[], done_until INTEGER[],
    known INTEGER[], names TEXT[], held BOOLEAN[], most INTEGER[], served BIGINT[],
    wanted INTEGER, lease INTEGER, max_deaths INTEGER
) RETURNS TABLE (
    what TEXT, job_id BIGINT, job_func_id INTEGER, job_func TEXT, job_arg BYTEA, job_uniqkey TEXT,
    job_enqueue_time INTEGER, job_grabbed_until INTEGER, job_run_after INTEGER, job_retry_cnt INTEGER,
    job_priority INTEGER, job_context TEXT
) LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    only_look CONSTANT BOOLEAN := lease IS NULL;
    is_fair CONSTANT BOOLEAN := served IS NOT NULL;
    now_s CONSTANT INTEGER := floor(extract(epoch FROM clock_timestamp()));
    gone BIGINT[]; gone_nth BIGINT[]; leaves BOOLEAN; are_waiting BOOLEAN;
    ids INTEGER[] := known; func_names TEXT[] := names; func_held BOOLEAN[] := held; func_most INTEGER[] := most;
    func_served BIGINT[] := served;
    is_limited BOOLEAN; has_expired BOOLEAN; paused TEXT[];
    -- how many more may be taken of each function: 0 if it is paused, or as many run as may
    rooms INTEGER[];
    below BIGINT := 2147483648; level INTEGER; picked BIGINT[]; picked_of BIGINT[]; locked BIGINT[] := '{}';
    got INTEGER; taken INTEGER := 0; turn_no BIGINT; is_held BOOLEAN := FALSE; was_locked BOOLEAN := FALSE;
    due_at INTEGER; died RECORD; failure TEXT;
BEGIN
    IF cardinality(done) = 1 THEN
        DELETE FROM job j WHERE j.id = done[1] AND j.grabbed_until + 0 = done_until[1];
        IF FOUND THEN
            gone := done;
        ELSE
            what := 'lost'; job_id := 1;
            RETURN NEXT;
        END IF;
    ELSIF done IS NOT NULL THEN
        WITH ended AS (
            DELETE FROM job j USING unnest(done, done_until) WITH ORDINALITY AS d (id, mine, nth)
             WHERE j.id = d.id AND j.grabbed_until + 0 = d.mine RETURNING d.nth, j.id)
        SELECT array_agg(e.nth), array_agg(e.id) INTO gone_nth, gone FROM ended e;
        IF gone IS NULL OR cardinality(gone) < cardinality(done) THEN
            RETURN QUERY SELECT 'lost', n::BIGINT, 0, '', ''::BYTEA, '', 0, 0, 0, 0, 0, ''
                FROM generate_series(1, cardinality(done)) n WHERE gone_nth IS NULL OR n <> ALL (gone_nth);
        END IF;
    END IF;

    IF names IS NOT NULL THEN
        SELECT array_agg(f.id ORDER BY n.nth), array_agg(f.name::TEXT ORDER BY n.nth), array_agg(n.is_held ORDER BY n.nth),
               array_agg(n.at_most ORDER BY n.nth), array_agg(n.served_at ORDER BY n.nth)
          INTO ids, func_names, func_held, func_most, func_served
          FROM unnest(names, held, most, served) WITH ORDINALITY AS n (name, is_held, at_most, served_at, nth)
          JOIN func f ON f.name = n.name;
        IF held IS NULL THEN func_held := NULL; END IF;
        IF most IS NULL THEN func_most := NULL; END IF;
        IF served IS NULL THEN func_served := NULL; END IF;
    END IF;
    IF wanted = 0 OR ids IS NULL THEN ids := '{}'; END IF;
    is_limited := func_most IS NOT NULL;

    -- In a snapshot of its own: whoever began to track one of these jobs while it was about to end has committed by now
    SELECT EXISTS (SELECT FROM jobq_wait w WHERE w.job_id = ANY (gone))
           OR EXISTS (SELECT FROM jobq_context c WHERE c.job_id = ANY (gone)),
           gone IS NOT NULL AND EXISTS (SELECT FROM jobq_after),
           ARRAY(SELECT p.func::TEXT FROM jobq_pause p),
           EXISTS (SELECT FROM unnest(ids) AS f (id) WHERE
               (SELECT j.grabbed_until FROM job j WHERE j.func_id = f.id AND j.grabbed_until > 0 AND ${HAS_ID}
                 ORDER BY j.grabbed_until LIMIT 1) <= now_s
                OR EXISTS (SELECT FROM job j WHERE j.func_id = f.id AND j.grabbed_until < 0))
      INTO leaves, are_waiting, paused, has_expired;
    IF leaves THEN
        UPDATE jobq_wait w SET outcome = 'completed', ended_at = now_s WHERE w.job_id = ANY (gone);
        DELETE FROM jobq_context c WHERE c.job_id = ANY (gone);
    END IF;
    IF are_waiting THEN
        PERFORM jobq_after_5(gone, NULL);
    END IF;
    IF cardinality(ids) = 0 THEN
        what := 'now'; job_enqueue_time := now_s;
        RETURN NEXT;
        RETURN;
    END IF;

    IF is_limited AND NOT only_look THEN
        -- One at a time counts what runs of a function that has a limit, over all processes
        PERFORM pg_advisory_xact_lock('job'::REGCLASS::OID::INTEGER, limited.id)
           FROM (SELECT l.id FROM unnest(ids, func_most) AS l (id, most) WHERE l.most > 0 ORDER BY l.id OFFSET 0) limited;
    END IF;
    IF has_expired AND NOT only_look THEN
        -- As another program may have written it
        UPDATE job j SET grabbed_until = 0 FROM unnest(ids) AS f (id) WHERE j.func_id = f.id AND j.grabbed_until < 0;
        FOR died IN
            SELECT f.id AS func_id, f.name, j.* FROM unnest(ids, func_names) AS f (id, name) CROSS JOIN LATERAL (
                SELECT j.id, j.grabbed_until, j.uniqkey, j.priority FROM job j
                 WHERE j.func_id = f.id AND j.grabbed_until BETWEEN 1 AND now_s AND ${HAS_ID}
                 ORDER BY j.grabbed_until LIMIT 1000 FOR UPDATE SKIP LOCKED) j
        LOOP
            SELECT d.failed INTO failure FROM jobq_die_5(died.id, died.grabbed_until,
                'its lease ran out (its dispatcher or machine is gone)', NULL, NULL, NULL, NULL, NULL, NULL, NULL, max_deaths) d;
            IF failure IS NOT NULL THEN
                what := 'buried'; job_id := died.id; job_func_id := died.func_id; job_func := died.name;
                job_uniqkey := died.uniqkey; job_priority := died.priority; job_arg := convert_to(failure, 'UTF8');
                RETURN NEXT;
            END IF;
        END LOOP;
    END IF;

    LOOP
        rooms := array_fill(wanted - taken, ARRAY[cardinality(ids)]);
        IF is_limited THEN
            rooms := ARRAY(SELECT CASE WHEN f.most = 0 THEN wanted - taken ELSE f.most - (SELECT count(*) FROM (
                    SELECT FROM job j WHERE j.func_id = f.id AND j.grabbed_until > now_s
                     ORDER BY j.grabbed_until LIMIT f.most) running)::INTEGER END
                FROM unnest(ids, func_most) WITH ORDINALITY AS f (id, most, nth) ORDER BY f.nth);
        END IF;
        IF paused <> '{}' THEN
            rooms := ARRAY(SELECT CASE WHEN '' = ANY (paused) OR p.name = ANY (paused) THEN 0 ELSE f.room END
                FROM unnest(ids, rooms) WITH ORDINALITY AS f (id, room, nth) JOIN func p ON p.id = f.id ORDER BY f.nth);
        END IF;

        IF wanted = 1 AND NOT is_fair AND locked = '{}' THEN
            -- The heads of all highest lanes, and the best of them: two thirds of what the general way costs
            SELECT t.priority, CASE WHEN h.run_after <= now_s THEN ARRAY[h.id] END, ARRAY[f.nth]
              INTO level, picked, picked_of
              FROM unnest(ids, rooms) WITH ORDINALITY AS f (id, room, nth)
              CROSS JOIN LATERAL (SELECT j.priority FROM job j WHERE ${IN_LANE} AND j.priority < below
                  ORDER BY j.priority DESC LIMIT 1) t
              CROSS JOIN LATERAL (SELECT j.id, j.run_after FROM job j WHERE ${IN_LANE} AND j.priority = t.priority
                  ORDER BY j.run_after, j.id LIMIT 1) h
             WHERE f.room > 0 ORDER BY t.priority DESC, h.run_after, h.id LIMIT 1;
        ELSIF is_fair THEN${pick(', row_number() OVER (ORDER BY j.run_after, j.id) AS rank', 'due.rank, f.served, f.nth')}
        ELSE${pick('', 'due.run_after, due.id')}
        END IF;
        EXIT WHEN level IS NULL; -- no lane is left below
        IF picked IS NULL THEN
            -- Nothing is due at this level: on to the highest one below it where something is
            WITH RECURSIVE lane AS (
                SELECT f.id, level AS priority, NULL::INTEGER AS first_due FROM unnest(ids, rooms) AS f (id, room) WHERE f.room > 0
                UNION ALL
                SELECT f.id, n.priority, n.run_after FROM lane f CROSS JOIN LATERAL (
                    SELECT l.priority, (SELECT j.run_after FROM job j WHERE ${IN_LANE} AND j.priority = l.priority
                                         ORDER BY j.run_after, j.id LIMIT 1) AS run_after
                      FROM (SELECT j.priority FROM job j WHERE ${IN_LANE} AND j.priority < f.priority
                             ORDER BY j.priority DESC LIMIT 1) l) n
                 WHERE f.first_due IS NULL OR f.first_due > now_s)
            SELECT max(f.priority) + 1::BIGINT INTO below FROM lane f WHERE f.first_due <= now_s;
            EXIT WHEN below IS NULL;
            locked := '{}';
            CONTINUE;
        END IF;
        IF only_look THEN
            RETURN QUERY SELECT 'head', j.id, 0, '', ''::BYTEA, '', 0, 0, j.run_after, 0, j.priority, ''
                FROM job j WHERE j.id = picked[1];
            due_at := now_s;
            EXIT;
        END IF;
        IF func_held IS NOT NULL THEN
            FOR i IN 1..cardinality(picked) LOOP
                CONTINUE WHEN NOT func_held[picked_of[i]];
                is_held := TRUE;
                picked := picked[1:i - 1];
                EXIT;
            END LOOP;
        END IF;
        RETURN QUERY UPDATE job j SET grabbed_until = now_s + lease
            FROM (SELECT k.id FROM job k WHERE k.id = ANY (picked) AND k.grabbed_until + 0 = 0 AND k.run_after + 0 <= now_s
                     FOR NO KEY UPDATE SKIP LOCKED) mine
            WHERE j.id = mine.id
            RETURNING 'job', j.id, j.func_id, func_names[array_position(ids, j.func_id)], j.arg, j.uniqkey::TEXT,
                j.enqueue_time, j.grabbed_until, j.run_after, j.retry_cnt, j.priority,
                (SELECT c.context FROM jobq_context c WHERE c.job_id = j.id);
        GET DIAGNOSTICS got = ROW_COUNT;
        taken := taken + got;
        EXIT WHEN taken = wanted OR is_held;
        IF got < cardinality(picked) THEN
            was_locked := TRUE;
            locked := locked || picked; -- what was taken is no entry of the lane any more
        ELSE
            below := level;
            locked := '{}';
        END IF;
        IF is_fair THEN
            turn_no := (SELECT max(s) FROM unnest(func_served) s);
            FOR i IN 1..cardinality(picked) LOOP func_served[picked_of[i]] := turn_no + i; END LOOP;
        END IF;
    END LOOP;

    IF NOT is_held AND taken < wanted AND due_at IS NULL THEN
        WITH RECURSIVE lane AS (
            SELECT f.id, f.room, 2147483648 AS priority FROM unnest(ids, rooms) AS f (id, room)
            UNION ALL
            SELECT f.id, f.room, (SELECT j.priority FROM job j WHERE ${IN_LANE} AND j.priority < f.priority
                                   ORDER BY j.priority DESC LIMIT 1)::BIGINT
              FROM lane f WHERE f.room > 0 AND f.priority IS NOT NULL)
        SELECT least(
            min((SELECT j.run_after FROM job j WHERE ${IN_LANE} AND j.priority = f.priority AND j.run_after > now_s
                  ORDER BY j.run_after LIMIT 1)),
            min((SELECT j.grabbed_until FROM job j WHERE f.priority = 2147483648 AND j.func_id = f.id AND j.grabbed_until > 0
                    AND ${HAS_ID} ORDER BY j.grabbed_until LIMIT 1)))
          INTO due_at FROM lane f;
        -- Whoever holds a lock may give its job back without a word
        IF was_locked THEN due_at := least(due_at, now_s + 1); END IF;
    END IF;
    what := 'now'; job_id := NULL; job_arg := NULL; job_enqueue_time := now_s; job_run_after := due_at;
    RETURN NEXT;
END
$body$`
