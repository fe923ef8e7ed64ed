/**
 * The schema on PostgreSQL: Qudo's four tables to the letter, jobq's indexes, functions and triggers, and its own
 * tables. All in the first schema of the search_path.
 */
import {StoreError} from '../../jobs/errors.ts'
import {FUNCTIONS, TRIGGERS} from './functions.ts'

/**
 * 2 adds jobq_context and jobq_wait, 3 jobq_attempt, jobq_output, jobq_order and jobq_manager, 4 jobq_after, each with functions
 * of a new version, those of earlier ones staying for who still uses them; 5 adds jobq_schedule, 6 jobq_tag,
 * jobq_expiry, jobq_key, jobq_share, jobq_rate and jobq_action; 7 jobq_result, jobq_progress, jobq_batch and jobq_token.
 */
export const SCHEMA_VERSION = 7

const QUDO_TABLES: Record<string, {columns: readonly string[]; sql: string}> = {
  func: {
    columns: ['id', 'name'],
    sql: `CREATE TABLE func (
    id         SERIAL PRIMARY KEY,
    name       VARCHAR(255) NOT NULL,
    UNIQUE (name)
)`,
  },
  job: {
    columns: [
      ...['id', 'func_id', 'arg', 'uniqkey', 'enqueue_time', 'grabbed_until'],
      ...['run_after', 'retry_cnt', 'priority'],
    ],
    sql: `CREATE TABLE job (
    id              BIGSERIAL PRIMARY KEY,
    func_id         INT NOT NULL,
    arg             BYTEA,
    uniqkey         VARCHAR(255) NULL,
    enqueue_time    INTEGER,
    grabbed_until   INTEGER NOT NULL,
    run_after       INTEGER NOT NULL DEFAULT 0,
    retry_cnt       INTEGER NOT NULL DEFAULT 0,
    priority        INTEGER NOT NULL DEFAULT 0,
    UNIQUE (func_id, uniqkey)
)`,
  },
  exception_log: {
    columns: ['id', 'func_id', 'exception_time', 'message', 'uniqkey', 'arg', 'retried'],
    sql: `CREATE TABLE exception_log (
    id              BIGSERIAL PRIMARY KEY,
    func_id         INTEGER NOT NULL DEFAULT 0,
    exception_time  INTEGER NOT NULL,
    message         BYTEA,
    uniqkey         VARCHAR(255) NULL,
    arg             BYTEA,
    retried         SMALLINT NOT NULL DEFAULT 0
)`,
  },
  job_status: {
    columns: ['id', 'func_id', 'arg', 'uniqkey', 'status', 'job_start_time', 'job_end_time'],
    sql: `CREATE TABLE job_status (
    id              BIGSERIAL PRIMARY KEY,
    func_id         INTEGER NOT NULL DEFAULT 0,
    arg             BYTEA,
    uniqkey         VARCHAR(255) NULL,
    status          VARCHAR(10),
    job_start_time  INTEGER NOT NULL,
    job_end_time    INTEGER NOT NULL
)`,
  },
}

