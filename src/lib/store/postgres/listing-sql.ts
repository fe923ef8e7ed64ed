/** What listings and counts ask of PostgreSQL, by the index jobq_lane: lists are arrays, and many lanes are one statement. */

import type {JobRow} from '../../jobs/job.ts'
import {HEAD_BYTES} from '../../jobs/rows/history.ts'
import {ORDERS} from '../shared/lanes.ts'
import {LONELY, logColumn} from '../shared/prune.ts'
import {rowsOf} from '../shared/reads/reading.ts'
import {type Condition, type Key, LAST, type LogTable, type ReadsSql} from '../shared/reads/sql.ts'
import {NEVER} from './after.ts'
import {bigints, integers} from './arrays.ts'
import {NOW, type Statement, type Value} from './connections/connections.ts'

export interface Query {
  statement: Statement | string
  values: readonly Value[]
  /** Rows of so many lanes, each with its `nth`. */
  lanes?: number
}

/** An id that is not to be found in func is shown as it is: a row is never hidden. */
const FUNC_NAME = `coalesce(func.name, '#' || func_id) AS func`
const SELECT_JOBS = `SELECT job.id, func_id AS "funcId", ${FUNC_NAME}, arg, uniqkey, enqueue_time AS "enqueueTime",
  grabbed_until AS "grabbedUntil", run_after AS "runAfter", retry_cnt AS "retryCnt", priority
  FROM job LEFT JOIN func ON func.id = func_id`

/** By the index jobq_lane, whatever the planner thinks. */
const HAS_ID = `id + 0 <= ${LAST}`
/** $1 functions, $2 now. */
const besides = (conditions: readonly string[]) =>
  conditions
    .map(
      condition => `SELECT j.id, j.priority, j.run_after AS "runAfter" FROM unnest($1::INTEGER[]) AS f (func_id)
        CROSS JOIN LATERAL (SELECT id, priority, run_after FROM job
          WHERE func_id = f.func_id AND ${condition} AND ${HAS_ID}) j`,
    )
    .join(' UNION ALL ')
/** Leases that ran out, and times before all times, which another program may have written. */
const strays = (due: string) =>
  besides([`grabbed_until > 0 AND grabbed_until <= $2 AND ${due}`, `grabbed_until < 0 AND ${due}`])

const SECONDS = 'greatest(0, job_end_time - job_start_time)'
const OF_ENDS = `FROM job_status WHERE func_id = ANY ($1::INTEGER[]) AND status IN ('completed', 'failed', 'abort')`
/** $1 functions, $2 since when. */
const ended = (
  columns: string,
) => `SELECT func_id AS "funcId", ${columns} AS value, count(*) AS jobs ${OF_ENDS}
  AND job_end_time >= $2 GROUP BY 1, 2 ORDER BY 1, 2`

const LEFT =
  'jobq_attempt a LEFT JOIN exception_log e ON e.id = exception_id LEFT JOIN job_status s ON s.id = status_id'
const links = (column: string) => `SELECT a.${column} AS id, job_id AS "jobId", is_last AS "isLast",
    EXISTS (SELECT FROM job WHERE job.id = job_id) AS "isThere" FROM jobq_attempt a WHERE a.${column} = ANY ($1::BIGINT[])`
const LOGS = {
  exception_log: {
    columns: 'exception_time AS "exceptionTime", message, retried',
    bytes: 'coalesce(octet_length(arg), 0) + coalesce(octet_length(message), 0)',
  },
  job_status: {
    columns: 'status, job_start_time AS "jobStartTime", job_end_time AS "jobEndTime"',
    bytes: 'coalesce(octet_length(arg), 0)',
  },
}

/** $1 the tag's name, $2 and $3 behind which value and job, $4 how many. By its index, whatever the planner thinks. */
function tagged(behind: string, order: string): string {
  return `WITH t AS MATERIALIZED (SELECT job_id, value FROM jobq_tag WHERE name = $1::VARCHAR AND ${behind}
      ORDER BY ${order} LIMIT $4)
    SELECT t.job_id AS id, t.value, func_id AS "funcId", priority, run_after AS "runAfter", grabbed_until AS "grabbedUntil"
    FROM t LEFT JOIN LATERAL (SELECT * FROM job WHERE job.id = t.job_id) j ON TRUE`
}

