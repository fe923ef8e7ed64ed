/** The schema on SQLite: Qudo's four tables to the letter, jobq's indexes on them, and jobq's own tables. */
import {StoreError} from '../../jobs/errors.ts'
import {SCHEMA_VERSION, type SqliteConnection} from './connection.ts'

const QUDO_TABLES: Record<string, {columns: readonly string[]; sql: string}> = {
  func: {
    columns: ['id', 'name'],
    sql: `CREATE TABLE func (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       VARCHAR(255) NOT NULL,
    UNIQUE(name)
)`,
  },
  job: {
    columns: [
      'id',
      'func_id',
      'arg',
      'uniqkey',
      'enqueue_time',
      'grabbed_until',
      'run_after',
      'retry_cnt',
      'priority',
    ],
    sql: `CREATE TABLE job (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    func_id         INTEGER UNSIGNED NOT NULL,
    arg             MEDIUMBLOB,
    uniqkey         VARCHAR(255) NULL,
    enqueue_time    INTEGER UNSIGNED,
    grabbed_until   INTEGER UNSIGNED NOT NULL,
    run_after       INTEGER UNSIGNED NOT NULL DEFAULT 0,
    retry_cnt       INTEGER UNSIGNED NOT NULL DEFAULT 0,
    priority        INTEGER UNSIGNED NOT NULL DEFAULT 0,
    UNIQUE(func_id,uniqkey)
)`,
  },
  exception_log: {
    columns: ['id', 'func_id', 'exception_time', 'message', 'uniqkey', 'arg', 'retried'],
    sql: `CREATE TABLE exception_log (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    func_id         INTEGER UNSIGNED NOT NULL DEFAULT 0,
    exception_time  INTEGER UNSIGNED NOT NULL,
    message         MEDIUMBLOB NOT NULL,
    uniqkey         VARCHAR(255) NULL,
    arg             MEDIUMBLOB,
    retried         TINYINT(1) NOT NULL DEFAULT 0
)`,
  },
  job_status: {
    columns: ['id', 'func_id', 'arg', 'uniqkey', 'status', 'job_start_time', 'job_end_time'],
    sql: `CREATE TABLE job_status (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    func_id         INTEGER UNSIGNED NOT NULL DEFAULT 0,
    arg             MEDIUMBLOB,
    uniqkey         VARCHAR(255) NULL,
    status          VARCHAR(10),
    job_start_time  INTEGER UNSIGNED NOT NULL,
    job_end_time    INTEGER UNSIGNED NOT NULL
)`,
  },
}

