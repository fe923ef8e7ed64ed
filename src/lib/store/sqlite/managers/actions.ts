/** The log of actions on SQLite. */

import type {RowRef} from '../../../jobs/job.ts'
import type {Action, ActionRow} from '../../../jobs/side-tables/actions.ts'
import type {ActionPage} from '../../store.ts'
import type {SqliteConnection} from '../connection.ts'

const LOG = 'INSERT INTO jobq_action (done_at, who, what, jobs) VALUES (?, ?, ?, 0)'
const COUNT = 'UPDATE jobq_action SET jobs = ? WHERE id = ?'
const ACTIONS = `SELECT id, done_at AS doneAt, CAST(who AS TEXT) AS who, CAST(what AS TEXT) AS what, jobs
  FROM jobq_action WHERE id < ? ORDER BY id DESC LIMIT ?`

export function logAction(link: SqliteConnection, {who, what}: Action): Promise<RowRef> {
  return link.write(() => ({id: Number(link.sql(LOG).run(link.now(), who, what).lastInsertRowid)}))
}

export async function countAction(link: SqliteConnection, {id}: RowRef, jobs: number): Promise<void> {
  await link.write(() => link.sql(COUNT).run(jobs, id))
}

export function actions(link: SqliteConnection, {limit, after}: ActionPage): Promise<ActionRow[]> {
  return link.read(
    () => link.sql(ACTIONS).all(after?.[0]?.id ?? Number.MAX_SAFE_INTEGER, limit) as ActionRow[],
  )
}