function logIds(table: LogTable): string {
  const column = logColumn(table)
  return `SELECT ${column} AS id FROM jobq_attempt WHERE job_id = ANY ($1::BIGINT[]) AND ${column} IS NOT NULL`
}

/** Each is prepared once a connection, under this name. */
const TEXTS = {
  now: `SELECT ${NOW} AS now`,
  funcs: 'SELECT id, name FROM func ORDER BY name COLLATE "C"',
  named: 'SELECT id, name FROM func WHERE name = $1::VARCHAR',
  with_jobs: `WITH RECURSIVE has (id) AS (
      SELECT (SELECT func_id FROM job ORDER BY func_id LIMIT 1) UNION ALL
      SELECT (SELECT j.func_id FROM job j WHERE j.func_id > has.id ORDER BY j.func_id LIMIT 1) FROM has
      WHERE has.id IS NOT NULL)
    SELECT id FROM has WHERE id IS NOT NULL`,
  sizes: 'SELECT id, coalesce(octet_length(arg), 0) AS bytes FROM job WHERE id = ANY ($1::BIGINT[])',
  contexts: 'SELECT job_id AS id, context FROM jobq_context WHERE job_id = ANY ($1::BIGINT[])',
  parked: `SELECT job_id AS id, share_key AS key, waits_for AS "waitsFor", run_after AS "runAfter"
    FROM jobq_share WHERE job_id = ANY ($1::BIGINT[]) AND is_parked`,
  tags: 'SELECT job_id AS id, name, value FROM jobq_tag WHERE job_id = ANY ($1::BIGINT[])',
  expiries:
    'SELECT job_id AS id, expires_at AS "expiresAt" FROM jobq_expiry WHERE job_id = ANY ($1::BIGINT[])',
  with_value: tagged('value = $2::VARCHAR AND job_id > $3::BIGINT', 'job_id'),
  with_name: tagged('(value, job_id) > ($2::VARCHAR, $3::BIGINT)', 'value, job_id'),
  exception_log_ids: logIds('exception_log'),
  job_status_ids: logIds('job_status'),
  jobs: `${SELECT_JOBS} WHERE job.id = ANY ($1::BIGINT[])`,
  with_uniqkey: `${SELECT_JOBS} WHERE func_id = ANY ($1::INTEGER[]) AND uniqkey = $2 AND job.id + 0 <= ${LAST}`,
  /** One seek each. */
  lanes: `WITH RECURSIVE lane (func_id, priority) AS (
    SELECT f.id, (SELECT j.priority FROM job j WHERE j.func_id = f.id AND j.grabbed_until = 0
      ORDER BY j.priority DESC LIMIT 1) FROM unnest($1::INTEGER[]) AS f (id)
    UNION ALL
    SELECT l.func_id, (SELECT j.priority FROM job j WHERE j.func_id = l.func_id AND j.grabbed_until = 0
      AND j.priority < l.priority ORDER BY j.priority DESC LIMIT 1) FROM lane l WHERE l.priority IS NOT NULL)
  SELECT func_id AS "funcId", priority FROM lane WHERE priority IS NOT NULL`,
  /** $1 functions, $2 their lanes' priorities, $3 and $4 behind which time and id each, $5 up to when, $6 how many of each. */
  in_lanes: `SELECT lane.nth, j.id, j.priority, j.run_after AS "runAfter"
    FROM unnest($1::INTEGER[], $2::INTEGER[], $3::BIGINT[], $4::BIGINT[])
      WITH ORDINALITY AS lane (func_id, priority, run_after, id, nth)
    CROSS JOIN LATERAL (SELECT id, priority, run_after FROM job
      WHERE func_id = lane.func_id AND grabbed_until = 0 AND priority = lane.priority AND ${HAS_ID}
        AND (run_after, id) > (lane.run_after, lane.id) AND run_after <= $5::BIGINT
      ORDER BY run_after, id LIMIT $6) j`,
  counts: `SELECT func_id AS "funcId",
      count(*) FILTER (WHERE grabbed_until <= $2 AND run_after <= $2) AS ready,
      count(*) FILTER (WHERE grabbed_until <= $2 AND run_after > $2 AND run_after < ${NEVER}) AS delayed,
      count(*) FILTER (WHERE grabbed_until <= $2 AND run_after = ${NEVER}) AS waiting,
      count(*) FILTER (WHERE grabbed_until > $2) AS running,
      min(run_after) FILTER (WHERE grabbed_until <= $2 AND run_after <= $2) AS oldest
    FROM job WHERE func_id = ANY ($1::INTEGER[]) GROUP BY func_id`,
  failed: `SELECT func_id AS "funcId", count(*) AS jobs FROM exception_log
    WHERE func_id = ANY ($1::INTEGER[]) AND retried = 0 GROUP BY func_id`,
  ended: `SELECT func_id AS "funcId", status, count(*) AS jobs FROM job_status
    WHERE func_id = ANY ($1::INTEGER[]) GROUP BY func_id, status`,
  tried: `SELECT a.func_id AS "funcId", count(*) AS attempts, count(DISTINCT job.id) AS jobs FROM jobq_attempt a
      JOIN exception_log e ON e.id = a.exception_id AND e.retried = 0 LEFT JOIN job ON job.id = a.job_id
    WHERE a.func_id = ANY ($1::INTEGER[]) AND NOT a.is_last GROUP BY a.func_id`,
  exception_log_links: links('exception_id'),
  job_status_links: links('status_id'),
  history: `SELECT a.id, coalesce(func.name, '#' || a.func_id) AS func, outcome, is_last AS "isLast", started_at AS start,
      ended_at AS "end", host, pid, exception_id AS "exceptionId", retried_as AS "retriedAs", message,
      coalesce(e.uniqkey, s.uniqkey) AS uniqkey
    FROM ${LEFT} LEFT JOIN func ON func.id = a.func_id WHERE job_id = $1 ORDER BY a.id`,
  deaths: 'SELECT how, died_at AS "diedAt" FROM jobq_death WHERE job_id = $1 ORDER BY id',
  outputs: `SELECT id, attempt_id AS "attemptId", octet_length(output) AS bytes, is_cut AS "isCut" FROM jobq_output
    WHERE job_id = $1 AND attempt_id IS NOT NULL`,
  arg_of: `SELECT coalesce(e.arg, s.arg) AS arg FROM ${LEFT}
    WHERE a.job_id = $1 AND coalesce(e.id, s.id) IS NOT NULL ORDER BY a.id DESC LIMIT 1`,
  output: 'SELECT output FROM jobq_output WHERE id = $1',
  output_keys: `SELECT o.id, outcome, func_id AS "funcId", ended_at AS "endedAt"
    FROM jobq_output o LEFT JOIN jobq_attempt a ON a.id = attempt_id AND ${LONELY}
    WHERE o.id > $1 ORDER BY o.id LIMIT $2`,
  took: ended(SECONDS),
  minutes: ended('least(59, (job_end_time - $2) / 60)'),
  attempts: `SELECT func_id AS "funcId", status, ${SECONDS} AS seconds, count(*) AS attempts ${OF_ENDS} GROUP BY 1, 2, 3`,
  running_aside: besides(['grabbed_until > $2']),
  ready_aside: strays('run_after <= $2'),
  delayed_aside: strays(`run_after > $2 AND run_after < ${NEVER}`),
  waiting_aside: strays(`run_after = ${NEVER} AND $2 > 0`),
  waited_for:
    'SELECT after_id AS id, any_end AS "anyEnd" FROM jobq_after WHERE job_id = $1::BIGINT ORDER BY 1',
}

