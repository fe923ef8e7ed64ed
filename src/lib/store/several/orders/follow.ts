/** What jobs of several databases write, for who follows them: each database has its own. */

import type {RowRef} from '../../../jobs/job.ts'
import type {Followed, Told, Written} from '../../../jobs/side-tables/orders.ts'
import type {Databases} from '../database.ts'

export function followIn(databases: Databases, ref: RowRef, mine?: number): Promise<Followed> {
  return databases.at(ref).use(store => store.follow({id: ref.id}, mine))
}

export function unfollowIn(databases: Databases, ref: RowRef, orderedAt: number): Promise<void> {
  return databases.at(ref).use(store => store.unfollow({id: ref.id}, orderedAt))
}

export function toldIn(databases: Databases, ref: RowRef, after: number): Promise<Told[]> {
  return databases.at(ref).use(store => store.told({id: ref.id}, after))
}

/** Where a database can't be asked, who follows reads nothing either. */
export async function tellIn(databases: Databases, written: readonly Written[]): Promise<void> {
  const parts = [...Map.groupBy(written, job => databases.at(job))].map(([database, mine]) =>
    database.ifAlive(store => store.tell(mine.map(({db: _, ...job}) => job))),
  )
  await Promise.all(parts)
}

export async function forgetFollowedIn(databases: Databases): Promise<void> {
  await Promise.all([...databases].map(database => database.ifAlive(store => store.forgetFollowed())))
}
