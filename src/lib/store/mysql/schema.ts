/** The schema on MySQL and MariaDB: Qudo's four tables to the letter, jobq's index on them, and jobq's own tables. */
import {StoreError} from '../../jobs/errors.ts'
import {BUILD_MS} from '../shared/silence.ts'
import {AFTER_PROCEDURE, CREATE_AFTER, CREATE_FAIL, FAIL_PROCEDURE} from './after.ts'
import {type MysqlConnection, textOf} from './connections/connection.ts'
import {isDenied} from './errors.ts'
import {createProcedure, PROCEDURE} from './procedure.ts'
import {CREATE_END, END_PROCEDURE} from './settle.ts'

/**
 * 2: jobq_context and jobq_wait. 3: jobq_attempt, jobq_output, jobq_order, jobq_manager. 4: jobq_after. 5: jobq_schedule.
 * 6: jobq_tag, jobq_expiry, jobq_key, jobq_share, jobq_rate, jobq_action. 7: jobq_result, jobq_progress, jobq_batch, jobq_token.
 */
export const SCHEMA_VERSION = 7

/**
 * Tables that jobq makes compare names byte by byte (blanks at the end don't count). Tables that Perl made keep the
 * character set and collation they have: where that knows no case, `a` and `A` are one function or one key, for Perl
 * and jobq alike.
 */
const TAIL = 'ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'
/** While Qudo goes on working on them. */
const ONLINE = 'ALGORITHM=INPLACE LOCK=NONE'
/** How long another init is waited for, in seconds. */
const INIT_SECONDS = 300

const QUDO_TABLES: Record<string, {columns: readonly string[]; sql: string}> = {
  func: {
    columns: ['id', 'name'],
    sql: `CREATE TABLE func (
    id         INT UNSIGNED NOT NULL AUTO_INCREMENT,
    name       VARCHAR(255) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY name (name)
) ${TAIL}`,
  },
  job: {
    columns: [
      ...['id', 'func_id', 'arg', 'uniqkey', 'enqueue_time', 'grabbed_until'],
      ...['run_after', 'retry_cnt', 'priority'],
    ],
    sql: `CREATE TABLE job (
    id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    func_id         INT UNSIGNED NOT NULL,
    arg             MEDIUMBLOB,
    uniqkey         VARCHAR(255) NULL,
    enqueue_time    INTEGER UNSIGNED,
    grabbed_until   INTEGER UNSIGNED NOT NULL,
    run_after       INTEGER UNSIGNED NOT NULL DEFAULT 0,
    retry_cnt       INTEGER UNSIGNED NOT NULL DEFAULT 0,
    priority        INTEGER UNSIGNED NOT NULL DEFAULT 0,
    PRIMARY KEY (id),
    UNIQUE KEY func_id (func_id, uniqkey),
    KEY priority (priority)
) ${TAIL}`,
  },
  exception_log: {
    columns: ['id', 'func_id', 'exception_time', 'message', 'uniqkey', 'arg', 'retried'],
    sql: `CREATE TABLE exception_log (
    id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    func_id         INT UNSIGNED NOT NULL DEFAULT 0,
    exception_time  INTEGER UNSIGNED NOT NULL,
    message         MEDIUMBLOB NOT NULL,
    uniqkey         VARCHAR(255) NULL,
    arg             MEDIUMBLOB,
    retried         TINYINT(1) NOT NULL DEFAULT 0,
    PRIMARY KEY (id),
    KEY func_id (func_id),
    KEY exception_time (exception_time)
) ${TAIL}`,
  },
  job_status: {
    columns: ['id', 'func_id', 'arg', 'uniqkey', 'status', 'job_start_time', 'job_end_time'],
    sql: `CREATE TABLE job_status (
    id              BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    func_id         INT UNSIGNED NOT NULL DEFAULT 0,
    arg             MEDIUMBLOB NOT NULL,
    uniqkey         VARCHAR(255) NULL,
    status          VARCHAR(10),
    job_start_time  INTEGER UNSIGNED NOT NULL,
    job_end_time    INTEGER UNSIGNED NOT NULL,
    PRIMARY KEY (id)
) ${TAIL}`,
  },
}