const OWN_TABLES: Record<string, string> = {
  jobq_death: `CREATE TABLE jobq_death (
    id      BIGSERIAL PRIMARY KEY,
    job_id  BIGINT NOT NULL,
    died_at INTEGER NOT NULL,
    how     TEXT NOT NULL
)`,
  jobq_attempt: `CREATE TABLE jobq_attempt (
    id           BIGSERIAL PRIMARY KEY,
    job_id       BIGINT NOT NULL,
    func_id      INTEGER NOT NULL,
    outcome      VARCHAR(10) NOT NULL,
    is_last      BOOLEAN NOT NULL,
    started_at   INTEGER,
    ended_at     INTEGER NOT NULL,
    host         VARCHAR(255),
    pid          INTEGER,
    exception_id BIGINT,
    status_id    BIGINT,
    retried_as   BIGINT
)`,
  jobq_output: `CREATE TABLE jobq_output (
    id         BIGSERIAL PRIMARY KEY,
    job_id     BIGINT NOT NULL,
    attempt_id BIGINT,
    is_cut     BOOLEAN NOT NULL,
    output     BYTEA NOT NULL
)`,
  jobq_order: `CREATE TABLE jobq_order (
    job_id     BIGINT NOT NULL,
    what       VARCHAR(10) NOT NULL,
    ordered_at INTEGER NOT NULL,
    heard_at   INTEGER,
    PRIMARY KEY (job_id, what)
)`,
  jobq_manager: `CREATE TABLE jobq_manager (
    id         BIGSERIAL PRIMARY KEY,
    host       VARCHAR(255) NOT NULL,
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    state      TEXT NOT NULL
)`,
  jobq_context: `CREATE TABLE jobq_context (
    job_id  BIGINT PRIMARY KEY,
    context TEXT NOT NULL
)`,
  jobq_wait: `CREATE TABLE jobq_wait (
    job_id   BIGINT PRIMARY KEY,
    outcome  VARCHAR(10),
    message  BYTEA,
    ended_at INTEGER
)`,
  jobq_after: `CREATE TABLE jobq_after (
    job_id    BIGINT NOT NULL,
    after_id  BIGINT NOT NULL,
    any_end   BOOLEAN NOT NULL,
    run_after INTEGER NOT NULL,
    outcome   VARCHAR(10),
    PRIMARY KEY (job_id, after_id)
)`,
  jobq_pause: 'CREATE TABLE jobq_pause (func VARCHAR(255) PRIMARY KEY)',
  jobq_schedule: `CREATE TABLE jobq_schedule (
    name      VARCHAR(255) PRIMARY KEY,
    cron      VARCHAR(255) NOT NULL,
    time_zone VARCHAR(255) NOT NULL,
    passed_to INTEGER NOT NULL,
    ran_at    INTEGER,
    job_id    BIGINT
)`,
  jobq_tag: `CREATE TABLE jobq_tag (
    job_id BIGINT NOT NULL,
    name   VARCHAR(255) NOT NULL,
    value  VARCHAR(255) NOT NULL,
    PRIMARY KEY (job_id, name)
)`,
  jobq_expiry: `CREATE TABLE jobq_expiry (
    job_id     BIGINT PRIMARY KEY,
    expires_at INTEGER NOT NULL
)`,
  jobq_key: `CREATE TABLE jobq_key (
    func_id     INTEGER NOT NULL,
    uniqkey     VARCHAR(255) NOT NULL,
    taken_until INTEGER NOT NULL,
    job_id      BIGINT NOT NULL,
    PRIMARY KEY (func_id, uniqkey)
)`,
  jobq_share: `CREATE TABLE jobq_share (
    job_id    BIGINT PRIMARY KEY,
    func_id   INTEGER NOT NULL,
    share_key VARCHAR(255) NOT NULL,
    is_parked BOOLEAN NOT NULL,
    waits_for VARCHAR(10),
    level     BIGINT NOT NULL,
    run_after INTEGER NOT NULL
)`,
  jobq_rate: `CREATE TABLE jobq_rate (
    func_id   INTEGER NOT NULL,
    share_key VARCHAR(255) NOT NULL,
    first_ms  BIGINT NOT NULL,
    last_ms   BIGINT NOT NULL,
    starts    BIGINT NOT NULL,
    PRIMARY KEY (func_id, share_key, first_ms)
)`,
  jobq_action: `CREATE TABLE jobq_action (
    id      BIGSERIAL PRIMARY KEY,
    done_at INTEGER NOT NULL,
    who     VARCHAR(255) NOT NULL,
    what    VARCHAR(255) NOT NULL,
    jobs    BIGINT NOT NULL
)`,
  jobq_batch: `CREATE TABLE jobq_batch (
    batch_id BIGINT NOT NULL,
    job_id   BIGINT NOT NULL,
    mark     VARCHAR(255),
    PRIMARY KEY (batch_id, job_id)
)`,
  jobq_progress: `CREATE TABLE jobq_progress (
    job_id   BIGINT PRIMARY KEY,
    fraction DOUBLE PRECISION NOT NULL,
    note     VARCHAR(255) NOT NULL,
    told_at  INTEGER NOT NULL
)`,
  jobq_result: `CREATE TABLE jobq_result (
    job_id     BIGINT PRIMARY KEY,
    func_id    INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    result     TEXT NOT NULL
)`,
  jobq_token: `CREATE TABLE jobq_token (
    token     VARCHAR(255) PRIMARY KEY,
    job_id    BIGINT,
    jobs      INTEGER NOT NULL,
    stored_at INTEGER NOT NULL
)`,
  jobq_schema: 'CREATE TABLE jobq_schema (version INTEGER NOT NULL)',
}

