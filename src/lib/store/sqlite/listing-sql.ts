/** What listings and counts ask of SQLite: seeks in the index jobq_lane, lane by lane. */

import type {JobRow, JobState} from '../../jobs/job.ts'
import {HEAD_BYTES} from '../../jobs/rows/history.ts'
import {LONELY, logColumn} from '../shared/prune.ts'
import {numberOf, rowsOf} from '../shared/reads/reading.ts'
import {type Condition, FIRST, LAST, type ReadsSql} from '../shared/reads/sql.ts'
import {NEVER} from './after/edges.ts'

export interface Query {
  sql: string
  params: readonly unknown[]
}

/** Lists of numbers are handed over as JSON: so many statements, however many there are of them. */
const GIVEN = '(SELECT value FROM json_each($given))'

/** An id that is not to be found in func is shown as it is: a row is never hidden. */
const FUNC_NAME = `coalesce(CAST(func.name AS TEXT), '#' || func_id) AS func`
const KEY_TEXT = 'CAST(uniqkey AS TEXT) AS uniqkey'
const ARG_AND_KEY = `CAST(arg AS BLOB) AS arg, ${KEY_TEXT}`
const JOBS = `SELECT job.id, func_id AS funcId, ${FUNC_NAME}, ${ARG_AND_KEY}, enqueue_time AS enqueueTime,
    grabbed_until AS grabbedUntil, run_after AS runAfter, retry_cnt AS retryCnt, priority
  FROM job LEFT JOIN func ON func.id = func_id`
const SIZES = `SELECT id, coalesce(octet_length(arg), 0) AS bytes FROM job WHERE id IN ${GIVEN}`
const NAMED = 'SELECT id, CAST(name AS TEXT) AS name FROM func WHERE name IN ($func, CAST($func AS BLOB))'
/** What names no function by a number that JavaScript can hold is nobody's job: it must not spoil the others' listing. */
const WITH_JOBS = `WITH RECURSIVE has (id) AS (
    SELECT min(func_id) FROM job WHERE func_id BETWEEN ${FIRST} AND ${LAST} UNION ALL
    SELECT (SELECT func_id FROM job WHERE func_id > has.id AND func_id <= ${LAST} ORDER BY func_id LIMIT 1)
    FROM has WHERE has.id IS NOT NULL)
  SELECT id FROM has WHERE id IS NOT NULL`

const TAGS = `SELECT job_id AS id, name, value FROM jobq_tag WHERE job_id IN ${GIVEN} ORDER BY job_id, name`
const tagged = (
  behind: string,
) => `SELECT t.job_id AS id, t.value, func_id AS funcId, priority, run_after AS runAfter,
    grabbed_until AS grabbedUntil
  FROM (SELECT job_id, value FROM jobq_tag INDEXED BY jobq_tag_value WHERE name = $name AND ${behind}
    ORDER BY value, job_id LIMIT $limit) t LEFT JOIN job ON job.id = t.job_id ORDER BY t.value, t.job_id`
const WITH_VALUE = tagged('value = $value AND job_id > $id')
const WITH_NAME = tagged('(value, job_id) > ($value, $id)')

const OF_FUNCS = 'FROM json_each($given) func CROSS JOIN job WHERE func_id = func.value AND'
/** The priorities at which functions have jobs that no one holds, highest first: one seek each. */
const next = (funcId: string, priority: string) =>
  `(SELECT priority FROM job WHERE func_id = ${funcId} AND grabbed_until = 0 AND priority ${priority} AND priority >= ${FIRST}
    ORDER BY priority DESC LIMIT 1)`
const LANES = `WITH RECURSIVE lane (func_id, priority) AS (
    SELECT value, ${next('value', `<= ${LAST}`)} FROM json_each($given) UNION ALL
    SELECT lane.func_id, ${next('lane.func_id', '< lane.priority')} FROM lane WHERE lane.priority IS NOT NULL)`
const OF_LANES = `FROM lane CROSS JOIN job
  WHERE job.func_id = lane.func_id AND grabbed_until = 0 AND job.priority = lane.priority AND`
/**
 * Of what nobody works, what is in no lane, whichever time it is due. Lanes are of whole numbers and fractions that
 * JavaScript can hold. Beside them lie leases that ran out and that no grab has put back yet, and rows with anything
 * else in them: a column holds whatever is written into it, by other programs too.
 */
const BESIDE_LANES = [
  'grabbed_until < 0',
  'grabbed_until > 0 AND grabbed_until <= +$now',
  `grabbed_until = 0 AND priority > ${LAST}`,
  `grabbed_until = 0 AND priority < ${FIRST}`,
]