/** jobq's own: what the lane walk, the counts and the run times read. */
const INDEXES: readonly {table: string; name: string; columns: string}[] = [
  {table: 'job', name: 'jobq_lane', columns: 'func_id, grabbed_until, priority, run_after, id'},
  {table: 'exception_log', name: 'jobq_failed', columns: 'func_id, retried'},
  {table: 'job_status', name: 'jobq_ended', columns: 'func_id, status, job_end_time, job_start_time'},
]

const OWN_TABLES: Record<string, string> = {
  jobq_action: `CREATE TABLE jobq_action (
    id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    done_at INTEGER UNSIGNED NOT NULL,
    who     VARCHAR(255) NOT NULL,
    what    VARCHAR(255) NOT NULL,
    jobs    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (id)
) ${TAIL}`,
  jobq_after: `CREATE TABLE jobq_after (
    job_id    BIGINT UNSIGNED NOT NULL,
    after_id  BIGINT UNSIGNED NOT NULL,
    any_end   TINYINT(1) NOT NULL,
    run_after INTEGER UNSIGNED NOT NULL,
    outcome   VARCHAR(10) NULL,
    PRIMARY KEY (job_id, after_id),
    KEY after_id (after_id),
    KEY outcome (outcome)
) ${TAIL}`,
  jobq_attempt: `CREATE TABLE jobq_attempt (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    job_id       BIGINT UNSIGNED NOT NULL,
    func_id      INT UNSIGNED NOT NULL,
    outcome      VARCHAR(10) NOT NULL,
    is_last      TINYINT(1) NOT NULL,
    started_at   INTEGER UNSIGNED NULL,
    ended_at     INTEGER UNSIGNED NOT NULL,
    host         VARCHAR(255) NULL,
    pid          INTEGER UNSIGNED NULL,
    exception_id BIGINT UNSIGNED NULL,
    status_id    BIGINT UNSIGNED NULL,
    retried_as   BIGINT UNSIGNED NULL,
    PRIMARY KEY (id),
    KEY job_id (job_id),
    KEY exception_id (exception_id),
    KEY status_id (status_id),
    KEY tried (func_id, is_last, exception_id, job_id)
) ${TAIL}`,
  jobq_batch: `CREATE TABLE jobq_batch (
    batch_id BIGINT UNSIGNED NOT NULL,
    job_id   BIGINT UNSIGNED NOT NULL,
    mark     VARCHAR(255) NULL,
    PRIMARY KEY (batch_id, job_id),
    KEY mark (mark)
) ${TAIL}`,
  jobq_context: `CREATE TABLE jobq_context (
    job_id  BIGINT UNSIGNED NOT NULL,
    context MEDIUMTEXT NOT NULL,
    PRIMARY KEY (job_id)
) ${TAIL}`,
  jobq_death: `CREATE TABLE jobq_death (
    id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    job_id  BIGINT UNSIGNED NOT NULL,
    died_at INTEGER UNSIGNED NOT NULL,
    how     MEDIUMTEXT NOT NULL,
    PRIMARY KEY (id),
    KEY job_id (job_id)
) ${TAIL}`,
  jobq_expiry: `CREATE TABLE jobq_expiry (
    job_id     BIGINT UNSIGNED NOT NULL,
    expires_at INTEGER UNSIGNED NOT NULL,
    PRIMARY KEY (job_id),
    KEY expires_at (expires_at)
) ${TAIL}`,
  jobq_key: `CREATE TABLE jobq_key (
    func_id     INT UNSIGNED NOT NULL,
    uniqkey     VARCHAR(255) NOT NULL,
    taken_until INTEGER UNSIGNED NOT NULL,
    job_id      BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (func_id, uniqkey),
    KEY taken_until (taken_until)
) ${TAIL}`,
  jobq_manager: `CREATE TABLE jobq_manager (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    host       VARCHAR(255) NOT NULL,
    pid        INTEGER UNSIGNED NOT NULL,
    started_at INTEGER UNSIGNED NOT NULL,
    seen_at    INTEGER UNSIGNED NOT NULL,
    state      MEDIUMTEXT NOT NULL,
    PRIMARY KEY (id)
) ${TAIL}`,
  jobq_order: `CREATE TABLE jobq_order (
    job_id     BIGINT UNSIGNED NOT NULL,
    what       VARCHAR(10) NOT NULL,
    ordered_at INTEGER UNSIGNED NOT NULL,
    heard_at   INTEGER UNSIGNED NULL,
    PRIMARY KEY (job_id, what)
) ${TAIL}`,
  jobq_output: `CREATE TABLE jobq_output (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    job_id     BIGINT UNSIGNED NOT NULL,
    attempt_id BIGINT UNSIGNED NULL,
    is_cut     TINYINT(1) NOT NULL,
    output     MEDIUMBLOB NOT NULL,
    PRIMARY KEY (id),
    KEY job_id (job_id)
) ${TAIL}`,
  jobq_pause: `CREATE TABLE jobq_pause (
    func    VARCHAR(255) NOT NULL,
    PRIMARY KEY (func)
) ${TAIL}`,
  jobq_rate: `CREATE TABLE jobq_rate (
    func_id   INT UNSIGNED NOT NULL,
    share_key VARCHAR(255) NOT NULL,
    first_ms  BIGINT NOT NULL,
    last_ms   BIGINT NOT NULL,
    starts    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (func_id, share_key, first_ms),
    KEY last_ms (func_id, last_ms)
) ${TAIL}`,
  jobq_progress: `CREATE TABLE jobq_progress (
    job_id   BIGINT UNSIGNED NOT NULL,
    fraction DOUBLE NOT NULL,
    note     VARCHAR(255) NOT NULL,
    told_at  INTEGER UNSIGNED NOT NULL,
    PRIMARY KEY (job_id)
) ${TAIL}`,
  jobq_result: `CREATE TABLE jobq_result (
    job_id     BIGINT UNSIGNED NOT NULL,
    func_id    INT UNSIGNED NOT NULL,
    kept_until INTEGER UNSIGNED NOT NULL,
    result     MEDIUMTEXT NOT NULL,
    PRIMARY KEY (job_id),
    KEY kept_until (kept_until)
) ${TAIL}`,
  jobq_schedule: `CREATE TABLE jobq_schedule (
    name      VARCHAR(255) NOT NULL,
    cron      VARCHAR(255) NOT NULL,
    time_zone VARCHAR(255) NOT NULL,
    passed_to INTEGER UNSIGNED NOT NULL,
    ran_at    INTEGER UNSIGNED NULL,
    job_id    BIGINT UNSIGNED NULL,
    PRIMARY KEY (name)
) ${TAIL}`,
  jobq_schema: `CREATE TABLE jobq_schema (
    version INTEGER UNSIGNED NOT NULL
) ${TAIL}`,
  jobq_share: `CREATE TABLE jobq_share (
    job_id    BIGINT UNSIGNED NOT NULL,
    func_id   INT UNSIGNED NOT NULL,
    share_key VARCHAR(255) NOT NULL,
    is_parked TINYINT(1) NOT NULL,
    waits_for VARCHAR(10) NULL,
    level     BIGINT NOT NULL,
    run_after INTEGER UNSIGNED NOT NULL,
    PRIMARY KEY (job_id),
    KEY parked (func_id, share_key, is_parked, level, run_after, job_id)
) ${TAIL}`,
  jobq_tag: `CREATE TABLE jobq_tag (
    job_id BIGINT UNSIGNED NOT NULL,
    name   VARCHAR(255) NOT NULL,
    value  VARCHAR(255) NOT NULL,
    PRIMARY KEY (job_id, name),
    KEY value (name, value, job_id)
) ${TAIL}`,
  // Bytes: as text, blanks at the end would not count
  jobq_token: `CREATE TABLE jobq_token (
    token     VARBINARY(1020) NOT NULL,
    job_id    BIGINT UNSIGNED NULL,
    jobs      INTEGER UNSIGNED NOT NULL,
    stored_at INTEGER UNSIGNED NOT NULL,
    PRIMARY KEY (token),
    KEY stored_at (stored_at)
) ${TAIL}`,
  jobq_wait: `CREATE TABLE jobq_wait (
    job_id   BIGINT UNSIGNED NOT NULL,
    outcome  VARCHAR(10) NULL,
    message  MEDIUMTEXT NULL,
    ended_at INTEGER UNSIGNED NULL,
    PRIMARY KEY (job_id)
) ${TAIL}`,
}