/** Qudo's two, and what jobq's lane walk, counts and run times read. */
const INDEXES: Record<string, string> = {
  exception_log_func_id: 'exception_log (func_id)',
  exception_log_exception_time: 'exception_log (exception_time)',
  jobq_lane: 'job (func_id, grabbed_until, priority, run_after, id)',
  jobq_failed: 'exception_log (func_id, retried)',
  jobq_ended: 'job_status (func_id, status, job_end_time, job_start_time)',
  jobq_death_job: 'jobq_death (job_id)',
  jobq_attempt_job: 'jobq_attempt (job_id)',
  jobq_attempt_exception: 'jobq_attempt (exception_id)',
  jobq_attempt_status: 'jobq_attempt (status_id)',
  jobq_attempt_tried: 'jobq_attempt (func_id, is_last, exception_id, job_id)',
  jobq_output_job: 'jobq_output (job_id)',
  jobq_after_after: 'jobq_after (after_id)',
  jobq_after_outcome: 'jobq_after (outcome)',
  jobq_tag_value: 'jobq_tag (name, value, job_id)',
  jobq_expiry_at: 'jobq_expiry (expires_at)',
  jobq_key_until: 'jobq_key (taken_until)',
  jobq_share_parked: 'jobq_share (func_id, share_key, is_parked, level, run_after, job_id)',
  jobq_batch_mark: 'jobq_batch (mark)',
  jobq_result_until: 'jobq_result (kept_until)',
  jobq_rate_last: 'jobq_rate (func_id, last_ms)',
  jobq_token_stored: 'jobq_token (stored_at)',
}

/** A statement of the schema, and what it makes (`table job`), if it makes something. */
export interface SchemaStep {
  sql: string
  makes: string | null
  /** An index on a table that is in use: outside a transaction, so that Qudo goes on meanwhile. */
  isConcurrent?: true
}

/** What there is in the schema, by name. */
export interface Present {
  schema: string | null
  version: number | null
  /** Columns by table, of what goes by one of our names. */
  tables: Record<string, string[]>
  indexes: string[]
  /** An index whose making was cut short: it is there, and of no use. */
  brokenIndexes: string[]
  functions: string[]
  triggers: string[]
}

/** Reads Present. */
export const PRESENT = `WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema()),
  rel AS (SELECT c.oid, c.relname, c.relkind FROM pg_class c JOIN here ON here.oid = c.relnamespace)
SELECT json_build_object(
  'schema', current_schema(),
  'tables', (SELECT coalesce(json_object_agg(rel.relname, (
      SELECT coalesce(json_agg(a.attname), '[]') FROM pg_attribute a
      WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped)), '{}')
    FROM rel WHERE rel.relkind IN ('r', 'p', 'v', 'm', 'f') AND rel.relname = ANY ($1::TEXT[])),
  'indexes', (SELECT coalesce(json_agg(rel.relname), '[]') FROM rel WHERE rel.relkind = 'i'),
  'brokenIndexes', (SELECT coalesce(json_agg(rel.relname), '[]')
    FROM rel JOIN pg_index i ON i.indexrelid = rel.oid WHERE NOT i.indisvalid),
  'functions', (SELECT coalesce(json_agg(p.proname), '[]')
    FROM pg_proc p JOIN here ON here.oid = p.pronamespace WHERE p.proname LIKE 'jobq\\_%'),
  'triggers', (SELECT coalesce(json_agg(t.tgname), '[]')
    FROM pg_trigger t JOIN rel ON rel.oid = t.tgrelid WHERE NOT t.tgisinternal)
) AS present`