/** jobq's own: what the lane walk, the counts and the run times read. */
const OWN: readonly string[] = [
  'CREATE INDEX IF NOT EXISTS jobq_lane ON job (func_id, grabbed_until, priority, run_after, id)',
  'CREATE INDEX IF NOT EXISTS jobq_failed ON exception_log (func_id, retried)',
  'CREATE INDEX IF NOT EXISTS jobq_ended ON job_status (func_id, status, job_end_time, job_start_time)',
  `CREATE TABLE IF NOT EXISTS jobq_death (
    id      INTEGER PRIMARY KEY,
    job_id  INTEGER NOT NULL,
    died_at INTEGER NOT NULL,
    how     TEXT NOT NULL
)`,
  'CREATE INDEX IF NOT EXISTS jobq_death_job ON jobq_death (job_id)',
  `CREATE TABLE IF NOT EXISTS jobq_pause (func VARCHAR(255) PRIMARY KEY)`,
  `CREATE TABLE IF NOT EXISTS jobq_context (
    job_id  INTEGER PRIMARY KEY,
    context TEXT NOT NULL
)`,
  `CREATE TABLE IF NOT EXISTS jobq_wait (
    job_id   INTEGER PRIMARY KEY,
    outcome  TEXT,
    message  TEXT NOT NULL DEFAULT '',
    ended_at INTEGER
)`,
  `CREATE TABLE IF NOT EXISTS jobq_attempt (
    id           INTEGER PRIMARY KEY,
    job_id       INTEGER NOT NULL,
    func_id      INTEGER NOT NULL,
    outcome      VARCHAR(10) NOT NULL,
    is_last      TINYINT(1) NOT NULL,
    started_at   INTEGER,
    ended_at     INTEGER NOT NULL,
    host         VARCHAR(255),
    pid          INTEGER,
    exception_id INTEGER,
    status_id    INTEGER,
    retried_as   INTEGER
)`,
  'CREATE INDEX IF NOT EXISTS jobq_attempt_job ON jobq_attempt (job_id)',
  'CREATE INDEX IF NOT EXISTS jobq_attempt_exception ON jobq_attempt (exception_id)',
  'CREATE INDEX IF NOT EXISTS jobq_attempt_status ON jobq_attempt (status_id)',
  'CREATE INDEX IF NOT EXISTS jobq_attempt_tried ON jobq_attempt (func_id, is_last, exception_id, job_id)',
  `CREATE TABLE IF NOT EXISTS jobq_output (
    id         INTEGER PRIMARY KEY,
    job_id     INTEGER NOT NULL,
    attempt_id INTEGER,
    is_cut     TINYINT(1) NOT NULL,
    output     MEDIUMBLOB NOT NULL
)`,
  'CREATE INDEX IF NOT EXISTS jobq_output_job ON jobq_output (job_id)',
  `CREATE TABLE IF NOT EXISTS jobq_order (
    job_id     INTEGER NOT NULL,
    what       VARCHAR(10) NOT NULL,
    ordered_at INTEGER NOT NULL,
    heard_at   INTEGER,
    PRIMARY KEY (job_id, what)
)`,
  `CREATE TABLE IF NOT EXISTS jobq_manager (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    host       VARCHAR(255) NOT NULL,
    pid        INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    state      MEDIUMTEXT NOT NULL
)`,
  `CREATE TABLE IF NOT EXISTS jobq_after (
    job_id    INTEGER NOT NULL,
    after_id  INTEGER NOT NULL,
    any_end   TINYINT(1) NOT NULL,
    run_after INTEGER NOT NULL,
    outcome   VARCHAR(10),
    PRIMARY KEY (job_id, after_id)
)`,
  'CREATE INDEX IF NOT EXISTS jobq_after_after ON jobq_after (after_id)',
  'CREATE INDEX IF NOT EXISTS jobq_after_outcome ON jobq_after (outcome)',
  `CREATE TABLE IF NOT EXISTS jobq_schedule (
    name      VARCHAR(255) PRIMARY KEY,
    cron      VARCHAR(255) NOT NULL,
    time_zone VARCHAR(255) NOT NULL,
    passed_to INTEGER NOT NULL,
    ran_at    INTEGER,
    job_id    INTEGER
)`,
  `CREATE TABLE IF NOT EXISTS jobq_tag (
    job_id INTEGER NOT NULL,
    name   VARCHAR(255) NOT NULL,
    value  VARCHAR(255) NOT NULL,
    PRIMARY KEY (job_id, name)
)`,
  'CREATE INDEX IF NOT EXISTS jobq_tag_value ON jobq_tag (name, value, job_id)',
  `CREATE TABLE IF NOT EXISTS jobq_expiry (
    job_id     INTEGER PRIMARY KEY,
    expires_at INTEGER NOT NULL
)`,
  'CREATE INDEX IF NOT EXISTS jobq_expiry_at ON jobq_expiry (expires_at)',
  `CREATE TABLE IF NOT EXISTS jobq_key (
    func_id     INTEGER NOT NULL,
    uniqkey     VARCHAR(255) NOT NULL,
    taken_until INTEGER NOT NULL,
    job_id      INTEGER NOT NULL,
    PRIMARY KEY (func_id, uniqkey)
)`,
  'CREATE INDEX IF NOT EXISTS jobq_key_until ON jobq_key (taken_until)',
  `CREATE TABLE IF NOT EXISTS jobq_share (
    job_id    INTEGER PRIMARY KEY,
    func_id   INTEGER NOT NULL,
    share_key VARCHAR(255) NOT NULL,
    is_parked TINYINT(1) NOT NULL,
    waits_for VARCHAR(10),
    level     INTEGER NOT NULL,
    run_after INTEGER NOT NULL
)`,
  `CREATE INDEX IF NOT EXISTS jobq_share_parked
    ON jobq_share (func_id, share_key, is_parked, level, run_after, job_id)`,
  `CREATE TABLE IF NOT EXISTS jobq_rate (
    func_id   INTEGER NOT NULL,
    share_key VARCHAR(255) NOT NULL,
    first_ms  INTEGER NOT NULL,
    last_ms   INTEGER NOT NULL,
    starts    INTEGER NOT NULL,
    PRIMARY KEY (func_id, share_key, first_ms)
)`,
  'CREATE INDEX IF NOT EXISTS jobq_rate_last ON jobq_rate (func_id, last_ms)',
  `CREATE TABLE IF NOT EXISTS jobq_action (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    done_at INTEGER NOT NULL,
    who     VARCHAR(255) NOT NULL,
    what    VARCHAR(255) NOT NULL,
    jobs    INTEGER NOT NULL
)`,
  `CREATE TABLE IF NOT EXISTS jobq_batch (
    batch_id INTEGER NOT NULL,
    job_id   INTEGER NOT NULL,
    mark     VARCHAR(255),
    PRIMARY KEY (batch_id, job_id)
)`,
  'CREATE INDEX IF NOT EXISTS jobq_batch_mark ON jobq_batch (mark)',
  `CREATE TABLE IF NOT EXISTS jobq_progress (
    job_id   INTEGER PRIMARY KEY,
    fraction REAL NOT NULL,
    note     TEXT NOT NULL,
    told_at  INTEGER NOT NULL
)`,
  `CREATE TABLE IF NOT EXISTS jobq_result (
    job_id     INTEGER PRIMARY KEY,
    func_id    INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    result     TEXT NOT NULL
)`,
  'CREATE INDEX IF NOT EXISTS jobq_result_until ON jobq_result (kept_until)',
  `CREATE TABLE IF NOT EXISTS jobq_token (
    token     VARCHAR(255) PRIMARY KEY,
    job_id    INTEGER,
    jobs      INTEGER NOT NULL,
    stored_at INTEGER NOT NULL
)`,
  'CREATE INDEX IF NOT EXISTS jobq_token_stored ON jobq_token (stored_at)',
  'CREATE TABLE IF NOT EXISTS jobq_schema (version INTEGER NOT NULL)',
]
const SET_VERSION = `INSERT INTO jobq_schema (version) VALUES (${SCHEMA_VERSION})`
/**
 * Version 2 adds jobq_context and jobq_wait to version 1, version 3 jobq_attempt, jobq_output, jobq_order and
 * jobq_manager, version 4 jobq_after, version 5 jobq_schedule, version 6 jobq_tag, jobq_expiry, jobq_key, jobq_share,
 * jobq_rate and jobq_action, version 7 jobq_result, jobq_progress, jobq_batch and jobq_token. A process that still runs an
 * older jobq goes on beside it: it leaves rows in them that are swept later,
 * who waits for a job that it worked hears that it is gone, and its attempts are those of nobody knows which job.
 */
