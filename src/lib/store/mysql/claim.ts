/**
 * Taking jobs on MySQL by statements that decide on the server which lane is the best, and lock its first row with SKIP
 * LOCKED: another process's take that has not ended is passed over instead of waited for, and no row is locked that is
 * not taken. The row is found with a plain read and locked by its id: a locking read along the lane also looks up every
 * entry at its front whose job was taken a moment ago and is not purged yet (measured at 1,000 jobs a second: 150 µs
 * instead of 20).
 */
import {type JobRow, MAX_ID} from '../../jobs/job.ts'
import type {Want} from '../store.ts'
import {type Link, literal, type Reply, type Row, textOf} from './connection.ts'
import {FIRST, type MysqlLanes, type Skipped, selectArm, selectFuncs} from './lanes.ts'
import {jobColumns, jobOf} from './rows.ts'

/** How many arms the takes of one batch may have together: the server reads each of them anew for each job. */
const BATCH_ARMS = 48

/** How many jobs the next batch of takes should ask for. */
export function batchSize(lanes: MysqlLanes, want: Want, count: number): number {
  const funcs = lanes.idsOf(want.funcs)
  if (want.fair && funcs.length > 1) return 1 // whose turn it is changes with every job
  return Math.max(1, Math.min(count, Math.floor(BATCH_ARMS / Math.max(1, lanes.countArms(funcs)))))
}

/** Statements that take so many jobs, each the best there is. Needs a transaction around it, and @now before it. */
export function takes(lanes: MysqlLanes, link: Link, want: Want, count: number, skipped: Skipped): string[] {
  const ids = lanes.idsOf(want.funcs)
  const limited = lanes.limited(want)
  const statements: string[] = []
  // Who counts what runs must be alone at it, over all processes
  if (limited.length > 0)
    statements.push(`SELECT id FROM func WHERE id IN (${limited.map(({id}) => id)}) ORDER BY id FOR UPDATE`)
  // SELECT … INTO, not SET: that reads with shared locks
  statements.push(`SELECT ${guards(lanes, link, want, ids).join(' AND ')} INTO @go`)
  const most = new Map(limited.map(({id, most}) => [id, most]))
  const arms = lanes.idsOf(lanes.unpaused(want.funcs)).flatMap(id => lanes.arms(id, skipped, most.get(id)))
  if (arms.length === 0) return []
  const order = want.fair
    ? `priority DESC, run_after > @now, FIELD(f, ${lanes.byTurn(ids)}), run_after, id`
    : 'priority DESC, run_after, id'
  const held = lanes.idsOf([...(want.held ?? [])])
  const butHeld = held.length > 0 ? `AND @f NOT IN (${held})` : ''
  const take = [
    'SET @f = NULL, @p = NULL, @r = NULL, @head = NULL, @id = NULL',
    // A lane that is not due and may hide others is chosen as well, and then nothing is taken: a look finds out
    arms.length === 1
      ? `SELECT func_id, priority, run_after, id INTO @f, @p, @r, @head ${arms[0]!.from} AND @go ${FIRST}`
      : `SELECT f, priority, run_after, id INTO @f, @p, @r, @head
         FROM (${arms.map(selectArm).join(' UNION ALL ')}) heads
         WHERE @go AND (run_after <= @now OR priority > least) ORDER BY ${order} LIMIT 1`,
    `SELECT id INTO @id FROM job
     WHERE id = @head AND grabbed_until = 0 AND run_after <= @now ${butHeld} FOR UPDATE SKIP LOCKED`,
    // Someone else has it: the next one of its lane that no one has
    `SELECT id INTO @id FROM job FORCE INDEX (jobq_lane)
     WHERE @id IS NULL AND func_id = @f AND grabbed_until = 0 AND priority = @p AND run_after <= @now
       AND (run_after > @r OR (run_after = @r AND id > @head)) AND id <= ${MAX_ID} ${butHeld} ${FIRST} FOR UPDATE SKIP LOCKED`,
    `UPDATE job SET grabbed_until = @now + ${want.lease} WHERE id = @id`,
    `SELECT ${jobColumns(link)}, (SELECT context FROM jobq_context WHERE job_id = @id) AS context
     FROM job WHERE id = @id`,
  ]
  for (let i = 0; i < count; i++) statements.push(...take)
  return statements
}

/** The jobs that the statements of `takes`, or the procedure, have got. */
export function taken(lanes: MysqlLanes, replies: readonly Reply[]): JobRow[] {
  const rows = replies.flatMap(({rows}) => rows).filter(row => (row.grabbed_until ?? null) !== null)
  const jobs = rows.map(row => takenJob(lanes, row))
  for (const {funcId} of jobs) lanes.served(funcId)
  return jobs
}

function takenJob(lanes: MysqlLanes, row: Row): JobRow {
  const job = jobOf(row)
  job.func = lanes.nameOf(job.funcId)
  return row.context === null ? job : {...job, context: textOf(row.context)}
}

/** What must be so for a take to be right; if it is not, nothing is taken, and a look tells why. */
function guards(lanes: MysqlLanes, link: Link, want: Want, ids: readonly number[]): string[] {
  const known = lanes.paused.map(literal)
  const unknown = lanes.unknown(want)
  return [
    `(SELECT COUNT(*) FROM jobq_pause) = ${known.length}`,
    ...(known.length > 0
      ? [`(SELECT COUNT(*) FROM jobq_pause WHERE func IN (${known.join(', ')})) = ${known.length}`]
      : []),
    ...(unknown.length > 0 ? [`NOT EXISTS (${selectFuncs(link, unknown)})`] : []),
    // Backwards from now, where live entries are: behind now lie those of leases that were settled and not purged yet
    ...ids.map(
      id => `COALESCE((SELECT grabbed_until FROM job FORCE INDEX (jobq_lane)
        WHERE func_id = ${id} AND grabbed_until <= @now AND id <= ${MAX_ID}
        ORDER BY grabbed_until DESC LIMIT 1), 0) = 0`,
    ),
  ]
}