/** A statement of the schema, and the tables and indexes that it makes, such as `table job`. */
export interface SchemaStep {
  sql: string
  makes: string[]
}

/**
 * Makes what is missing. Statements outside a transaction, since DDL ends one: a lock by name keeps others out, and
 * each step asks whether it is still to be done.
 * @returns what was made
 */
export async function prepareSchema(link: MysqlConnection, name: string): Promise<SchemaStep[]> {
  const lock = `CONCAT('jobq init ', LEFT(MD5(DATABASE()), 16))`
  const made: SchemaStep[] = []
  const [got] = await link.batch(
    [`SELECT GET_LOCK(${lock}, ${INIT_SECONDS}) AS got`],
    (INIT_SECONDS + 10) * 1000,
  )
  if (Number(got!.rows[0]!.got) !== 1)
    throw new StoreError('LOCKED', `another \`jobq init\` has been at ${name} for ${INIT_SECONDS} s`, {
      hint: 'wait until it is done, then run it again',
    })
  try {
    for (const step of await schemaPlan(link, name)) {
      await run(link, step.sql).catch(error => {
        if (!isDenied(error) || !step.sql.startsWith('CREATE PROCEDURE')) throw error
        throw new StoreError('DATABASE', `${name}: may not make the ${step.makes} (${error.message})`, {
          hint: 'GRANT CREATE ROUTINE on this database to who runs `jobq init`, and run it again',
          cause: error,
        })
      })
      made.push(step)
    }
    return made
  } finally {
    if (!link.isDead) await link.run(`DO RELEASE_LOCK(${lock})`)
  }
}