const KEY = 'job.id, job.priority, run_after AS runAfter'
const HAS_ID = `job.id <= ${LAST}`
// +? as in lanes.ts: a long listing asks this again and again, and a bare ? would be prepared anew each time
const IN_LANE = `SELECT ${KEY} FROM job WHERE ${HAS_ID} AND func_id = +? AND grabbed_until = 0 AND priority = +?
  AND (run_after, id) > (+?, +?) AND run_after <= +? ORDER BY run_after, id LIMIT +?`
const beside = (due: string, inNoStretch: string) =>
  `${LANES} ${BESIDE_LANES.map(condition => `SELECT ${KEY} ${OF_FUNCS} ${condition} AND ${due} AND ${HAS_ID} UNION ALL `).join('')}
  SELECT ${KEY} ${OF_LANES} ${inNoStretch} AND ${HAS_ID}`
const ASIDE: Record<JobState, string> = {
  running: `SELECT ${KEY} ${OF_FUNCS} grabbed_until > +$now AND ${HAS_ID}`,
  ready: beside('run_after <= +$now', `run_after < ${FIRST}`),
  delayed: beside(`run_after > +$now AND run_after <> ${NEVER}`, `run_after > ${NEVER}`),
  waiting: beside(`run_after = ${NEVER} AND +$now`, 'FALSE'),
}

/** A count along the index takes 30 ns a row as long as it has one condition. */
const inLane = (what: string, due: string) =>
  `(SELECT ${what} FROM job WHERE job.func_id = lane.func_id AND grabbed_until = 0 AND job.priority = lane.priority
    AND run_after ${due}`
const WAITING = `${LANES}, counted (funcId, ready, later, waiting, running, oldest) AS (
    SELECT func_id, ${inLane('count(*)', '<= +$now')}), ${inLane('count(*)', '> +$now')}),
      ${inLane('count(*)', `= ${NEVER}`)}), 0, ${inLane('run_after', '<= +$now')} ORDER BY run_after LIMIT 1) FROM lane WHERE priority IS NOT NULL
    ${BESIDE_LANES.map(
      condition => `UNION ALL SELECT func_id, count(*) FILTER (WHERE run_after <= +$now),
        count(*) - count(*) FILTER (WHERE run_after <= +$now), count(*) FILTER (WHERE run_after = ${NEVER}), 0, min(run_after) FILTER (WHERE run_after <= +$now)
      ${OF_FUNCS} ${condition} GROUP BY func_id`,
    ).join(' ')}
    UNION ALL SELECT value, 0, 0, 0, (SELECT count(*) FROM job WHERE func_id = value AND grabbed_until > +$now), NULL
    FROM json_each($given))
  SELECT funcId, sum(ready) AS ready, sum(later) - sum(waiting) AS delayed, sum(waiting) AS waiting, sum(running) AS running, min(oldest) AS oldest
  FROM counted GROUP BY funcId`
const FAILED = `SELECT func_id AS funcId, count(*) AS jobs FROM exception_log
  WHERE func_id IN ${GIVEN} AND retried = 0 GROUP BY func_id`
const ENDED = `SELECT func_id AS funcId, status, count(*) AS jobs FROM job_status
  WHERE func_id IN ${GIVEN} GROUP BY func_id, status`
const TRIED = `SELECT a.func_id AS funcId, count(*) AS attempts, count(DISTINCT job.id) AS jobs
  FROM jobq_attempt a JOIN exception_log e ON e.id = a.exception_id AND e.retried = 0 LEFT JOIN job ON job.id = a.job_id
  WHERE a.func_id IN ${GIVEN} AND a.is_last = 0 GROUP BY a.func_id`
const LINKS = (column: string) => `SELECT a.${column} AS id, job_id AS jobId, is_last AS isLast,
    EXISTS (SELECT 1 FROM job WHERE job.id = job_id) AS isThere FROM jobq_attempt a WHERE a.${column} IN ${GIVEN}`
const LEFT = `jobq_attempt a LEFT JOIN exception_log e ON e.id = exception_id LEFT JOIN job_status s ON s.id = status_id`
const HISTORY = `SELECT a.id, coalesce(CAST(func.name AS TEXT), '#' || a.func_id) AS func, outcome, is_last AS isLast,
    started_at AS start, ended_at AS "end", host, pid, exception_id AS exceptionId, retried_as AS retriedAs,
    CAST(coalesce(e.uniqkey, s.uniqkey) AS TEXT) AS uniqkey, CAST(e.message AS BLOB) AS message
  FROM ${LEFT} LEFT JOIN func ON func.id = a.func_id WHERE job_id = $id ORDER BY a.id`
