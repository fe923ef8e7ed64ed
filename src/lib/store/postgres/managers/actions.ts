/** The log of actions on PostgreSQL: a statement each. */

import type {RowRef} from '../../../jobs/job.ts'
import {asciiText} from '../../../jobs/printable.ts'
import type {Action, ActionRow} from '../../../jobs/side-tables/actions.ts'
import type {ActionPage} from '../../store.ts'
import {NOW, type PostgresConnections, type Statement} from '../connections/connections.ts'

const UNTRANSLATABLE = '22P05'
const LOG: Statement = {
  name: 'jobq_log_action',
  text: `INSERT INTO jobq_action (done_at, who, what, jobs) VALUES (${NOW}, $1::TEXT, $2::TEXT, 0) RETURNING id`,
}
const COUNT: Statement = {
  name: 'jobq_count_action',
  text: 'UPDATE jobq_action SET jobs = $2::BIGINT WHERE id = $1::BIGINT',
}
const ACTIONS: Statement = {
  name: 'jobq_actions',
  text: `SELECT id, done_at AS "doneAt", who, what, jobs FROM jobq_action
    WHERE id < $1::BIGINT ORDER BY id DESC LIMIT $2::INTEGER`,
}

/** What the database has no letters for (LATIN1, say) has ? in their place: what was done is to be known. */
export async function logAction(link: PostgresConnections, {who, what}: Action): Promise<RowRef> {
  const {rows} = await link.run(LOG, [who, what]).catch((error: {code?: unknown}) => {
    if (error.code !== UNTRANSLATABLE) throw error
    return link.run(LOG, [who, what].map(asciiText))
  })
  return {id: Number(rows[0]!.id)}
}

export async function countAction(link: PostgresConnections, {id}: RowRef, jobs: number): Promise<void> {
  await link.run(COUNT, [id, jobs], true)
}

export async function actions(link: PostgresConnections, {limit, after}: ActionPage): Promise<ActionRow[]> {
  const last = after?.[0]?.id ?? Number.MAX_SAFE_INTEGER
  const {rows} = await link.run(ACTIONS, [last, limit], true)
  return rows.map(({id, doneAt, who, what, jobs}) => ({
    id: Number(id),
    doneAt: Number(doneAt),
    who: String(who),
    what: String(what),
    jobs: Number(jobs),
  }))
}
