/** Rows of jobq_manager as they are read, by the same names on every driver. */
import type {ManagerRow} from '../../jobs/manager.ts'
import {textOf} from './reads/reading.ts'

/** No manager writes more; of what someone else has put there no more is read. */
export const MAX_STATE_CHARACTERS = 1 << 17

/** @param row `now` and the columns, numbers as numbers or in their digits */
export function managerRow(row: Record<string, unknown>): ManagerRow {
  return {
    id: Number(row.id),
    host: textOf(row.host),
    pid: Number(row.pid),
    startedAt: Number(row.started_at),
    seenAt: Number(row.seen_at),
    now: Number(row.now),
    state: textOf(row.state),
  }
}