/**
 * What is missing, in order.
 * @throws StoreError FOREIGN if a table of Qudo's name is not Qudo's, or a newer jobq was here; DATABASE if the server
 * or a table's engine can't do what jobq needs
 */
export async function schemaPlan(link: MysqlConnection, name: string): Promise<SchemaStep[]> {
  if (link.tooOld !== '')
    throw new StoreError('DATABASE', `${name}: ${link.tooOld}`, {hint: 'jobq needs SELECT … SKIP LOCKED'})
  const [tables, columns, indexes, routines] = await link.batch([
    'SELECT table_name AS t, engine AS e FROM information_schema.tables WHERE table_schema = DATABASE()',
    'SELECT table_name AS t, column_name AS c FROM information_schema.columns WHERE table_schema = DATABASE()',
    'SELECT DISTINCT table_name AS t, index_name AS i FROM information_schema.statistics WHERE table_schema = DATABASE()',
    'SELECT routine_name AS r FROM information_schema.routines WHERE routine_schema = DATABASE()',
  ])
  const engines = new Map(tables!.rows.map(({t, e}) => [textOf(t), e === null ? '' : textOf(e)]))
  for (const [table, {columns: wanted}] of Object.entries(QUDO_TABLES)) {
    if (!engines.has(table)) continue
    const there = columns!.rows.filter(({t}) => textOf(t) === table).map(({c}) => textOf(c).toLowerCase())
    checkColumns(name, table, wanted, there)
  }
  checkEngines(name, engines)
  const version = engines.has('jobq_schema') ? await schemaVersion(link) : undefined
  if (version !== undefined && version > SCHEMA_VERSION)
    throw new StoreError(
      'FOREIGN',
      `${name} was made by a newer jobq: its schema has version ${version}, this one knows ${SCHEMA_VERSION}`,
      {hint: 'update jobq here'},
    )
  const present = new Set(indexes!.rows.map(({t, i}) => `${textOf(t)}.${textOf(i)}`))
  const steps: SchemaStep[] = []
  for (const [table, {sql}] of Object.entries(QUDO_TABLES))
    if (!engines.has(table)) steps.push(newTable(table, sql))
  for (const {table, name: index, columns} of INDEXES)
    if (engines.has(table) && !present.has(`${table}.${index}`))
      steps.push({sql: `CREATE INDEX ${index} ON ${table} (${columns}) ${ONLINE}`, makes: [`index ${index}`]})
  for (const [table, sql] of Object.entries(OWN_TABLES))
    if (!engines.has(table)) steps.push({sql, makes: [`table ${table}`]})
  const procedures = {
    [AFTER_PROCEDURE]: CREATE_AFTER,
    [FAIL_PROCEDURE]: CREATE_FAIL,
    [END_PROCEDURE]: CREATE_END,
    [PROCEDURE]: createProcedure(link),
  }
  for (const [procedure, sql] of Object.entries(procedures))
    if (!routines!.rows.some(({r}) => textOf(r) === procedure))
      steps.push({sql, makes: [`procedure ${procedure}`]})
  // A row for each version it has had: `jobq init` may INSERT, and need not be granted UPDATE
  if (version !== SCHEMA_VERSION)
    steps.push({sql: `INSERT INTO jobq_schema (version) VALUES (${SCHEMA_VERSION})`, makes: []})
  return steps
}

