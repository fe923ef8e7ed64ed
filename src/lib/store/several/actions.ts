/** The log of actions over several databases: a row is in whichever could be reached, and they are told as one. */

import type {RowRef} from '../../jobs/job.ts'
import type {Action, ActionRow} from '../../jobs/side-tables/actions.ts'
import type {ActionPage} from '../store.ts'
import type {Databases} from './database.ts'
import {byAge} from './merge.ts'

/** As Store.logAction. */
export function logActionIn(databases: Databases, action: Action): Promise<RowRef> {
  return databases.any(async (store, db) => ({...(await store.logAction(action)), db}))
}

/** As Store.countAction. */
export function countActionIn(databases: Databases, action: RowRef, jobs: number): Promise<void> {
  return databases.at(action).use(store => store.countAction(action, jobs))
}

/** As Store.actions. */
export async function actionsIn(databases: Databases, {limit, after}: ActionPage): Promise<ActionRow[]> {
  const found = await databases.all(async (store, db) => {
    const rows = await store.actions({limit, after: after?.filter(row => row.db === db)})
    return rows.map(row => ({...row, db}))
  })
  return found
    .flatMap(([, rows]) => rows)
    .sort(byAge(row => row.doneAt))
    .slice(0, limit)
}
