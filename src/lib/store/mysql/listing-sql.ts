/** What listings and counts ask of MySQL: they read the index jobq_lane, with a statement for each lane. */

import type {JobState} from '../../jobs/job.ts'
import {HEAD_BYTES} from '../../jobs/rows/history.ts'
import {LONELY, logColumn} from '../shared/prune.ts'
import type {Reading} from '../shared/reads/reading.ts'
import {
  type Condition,
  FIRST,
  type Key,
  LAST,
  type Lane,
  type ReadsSql,
  type Spot,
  type TagPlace,
} from '../shared/reads/sql.ts'
import {NEVER} from './after.ts'
import {literal, type MysqlConnection, type Row} from './connections/connection.ts'
import {jobColumns, jobOf} from './rows.ts'

const FROM = 'FROM job FORCE INDEX (jobq_lane)'
const SELECT_KEY = `SELECT id, priority, run_after AS runAfter ${FROM} WHERE id <= ${LAST} AND`
/**
 * From so many lanes on, one statement reads the index from end to end and sorts what waits: 1 µs a row, and 30 µs for
 * each statement otherwise.
 */
const MANY_LANES = 1000

const FUNCS_TOGETHER = 50
/** DISTINCT would read the index from end to end. */
const NEXT_FUNCS = Array.from({length: FUNCS_TOGETHER}, () => [
  `SELECT MIN(func_id) INTO @func ${FROM} WHERE func_id > @func`,
  'SELECT @func AS id',
]).flat()

const SECONDS = 'GREATEST(job_end_time, job_start_time) - job_start_time'
const LEFT =
  'jobq_attempt a LEFT JOIN exception_log e ON e.id = exception_id LEFT JOIN job_status s ON s.id = status_id'
const LOGS = {
  exception_log: {
    columns: 'exception_time AS exceptionTime, message, retried',
    bytes: 'COALESCE(OCTET_LENGTH(arg), 0) + COALESCE(OCTET_LENGTH(message), 0)',
  },
  job_status: {
    columns: 'status, job_start_time AS jobStartTime, job_end_time AS jobEndTime',
    bytes: 'COALESCE(OCTET_LENGTH(arg), 0)',
  },
}

/** Of exception_log. */
const HEADS = `exception_time AS exceptionTime, LEFT(message, ${HEAD_BYTES}) AS message, retried`