const OUTPUTS = `SELECT id, attempt_id AS attemptId, octet_length(output) AS bytes, is_cut AS isCut FROM jobq_output
  WHERE job_id = $id AND attempt_id IS NOT NULL`
const OUTPUT_KEYS = `SELECT o.id, outcome, func_id AS funcId, ended_at AS endedAt
  FROM jobq_output o LEFT JOIN jobq_attempt a ON a.id = attempt_id AND ${LONELY}
  WHERE o.id > $after ORDER BY o.id LIMIT $limit`
const DEATHS = 'SELECT how, died_at AS diedAt FROM jobq_death WHERE job_id = $id ORDER BY id'
const SECONDS = 'max(0, job_end_time - job_start_time)'
const OF_ENDS = `FROM job_status WHERE func_id IN ${GIVEN} AND status IN ('completed', 'failed', 'abort')`
const TOOK = `SELECT func_id AS funcId, ${SECONDS} AS value, count(*) AS jobs ${OF_ENDS} AND job_end_time >= $hourAgo
  GROUP BY func_id, value ORDER BY func_id, value`
// A bound number is a REAL, and a minute must be whole
const MINUTES = `SELECT func_id AS funcId, min(59, (job_end_time - CAST($hourAgo AS INTEGER)) / 60) AS value, count(*) AS jobs
  ${OF_ENDS} AND job_end_time >= $hourAgo GROUP BY func_id, value`
const ATTEMPTS = `SELECT func_id AS funcId, status, ${SECONDS} AS seconds, count(*) AS attempts ${OF_ENDS}
  GROUP BY func_id, status, seconds`

const PARKED = `SELECT job_id AS id, share_key AS key, waits_for AS waitsFor, run_after AS runAfter
  FROM jobq_share WHERE job_id IN ${GIVEN} AND is_parked = 1`

const LOGS = {
  exception_log: {
    columns: 'exception_time AS exceptionTime, CAST(message AS BLOB) AS message, retried',
    bytes: 'coalesce(octet_length(arg), 0) + coalesce(octet_length(message), 0)',
  },
  job_status: {
    columns: 'CAST(status AS TEXT) AS status, job_start_time AS jobStartTime, job_end_time AS jobEndTime',
    bytes: 'coalesce(octet_length(arg), 0)',
  },
}

/** Of exception_log. */
const HEADS = `exception_time AS exceptionTime, substr(CAST(message AS BLOB), 1, ${HEAD_BYTES}) AS message, retried`