const RAISE_VERSION = `UPDATE jobq_schema SET version = ${SCHEMA_VERSION}`

/** Makes the schema where it is missing, by several processes at once too. @throws StoreError */
export async function makeSchema(link: SqliteConnection, adopt: boolean): Promise<void> {
  await link
    .patiently(() => {
      const plan = schemaPlan(link, adopt) // refuses before anything is changed
      if (plan.length === 0 || link.db.readonly) return
      if (link.schemaVersion() === undefined) link.db.pragma('journal_mode = WAL')
      link.transact(() => {
        for (const sql of schemaPlan(link, adopt)) link.db.exec(sql)
      })
    })
    .catch(error => {
      // A file that may only be read can still be listed, without jobq's indexes.
      if (!(error instanceof StoreError && error.code === 'READ_ONLY' && hasQudoTables(link))) throw error
    })
}

/** As makeSchema, but looks for every table and index, also in a database of something else. @returns what was made */
export function completeSchema(link: SqliteConnection): Promise<SchemaStep[]> {
  return link.patiently(() => {
    if (initPlan(link).length === 0) return []
    link.db.pragma('journal_mode = WAL')
    return link.transact(() => {
      const steps = initPlan(link)
      for (const {sql} of steps) link.db.exec(sql)
      return steps
    })
  })
}

