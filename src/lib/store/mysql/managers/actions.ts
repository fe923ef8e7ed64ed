/** The log of actions on MySQL: a statement each. */

import type {RowRef} from '../../../jobs/job.ts'
import type {Action, ActionRow} from '../../../jobs/side-tables/actions.ts'
import type {ActionPage} from '../../store.ts'
import {literal, type MysqlConnection, textOf} from '../connections/connection.ts'

export async function logAction(link: MysqlConnection, {who, what}: Action): Promise<RowRef> {
  const {insertId} = await link.run(
    `INSERT INTO jobq_action (done_at, who, what, jobs) VALUES (UNIX_TIMESTAMP(), ${literal(who)}, ${literal(what)}, 0)`,
  )
  return {id: insertId}
}

export async function countAction(link: MysqlConnection, {id}: RowRef, jobs: number): Promise<void> {
  await link.run(`UPDATE jobq_action SET jobs = ${jobs} WHERE id = ${id}`)
}

export async function actions(link: MysqlConnection, {limit, after}: ActionPage): Promise<ActionRow[]> {
  const last = after?.[0]?.id ?? Number.MAX_SAFE_INTEGER
  const {rows} = await link.run(
    `SELECT id, done_at, who, what, jobs FROM jobq_action WHERE id < ${last} ORDER BY id DESC LIMIT ${limit}`,
  )
  return rows.map(({id, done_at: doneAt, who, what, jobs}) => ({
    id: Number(id),
    doneAt: Number(doneAt),
    who: textOf(who),
    what: textOf(what),
    jobs: Number(jobs),
  }))
}
