/** The managers' rows on PostgreSQL: a statement each. */
import {type Beat, FORGOTTEN_SECONDS} from '../../../jobs/manager.ts'
import {MAX_STATE_CHARACTERS} from '../../shared/managers.ts'
import {NOW, type Statement, type Value} from '../connections/connections.ts'

/** Seen in the future: the clock was set back since. Its own row is not among the gone: it may have slept for long, and one statement changes a row once. */
export const BEAT: Statement = {
  name: 'jobq_beat',
  text: `WITH gone AS (DELETE FROM jobq_manager
      WHERE seen_at NOT BETWEEN ${NOW} - ${FORGOTTEN_SECONDS} AND ${NOW} + ${FORGOTTEN_SECONDS} AND id <> $1::BIGINT)
    INSERT INTO jobq_manager AS its (id, host, pid, started_at, seen_at, state)
    VALUES ($1::BIGINT, $2::TEXT, $3::INTEGER, ${NOW} - $4::INTEGER, ${NOW}, $5::TEXT)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, state = excluded.state`,
}
export const LEAVE: Statement = {
  name: 'jobq_leave',
  text: 'DELETE FROM jobq_manager WHERE id = $1::BIGINT',
}
export const MANAGERS: Statement = {
  name: 'jobq_managers',
  text: `SELECT id, host, pid, started_at, seen_at, ${NOW} AS now, left(state, ${MAX_STATE_CHARACTERS}) AS state
    FROM jobq_manager ORDER BY started_at, id`,
}

export function beatValues({id, host, pid, uptime, state}: Beat): Value[] {
  return [id, host, pid, uptime, state]
}