/** @param hasAttempts not in a file of an older schema, which could only be read */
export function sqliteSql(now: number, hasAttempts: () => boolean): ReadsSql<Query> {
  return {
    now,
    funcs: () => query('SELECT id, CAST(name AS TEXT) AS name FROM func ORDER BY func.name'),
    named: func => query(NAMED, {func}),
    greatestId: table => query(`SELECT CAST(max(id) AS TEXT) AS digits FROM ${table}`),

    jobs: ids => query(`${JOBS} WHERE job.id IN ${GIVEN}`, {given: json(ids)}),
    withUniqkey: (uniqkey, funcIds) =>
      query(`${JOBS} WHERE func_id IN ${GIVEN} AND uniqkey = $uniqkey AND +${HAS_ID}`, {
        given: json(funcIds),
        uniqkey,
      }),
    jobOf,
    tags: ids => (hasAttempts() ? query(TAGS, {given: json(ids)}) : NOTHING),
    expiries: ids =>
      hasAttempts()
        ? query(`SELECT job_id AS id, expires_at AS expiresAt FROM jobq_expiry WHERE job_id IN ${GIVEN}`, {
            given: json(ids),
          })
        : NOTHING,
    tagged: ({name, value}, behind, limit) =>
      hasAttempts() ? query(value === null ? WITH_NAME : WITH_VALUE, {name, ...behind, limit}) : NOTHING,
    jobIds: (where, limit) => ({
      sql: `SELECT id FROM job NOT INDEXED WHERE ${conditions(where)} ORDER BY id LIMIT ?`,
      params: [...values(where), limit],
    }),
    jobSizes: ids => query(SIZES, {given: json(ids)}),
    contexts: ids =>
      query(`SELECT job_id AS id, context FROM jobq_context WHERE job_id IN ${GIVEN}`, {given: json(ids)}),

    withJobs: () => rowsOf(query(WITH_JOBS)),
    lanes: funcIds =>
      rowsOf(
        query(`${LANES} SELECT func_id AS funcId, priority FROM lane WHERE priority IS NOT NULL`, {
          given: json(funcIds),
        }),
      ),
    inLanes: ({lanes, upTo, limit}) =>
      lanes.map(({lane: {funcId, priority}, behind: {runAfter, id}}) => ({
        sql: IN_LANE,
        params: [funcId, priority, runAfter, id, upTo, limit],
      })),
    never: NEVER,
    after: id =>
      hasAttempts()
        ? query('SELECT after_id AS id, any_end AS anyEnd FROM jobq_after WHERE job_id = $id ORDER BY 1', {
            id,
          })
        : NOTHING,
    parked: ids => (hasAttempts() ? query(PARKED, {given: json(ids)}) : NOTHING),
    besideLanes: (funcIds, state, now) => [query(ASIDE[state], {given: json(funcIds), now})],

    logSizes(table, where, {order, limit, offset}) {
      const sql = `SELECT id, ${LOGS[table].bytes} AS bytes FROM ${table} log WHERE ${conditions(where)} ORDER BY log.id ${order} LIMIT ? OFFSET ?`
      return {sql, params: [...values(where), limit, offset]}
    },
    logCount: (table, where) => ({
      sql: `SELECT count(*) AS jobs FROM ${table} log WHERE ${conditions(where)}`,
      params: values(where),
    }),
    logRows: (table, ids, heads) =>
      query(
        `SELECT log.id, func_id AS funcId, ${FUNC_NAME}, ${heads ? `NULL AS arg, ${KEY_TEXT}` : ARG_AND_KEY},
           ${heads ? HEADS : LOGS[table].columns}
         FROM ${table} log LEFT JOIN func ON func.id = func_id WHERE log.id IN ${GIVEN}`,
        {given: json(ids)},
      ),

    links(table, ids) {
      if (!hasAttempts()) return null
      return query(LINKS(logColumn(table)), {given: json(ids)})
    },
    logIds: (table, jobIds) =>
      query(
        `SELECT ${logColumn(table)} AS id FROM jobq_attempt WHERE job_id IN ${GIVEN} AND ${logColumn(table)} IS NOT NULL`,
        {given: json(jobIds)},
      ),
    history: id =>
      hasAttempts()
        ? [query(HISTORY, {id}), query(DEATHS, {id}), query(OUTPUTS, {id})]
        : [NOTHING, NOTHING, NOTHING],
    argOf: id =>
      query(
        `SELECT CAST(coalesce(e.arg, s.arg) AS BLOB) AS arg FROM ${LEFT}
         WHERE a.job_id = $id AND coalesce(e.id, s.id) IS NOT NULL ORDER BY a.id DESC LIMIT 1`,
        {id},
      ),
    output: id => query('SELECT CAST(output AS BLOB) AS output FROM jobq_output WHERE id = $id', {id}),
    outputKeys: (after, limit) => (hasAttempts() ? query(OUTPUT_KEYS, {after, limit}) : NOTHING),

    counts(funcIds, now) {
      const given = json(funcIds)
      const tried = hasAttempts() ? query(TRIED, {given}) : NOTHING
      return [query(WAITING, {given, now}), query(FAILED, {given}), query(ENDED, {given}), tried]
    },
    times(funcIds, hourAgo) {
      const given = json(funcIds)
      return [query(TOOK, {given, hourAgo}), query(MINUTES, {given, hourAgo})]
    },
    attempts: funcIds => query(ATTEMPTS, {given: json(funcIds)}),
  }
}

/** A column holds whatever was written into it: where that is no number, it is told as none. */
function jobOf(found: unknown): JobRow {
  const row = found as JobRow
  for (const column of ['enqueueTime', 'grabbedUntil', 'runAfter', 'retryCnt', 'priority'] as const)
    row[column] = numberOf(row[column])
  return row
}

function conditions(where: readonly Condition[]): string {
  const texts = where.map(([condition, value]) =>
    typeof value === 'object' ? condition.replace('?', '(SELECT value FROM json_each(?))') : condition,
  )
  return texts.join(' AND ') || 'TRUE'
}

function values(where: readonly Condition[]): (string | number)[] {
  return where.map(([, value]) => (typeof value === 'object' ? json(value) : value))
}

const NOTHING = query('SELECT 1 WHERE 0')

function query(sql: string, params?: Record<string, unknown>): Query {
  return {sql, params: params ? [params] : []}
}

function json(numbers: readonly number[]): string {
  return `[${numbers.join()}]`
}
