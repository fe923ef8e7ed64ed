/** Jobs that are taken, or put back for later, by their ids, beside a dispatcher's turns: each function a transaction. */
import type {Postponement, RowRef} from '../../../jobs/job.ts'
import type {Claimed, ClaimOptions} from '../../store.ts'
import {NEVER} from '../after.ts'
import {type MysqlConnection, textOf} from '../connections/connection.ts'
import {jobColumns, jobOf} from '../rows.ts'
import {unparking} from '../shares/share.ts'

/** As Store.postpone. A row whose turn is being committed is waited for. */
export async function postpone(link: MysqlConnection, jobs: readonly Postponement[]): Promise<void> {
  const updates = jobs.map(
    ({lease, seconds}) =>
      `UPDATE job SET run_after = LEAST(UNIX_TIMESTAMP() + ${seconds}, ${NEVER - 1})
       WHERE id = ${lease.id} AND grabbed_until = ${lease.grabbedUntil}`,
  )
  await link.batch(['START TRANSACTION', ...updates, 'COMMIT'])
}

/** As Store.claim. Tables of subqueries are not locked with the rows that are selected. */
export async function claim(
  link: MysqlConnection,
  jobs: readonly RowRef[],
  seconds: number,
  {early = false, parked = false}: ClaimOptions = {},
): Promise<Claimed> {
  const free = early
    ? `grabbed_until <= @now AND run_after <> ${NEVER} ORDER BY id FOR UPDATE`
    : 'grabbed_until = 0 AND run_after <= @now ORDER BY id FOR UPDATE SKIP LOCKED'
  const ids = jobs.map(({id}) => id)
  const replies = await link.batch([
    'START TRANSACTION',
    ...(parked ? [`SELECT id FROM job WHERE id IN (${ids}) ORDER BY id FOR UPDATE`, ...unparking(ids)] : []),
    'SET @now = UNIX_TIMESTAMP()',
    `SELECT ${jobColumns(link)}, (SELECT ${link.names.select('name')} FROM func WHERE func.id = func_id) AS func,
       (SELECT context FROM jobq_context WHERE job_id = job.id) AS context
     FROM job WHERE id IN (${ids}) AND ${free}`,
    'SELECT @now AS now',
  ])
  const [found, clock] = replies.slice(-2)
  const now = Number(clock!.rows[0]!.now)
  const grabbedUntil = now + seconds
  const taken = found!.rows.map(row => {
    const job = {...jobOf(row), grabbedUntil}
    if (job.func === '') job.func = `#${job.funcId}`
    return row.context === null ? job : {...job, context: textOf(row.context)}
  })
  if (taken.length === 0) await link.run('ROLLBACK')
  else
    await link.batch([
      `UPDATE job SET grabbed_until = ${grabbedUntil} WHERE id IN (${taken.map(({id}) => id)})`,
      'COMMIT',
    ])
  return {jobs: taken, now}
}
