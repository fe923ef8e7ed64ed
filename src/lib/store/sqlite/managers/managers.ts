/**
 * The managers' rows on SQLite. A beat waits for no disk, and rings no bell: who watches the file sees it change all the
 * same, and looks for jobs in vain, which is why idle managers beat together (work/status/heartbeat.ts).
 */
import {type Beat, FORGOTTEN_SECONDS, type ManagerRow} from '../../../jobs/manager.ts'
import {MAX_STATE_CHARACTERS, managerRow} from '../../shared/managers.ts'
import type {SqliteConnection} from '../connection.ts'

const BEAT = `INSERT INTO jobq_manager (id, host, pid, started_at, seen_at, state) VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, state = excluded.state`
/** Seen in the future: the clock was set back since. */
const FORGET = 'DELETE FROM jobq_manager WHERE seen_at NOT BETWEEN ? AND ?'
/** Numbers in their digits: a column takes anything, and no number of SQLite's must throw. */
const ALL = `SELECT CAST(id AS TEXT) AS id, CAST(host AS TEXT) AS host, CAST(pid AS TEXT) AS pid,
    CAST(started_at AS TEXT) AS started_at, CAST(seen_at AS TEXT) AS seen_at,
    substr(CAST(state AS TEXT), 1, ${MAX_STATE_CHARACTERS}) AS state FROM jobq_manager ORDER BY jobq_manager.started_at, jobq_manager.id`

export function beat(link: SqliteConnection, {id, host, pid, uptime, state}: Beat): Promise<void> {
  return link.writeLazily(() => {
    const now = link.now()
    link.sql(FORGET).run(now - FORGOTTEN_SECONDS, now + FORGOTTEN_SECONDS)
    link.sql(BEAT).run(id, host, pid, now - uptime, now, state)
  })
}

export async function leave(link: SqliteConnection, id: number): Promise<void> {
  await link.writeLazily(() => link.sql('DELETE FROM jobq_manager WHERE id = ?').run(id))
}

/** None where an older jobq has made the file, and it can only be read. */
export function managers(link: SqliteConnection): Promise<ManagerRow[]> {
  return link.read(() => {
    const table = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'jobq_manager'"
    if (link.pluck(table).get() === 0) return []
    const now = link.now()
    return (link.sql(ALL).all() as Record<string, unknown>[]).map(row => managerRow({...row, now}))
  })
}