/** Of exception_log. */
const HEADS = `exception_time AS "exceptionTime", substr(message, 1, ${HEAD_BYTES}) AS message, retried`

export const postgresSql: ReadsSql<Query> = {
  now: prepared('now'),
  funcs: () => prepared('funcs'),
  named: func => prepared('named', func),
  greatestId: table => ({statement: `SELECT max(id)::TEXT AS digits FROM ${table}`, values: []}),

  jobs: ids => prepared('jobs', bigints(ids)),
  withUniqkey: (uniqkey, funcIds) => prepared('with_uniqkey', integers(funcIds), uniqkey),
  jobOf: row => row as JobRow,
  jobIds: (where, limit) => ({
    statement: `SELECT id FROM job WHERE ${conditions(where)} ORDER BY id LIMIT ${limit}`,
    values: values(where),
  }),
  jobSizes: ids => prepared('sizes', bigints(ids)),
  contexts: ids => prepared('contexts', bigints(ids)),
  tags: ids => prepared('tags', bigints(ids)),
  expiries: ids => prepared('expiries', bigints(ids)),
  tagged: ({name, value}, behind, limit) =>
    prepared(value === null ? 'with_name' : 'with_value', name, behind.value, behind.id, limit),

  withJobs: () => rowsOf(prepared('with_jobs')),
  lanes: funcIds => rowsOf(prepared('lanes', integers(funcIds))),
  inLanes: ({lanes, upTo, limit}) => [
    {
      ...prepared(
        'in_lanes',
        integers(lanes.map(({lane}) => lane.funcId)),
        integers(lanes.map(({lane}) => lane.priority)),
        bigints(lanes.map(({behind}) => behind.runAfter)),
        bigints(lanes.map(({behind}) => behind.id)),
        upTo,
        limit,
      ),
      lanes: lanes.length,
    },
  ],
  never: NEVER,
  after: id => prepared('waited_for', id),
  parked: ids => prepared('parked', bigints(ids)),
  besideLanes: (funcIds, state, now) => [prepared(`${state}_aside`, integers(funcIds), now)],

  logSizes: (table, where, {order, limit, offset}) => ({
    statement: `SELECT id, ${LOGS[table].bytes} AS bytes FROM ${table} log WHERE ${conditions(where)}
      ORDER BY log.id ${order} LIMIT ${limit} OFFSET ${offset}`,
    values: values(where),
  }),
  logCount: (table, where) => ({
    statement: `SELECT count(*) AS jobs FROM ${table} log WHERE ${conditions(where)}`,
    values: values(where),
  }),
  logRows: (table, ids, heads) => ({
    statement: `SELECT log.id, func_id AS "funcId", ${FUNC_NAME}, ${heads ? 'NULL' : 'arg'} AS arg, uniqkey,
        ${heads ? HEADS : LOGS[table].columns}
      FROM ${table} log LEFT JOIN func ON func.id = func_id WHERE log.id = ANY ($1::BIGINT[])`,
    values: [bigints(ids)],
  }),

  logIds: (table, jobIds) => prepared(`${table}_ids`, bigints(jobIds)),
  links: (table, ids) => prepared(`${table}_links`, bigints(ids)),
  history: id => [prepared('history', id), prepared('deaths', id), prepared('outputs', id)],
  argOf: id => prepared('arg_of', id),
  output: id => prepared('output', id),
  outputKeys: (after, limit) => prepared('output_keys', after, limit),

  counts(funcIds, now) {
    const ids = integers(funcIds)
    return [
      prepared('counts', ids, now),
      prepared('failed', ids),
      prepared('ended', ids),
      prepared('tried', ids),
    ]
  },
  times(funcIds, hourAgo) {
    const ids = integers(funcIds)
    return [prepared('took', ids, hourAgo), prepared('minutes', ids, hourAgo)]
  },
  attempts: funcIds => prepared('attempts', integers(funcIds)),
}

function conditions(where: readonly Condition[]): string {
  const texts = where.map(([condition, value], i) =>
    typeof value === 'object'
      ? condition.replace('IN ?', `= ANY ($${i + 1}::BIGINT[])`)
      : condition.replace('?', `$${i + 1}`),
  )
  return texts.join(' AND ') || 'TRUE'
}

function values(where: readonly Condition[]): Value[] {
  return where.map(([, value]) => (typeof value === 'object' ? bigints(value) : value))
}

function prepared(name: keyof typeof TEXTS, ...values: Value[]): Query {
  return {statement: {name: `jobq_${name}`, text: TEXTS[name]}, values}
}

/** The rows of a query, or of each of its lanes. */
export function partsOf({lanes}: Query, rows: unknown[]): unknown[][] {
  if (lanes === undefined) return [rows]
  const parts = Array.from({length: lanes}, (): Key[] => [])
  for (const {nth, ...key} of rows as (Key & {nth: number})[]) parts[nth - 1]!.push(key)
  for (const keys of parts) keys.sort(ORDERS.ready)
  return parts
}