/** A table that is made now has jobq's index from the start. */
function newTable(table: string, sql: string): SchemaStep {
  const index = INDEXES.find(each => each.table === table)
  if (!index) return {sql, makes: [`table ${table}`]}
  const key = `,\n    KEY ${index.name} (${index.columns})\n) ENGINE`
  return {sql: sql.replace('\n) ENGINE', key), makes: [`table ${table}`, `index ${index.name}`]}
}

async function schemaVersion(link: MysqlConnection): Promise<number | undefined> {
  const {rows} = await link.run('SELECT MAX(version) AS version FROM jobq_schema')
  const version = rows[0]?.version
  return version === null || version === undefined ? undefined : Number(version)
}

function checkColumns(
  name: string,
  table: string,
  wanted: readonly string[],
  there: readonly string[],
): void {
  const missing = wanted.filter(column => !there.includes(column))
  if (missing.length === 0) return
  throw new StoreError(
    'FOREIGN',
    `${name} is a database of something else: its table ${table} has no column ${missing.join(', ')}`,
    {hint: 'jobq needs those table names for itself: give it a database of its own (CREATE DATABASE jobq)'},
  )
}

/** Without transactions a job that fails half way would be in two places, or in none. */
function checkEngines(name: string, engines: ReadonlyMap<string, string>): void {
  const wrong = Object.keys(QUDO_TABLES).filter(
    table => engines.has(table) && engines.get(table) !== 'InnoDB',
  )
  if (wrong.length === 0) return
  const which = wrong.map(table => `${table} (${engines.get(table) || 'a view'})`)
  throw new StoreError('DATABASE', `${name}: expected InnoDB tables, got ${which.join(', ')}`, {
    hint: `convert them while nothing works on them: ${wrong.map(table => `ALTER TABLE ${table} ENGINE=InnoDB;`).join(' ')}`,
  })
}

/** Some servers and some old tables can't add an index online: then with the table locked meanwhile. */
async function run(link: MysqlConnection, statement: string): Promise<void> {
  try {
    await link.batch([statement], BUILD_MS)
  } catch (error) {
    const {errno = 0} = error as {errno?: number}
    if ([1050, 1061, 1304].includes(errno)) return // another program was faster
    if (![1845, 1846].includes(errno)) throw error
    await link.batch([statement.replace(` ${ONLINE}`, '')], BUILD_MS)
  }
}