/** @param now the database's clock */
export function mysqlSql(
  {names, keys}: Pick<MysqlConnection, 'names' | 'keys'>,
  now: number,
): ReadsSql<string> {
  const name = names.select('name')
  /** An id that is not to be found in func is shown as it is: a row is never hidden. */
  const funcName = (id: string) => `COALESCE(${names.select('func.name')}, CONCAT('#', ${id})) AS func`
  const conditions = (where: readonly Condition[]) =>
    where
      .map(([condition, value]) =>
        condition.replace('?', () =>
          typeof value === 'string'
            ? keys.literal(value)
            : typeof value === 'object'
              ? `(${value})`
              : String(value),
        ),
      )
      .join(' AND ') || 'TRUE'
  const jobs = `SELECT ${jobColumns({keys})}, ${funcName('job.func_id')} FROM job LEFT JOIN func ON func.id = job.func_id`
  return {
    now,
    funcs: () =>
      `SELECT id, ${name} AS name FROM func ORDER BY CAST(CONVERT(${name} USING utf8mb4) AS BINARY)`,
    named: func => `SELECT id, ${name} AS name FROM func WHERE name = ${names.literal(func)}`,
    greatestId: table => `SELECT CAST(MAX(id) AS CHAR) AS digits FROM ${table}`,

    jobs: ids => `${jobs} WHERE job.id IN (${ids})`,
    withUniqkey: (uniqkey, funcIds) =>
      `${jobs} WHERE job.func_id IN (${funcIds}) AND job.uniqkey = ${keys.literal(uniqkey)} AND job.id <= ${LAST}`,
    jobOf: row => jobOf(row as Row),
    jobIds: (where, limit) =>
      `SELECT id FROM job FORCE INDEX (PRIMARY) WHERE ${conditions(where)} ORDER BY id LIMIT ${limit}`,
    jobSizes: ids => `SELECT id, COALESCE(OCTET_LENGTH(arg), 0) AS bytes FROM job WHERE id IN (${ids})`,
    contexts: ids => `SELECT job_id AS id, context FROM jobq_context WHERE job_id IN (${ids})`,

    tags: ids => `SELECT job_id AS id, name, value FROM jobq_tag WHERE job_id IN (${ids})`,
    expiries: ids => `SELECT job_id AS id, expires_at AS expiresAt FROM jobq_expiry WHERE job_id IN (${ids})`,
    tagged: ({name, value}, behind, limit) => `SELECT t.job_id AS id, t.value, func_id AS funcId, priority,
        run_after AS runAfter, grabbed_until AS grabbedUntil
      FROM (SELECT job_id, value FROM jobq_tag FORCE INDEX (value) WHERE name = ${literal(name)}
          AND ${behindTag(behind, value !== null)} ORDER BY value, job_id LIMIT ${limit}) t
        LEFT JOIN job ON job.id = t.job_id ORDER BY t.value, t.job_id`,

    withJobs,
    lanes,
    inLanes: ({lanes, upTo, limit}) =>
      lanes.map(
        ({lane: {funcId, priority}, behind}) => `${SELECT_KEY} func_id = ${funcId} AND grabbed_until = 0
          AND priority = ${priority} AND ${behindSpot(behind)} AND run_after <= ${upTo} ORDER BY run_after, id LIMIT ${limit}`,
      ),
    never: NEVER,
    after: id =>
      `SELECT after_id AS id, any_end AS anyEnd FROM jobq_after WHERE job_id = ${id} ORDER BY after_id`,
    parked: ids => `SELECT job_id AS id, share_key AS \`key\`, waits_for AS waitsFor, run_after AS runAfter
      FROM jobq_share WHERE job_id IN (${ids}) AND is_parked = 1`,
    besideLanes: (funcIds, state, now) =>
      funcIds.map(id => `${SELECT_KEY} func_id = ${id} AND ${besideLanes(state, now)}`),
    sortedKeys: (funcIds, state, now, after, limit) =>
      `${SELECT_KEY} func_id IN (${funcIds}) AND grabbed_until = 0 AND ${isDue(state, now)}
       ${after ? `AND ${behindKey(after, state)}` : ''}
       ORDER BY ${state === 'ready' ? 'priority DESC, run_after' : 'run_after, priority DESC'}, id LIMIT ${limit}`,

    logSizes: (table, where, {order, limit, offset}) =>
      `SELECT id, ${LOGS[table].bytes} AS bytes FROM ${table} log WHERE ${conditions(where)}
       ORDER BY log.id ${order} LIMIT ${limit} OFFSET ${offset}`,
    logCount: (table, where) => `SELECT COUNT(*) AS jobs FROM ${table} log WHERE ${conditions(where)}`,
    logRows: (table, ids, heads) =>
      `SELECT log.id, func_id AS funcId, ${funcName('func_id')}, ${heads ? 'NULL' : 'arg'} AS arg,
         ${keys.select('uniqkey')} AS uniqkey, ${heads ? HEADS : LOGS[table].columns}
       FROM ${table} log LEFT JOIN func ON func.id = func_id WHERE log.id IN (${ids})`,

    logIds: (table, jobIds) =>
      `SELECT ${logColumn(table)} AS id FROM jobq_attempt
       WHERE job_id IN (${jobIds}) AND ${logColumn(table)} IS NOT NULL`,
    links: (table, ids) => {
      const column = logColumn(table)
      return `SELECT a.${column} AS id, job_id AS jobId, is_last AS isLast,
          EXISTS (SELECT 1 FROM job WHERE job.id = job_id) AS isThere FROM jobq_attempt a WHERE a.${column} IN (${ids})`
    },
    history: id => [
      `SELECT a.id, ${funcName('a.func_id')}, outcome, is_last AS isLast, started_at AS start, ended_at AS end, host, pid,
         exception_id AS exceptionId, retried_as AS retriedAs, message,
         COALESCE(${keys.select('e.uniqkey')}, ${keys.select('s.uniqkey')}) AS uniqkey
       FROM ${LEFT} LEFT JOIN func ON func.id = a.func_id WHERE job_id = ${id} ORDER BY a.id`,
      `SELECT how, died_at AS diedAt FROM jobq_death WHERE job_id = ${id} ORDER BY id`,
      `SELECT id, attempt_id AS attemptId, OCTET_LENGTH(output) AS bytes, is_cut AS isCut FROM jobq_output
       WHERE job_id = ${id} AND attempt_id IS NOT NULL`,
    ],
    argOf: id => `SELECT COALESCE(e.arg, s.arg) AS arg FROM ${LEFT}
      WHERE a.job_id = ${id} AND COALESCE(e.id, s.id) IS NOT NULL ORDER BY a.id DESC LIMIT 1`,
    output: id => `SELECT output FROM jobq_output WHERE id = ${id}`,
    outputKeys: (after, limit) =>
      `SELECT o.id, outcome, func_id AS funcId, ended_at AS endedAt
       FROM jobq_output o FORCE INDEX (PRIMARY) LEFT JOIN jobq_attempt a ON a.id = attempt_id AND ${LONELY}
       WHERE o.id > ${after} ORDER BY o.id LIMIT ${limit}`,

    counts(funcIds, now) {
      const among = `WHERE func_id IN (${funcIds})`
      const isReady = `grabbed_until <= ${now} AND run_after <= ${now}`
      return [
        `SELECT func_id AS funcId, COUNT(IF(${isReady}, 1, NULL)) AS ready,
           COUNT(IF(grabbed_until <= ${now} AND run_after > ${now} AND run_after < ${NEVER}, 1, NULL)) AS \`delayed\`,
           COUNT(IF(grabbed_until <= ${now} AND run_after = ${NEVER}, 1, NULL)) AS waiting,
           COUNT(IF(grabbed_until > ${now}, 1, NULL)) AS running, MIN(IF(${isReady}, run_after, NULL)) AS oldest
         ${FROM} ${among} GROUP BY func_id`,
        `SELECT func_id AS funcId, COUNT(*) AS jobs FROM exception_log ${among} AND retried = 0 GROUP BY func_id`,
        `SELECT func_id AS funcId, status, COUNT(*) AS jobs FROM job_status ${among} GROUP BY func_id, status`,
        `SELECT a.func_id AS funcId, COUNT(*) AS attempts, COUNT(DISTINCT job.id) AS jobs FROM jobq_attempt a
           JOIN exception_log e ON e.id = a.exception_id AND e.retried = 0 LEFT JOIN job ON job.id = a.job_id
         WHERE a.func_id IN (${funcIds}) AND a.is_last = 0 GROUP BY a.func_id`,
      ]
    },
    times(funcIds, hourAgo) {
      const ended = `COUNT(*) AS jobs ${ofEnds(funcIds)} AND job_end_time >= ${hourAgo} GROUP BY func_id, value`
      return [
        `SELECT func_id AS funcId, ${SECONDS} AS value, ${ended} ORDER BY func_id, value`,
        `SELECT func_id AS funcId, LEAST(59, (job_end_time - ${hourAgo}) DIV 60) AS value, ${ended}`,
      ]
    },
    attempts: funcIds =>
      `SELECT func_id AS funcId, status, ${SECONDS} AS seconds, COUNT(*) AS attempts ${ofEnds(funcIds)}
       GROUP BY func_id, status, seconds`,
  }
}