/**
 * The statements that bring this database to jobq's schema, in order; empty if it is prepared. A database without a row
 * in jobq_schema, the version, is new, made by Qudo, or something else.
 * @param adopt also where the database is something else's and has none of Qudo's tables
 * @throws StoreError FOREIGN if a table of Qudo's name is not Qudo's, or without `adopt` none of them is there, or a
 * newer jobq was here
 */
function schemaPlan(link: SqliteConnection, adopt: boolean): string[] {
  const {db, name} = link
  const version = link.schemaVersion()
  if (version === SCHEMA_VERSION) return []
  if (version !== undefined && version > SCHEMA_VERSION)
    throw new StoreError(
      'FOREIGN',
      `${name} was made by a newer jobq: its schema has version ${version}, this one knows ${SCHEMA_VERSION}`,
      {hint: 'update jobq here'},
    )
  const tables = db
    .prepare(
      `SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'`,
    )
    .pluck()
    .all() as string[]
  const present = Object.keys(QUDO_TABLES).filter(table => tables.includes(table))
  for (const table of present) checkColumns(link, table)
  const others = tables.filter(table => !(table in QUDO_TABLES) && !table.startsWith('jobq_'))
  if (present.length === 0 && others.length > 0 && !adopt)
    throw new StoreError(
      'FOREIGN',
      `${name} is a database of something else: expected Qudo's tables, got ${others.slice(0, 3).join(', ')}`,
      {hint: `check --db; \`jobq init --db ${name}\` adds a job queue to it`},
    )
  const missing = Object.entries(QUDO_TABLES).filter(([table]) => !present.includes(table))
  return [...missing.map(([, {sql}]) => sql), ...OWN, version === undefined ? SET_VERSION : RAISE_VERSION]
}

/** A statement of the schema, and the table or index that it makes (`table job`), if it makes one. */
export interface SchemaStep {
  sql: string
  makes: string | null
}

/**
 * As schemaPlan, for `jobq init`: what is missing and no more, down to an index that someone has dropped, and also in a
 * database of something else.
 */
export function initPlan(link: SqliteConnection): SchemaStep[] {
  const plan = schemaPlan(link, true)
  const present = link.db.prepare('SELECT name FROM sqlite_master').pluck().all() as string[]
  return (plan.length > 0 ? plan : OWN).flatMap(sql => {
    const [, kind, object = ''] = /^CREATE (TABLE|INDEX) (?:IF NOT EXISTS )?(\w+)/.exec(sql) ?? []
    if (kind === undefined) return {sql, makes: null}
    return present.includes(object) ? [] : {sql, makes: `${kind.toLowerCase()} ${object}`}
  })
}

function checkColumns({db, name}: SqliteConnection, table: string): void {
  const columns = db.prepare('SELECT name FROM pragma_table_info(?)').pluck().all(table) as string[]
  const missing = QUDO_TABLES[table]!.columns.filter(column => !columns.includes(column))
  if (missing.length === 0) return
  throw new StoreError(
    'FOREIGN',
    `${name} is a database of something else: its table ${table} has no column ${missing.join(', ')}`,
    {hint: 'check --db; jobq needs those table names for itself, so give it a file of its own'},
  )
}

function hasQudoTables({db}: SqliteConnection): boolean {
  const sql = `SELECT count(*) FROM sqlite_master WHERE name IN ('func', 'job', 'exception_log', 'job_status')`
  return db.prepare(sql).pluck().get() === 4
}
