/**
 * The managers' rows on MySQL: each statement a transaction. Rows of the gone are looked for without a lock: a DELETE that
 * reads them all would wait for the beats of others, and they for it.
 */
import {type Beat, FORGOTTEN_SECONDS, type ManagerRow} from '../../../jobs/manager.ts'
import {MAX_STATE_CHARACTERS, managerRow} from '../../shared/managers.ts'
import {literal, type MysqlConnection} from '../connections/connection.ts'

/** Also seen in the future: the clock was set back since. */
const GONE = `CAST(seen_at AS SIGNED) NOT BETWEEN UNIX_TIMESTAMP() - ${FORGOTTEN_SECONDS} AND UNIX_TIMESTAMP() + ${FORGOTTEN_SECONDS}`

export async function beat(link: MysqlConnection, {id, host, pid, uptime, state}: Beat): Promise<void> {
  const [, gone] = await link.batch([
    `INSERT INTO jobq_manager (id, host, pid, started_at, seen_at, state)
     VALUES (${id}, ${literal(host)}, ${pid}, UNIX_TIMESTAMP() - ${uptime}, UNIX_TIMESTAMP(), ${literal(state)})
     ON DUPLICATE KEY UPDATE seen_at = VALUES(seen_at), state = VALUES(state)`,
    `SELECT id FROM jobq_manager WHERE ${GONE}`,
  ])
  const ids = gone!.rows.map(row => String(row.id)).filter(digits => /^\d+$/.test(digits))
  if (ids.length > 0) await link.run(`DELETE FROM jobq_manager WHERE id IN (${ids}) AND ${GONE}`)
}

export async function leave(link: MysqlConnection, id: number): Promise<void> {
  await link.run(`DELETE FROM jobq_manager WHERE id = ${id}`)
}

export async function managers(link: MysqlConnection): Promise<ManagerRow[]> {
  const {rows} = await link.run(
    `SELECT id, host, pid, started_at, seen_at, UNIX_TIMESTAMP() AS now, LEFT(state, ${MAX_STATE_CHARACTERS}) AS state
     FROM jobq_manager ORDER BY started_at, id`,
  )
  return rows.map(managerRow)
}