export const TABLE_NAMES: readonly string[] = [...Object.keys(QUDO_TABLES), ...Object.keys(OWN_TABLES)]

/**
 * The statements that bring this database to jobq's schema, in order; empty if it is prepared. A step is told by what
 * it makes, and made where that is missing; the version is written last. So a plan is what is left to do, after an init
 * that was interrupted, too.
 * @throws StoreError FOREIGN if a table of Qudo's name is not Qudo's, or a newer jobq was here
 */
export function schemaPlan(present: Present, name: string): SchemaStep[] {
  const {schema, version, tables} = present
  if (schema === null)
    throw new StoreError('FOREIGN', `${name}: no schema of the search_path exists`, {
      hint: 'make one (CREATE SCHEMA), or set the search_path of this user',
    })
  if (version !== null && version > SCHEMA_VERSION)
    throw new StoreError(
      'FOREIGN',
      `${name} was made by a newer jobq: its schema has version ${version}, this one knows ${SCHEMA_VERSION}`,
      {hint: 'update jobq here'},
    )
  for (const [table, {columns}] of Object.entries(QUDO_TABLES)) {
    const missing = tables[table] && columns.filter(column => !tables[table]!.includes(column))
    if (!missing || missing.length === 0) continue
    throw new StoreError(
      'FOREIGN',
      `${name} is a database of something else: its table ${table} has no column ${missing.join(', ')}`,
      {hint: 'jobq needs those table names for itself: give it a database, or a schema, of its own'},
    )
  }
  const isOld = version !== SCHEMA_VERSION
  const steps: SchemaStep[] = []
  for (const [table, {sql}] of Object.entries(QUDO_TABLES))
    if (!tables[table]) steps.push({sql, makes: `table ${table}`})
  for (const [table, sql] of Object.entries(OWN_TABLES))
    if (!tables[table]) steps.push({sql, makes: `table ${table}`})
  for (const [name, sql] of Object.entries(FUNCTIONS))
    if (isOld || !present.functions.includes(name)) steps.push({sql, makes: `function ${name}`})
  for (const [name, {sql}] of Object.entries(TRIGGERS))
    if (!present.triggers.includes(name)) steps.push({sql, makes: `trigger ${name}`})
  for (const [index, on] of Object.entries(INDEXES)) steps.push(...indexSteps(index, on, present))
  if (isOld) {
    steps.push({sql: 'DELETE FROM jobq_schema', makes: null})
    steps.push({sql: `INSERT INTO jobq_schema (version) VALUES (${SCHEMA_VERSION})`, makes: null})
  }
  return steps
}

function indexSteps(index: string, on: string, {tables, indexes, brokenIndexes}: Present): SchemaStep[] {
  const isBroken = brokenIndexes.includes(index)
  if (indexes.includes(index) && !isBroken) return []
  const makes = `index ${index}`
  if (!tables[on.split(' ', 1)[0]!]) return [{sql: `CREATE INDEX ${index} ON ${on}`, makes}]
  const made: SchemaStep = {sql: `CREATE INDEX CONCURRENTLY ${index} ON ${on}`, makes, isConcurrent: true}
  return isBroken
    ? [{sql: `DROP INDEX CONCURRENTLY ${index}`, makes: null, isConcurrent: true}, made]
    : [made]
}