/** One seek each, many in a round trip: each begins where the last has ended. */
function* withJobs(): Reading<string, {id: number}[]> {
  const found: {id: number}[] = []
  for (;;) {
    const answers = (yield [`SET @func = ${found.at(-1)?.id ?? -1}`, ...NEXT_FUNCS]) as {id: unknown}[][]
    const some = answers.flat().flatMap(({id}) => (id === null ? [] : {id: Number(id)}))
    found.push(...some)
    if (some.length < FUNCS_TOGETHER) return found
  }
}

/** One seek for each. */
function* lanes(funcIds: readonly number[]): Reading<string, Lane[] | null> {
  const lanes: Lane[] = []
  let open: {funcId: number; priority?: number}[] = funcIds.map(funcId => ({funcId}))
  while (open.length > 0) {
    const answers = (yield open.map(({funcId, priority}) => {
      const less = priority === undefined ? '' : `AND priority < ${priority}`
      return `SELECT priority ${FROM} WHERE func_id = ${funcId} AND grabbed_until = 0 ${less} ORDER BY priority DESC LIMIT 1`
    })) as Lane[][]
    const found = open.flatMap(({funcId}, i) => answers[i]!.map(({priority}) => ({funcId, priority})))
    for (const lane of found) lanes.push(lane)
    if (lanes.length > MANY_LANES) return null
    open = found
  }
  return lanes
}

function isDue(state: JobState, now: number): string {
  if (state === 'ready') return `run_after <= ${now}`
  return state === 'waiting' ? `run_after = ${NEVER}` : `run_after > ${now} AND run_after < ${NEVER}`
}

function besideLanes(state: JobState, now: number): string {
  return state === 'running'
    ? `grabbed_until > ${now}`
    : `grabbed_until > 0 AND grabbed_until <= ${now} AND ${isDue(state, now)}`
}

function ofEnds(funcIds: readonly number[]): string {
  return `FROM job_status WHERE func_id IN (${funcIds}) AND status IN ('completed', 'failed', 'abort')`
}

/** (a, b) > (x, y) is written out: MySQL seeks by `a > x OR (a = x AND b > y)`, not by the pair. */
function behindSpot({runAfter, id}: Spot): string {
  if (runAfter === FIRST) return 'TRUE'
  if (id === LAST) return `run_after > ${runAfter}`
  return `(run_after > ${runAfter} OR (run_after = ${runAfter} AND id > ${id}))`
}

function behindTag({value, id}: TagPlace, isOfValue: boolean): string {
  const here = `value = ${literal(value)} AND job_id > ${id}`
  return isOfValue ? here : `(value > ${literal(value)} OR (${here}))`
}

function behindKey({id, priority, runAfter}: Key, state: JobState): string {
  return state === 'ready'
    ? `(priority < ${priority} OR (priority = ${priority} AND ${behindSpot({runAfter, id})}))`
    : `(run_after > ${runAfter} OR (run_after = ${runAfter} AND (priority < ${priority}
        OR (priority = ${priority} AND id > ${id}))))`
}
