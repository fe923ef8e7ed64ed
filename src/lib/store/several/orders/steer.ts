/** Jobs of several databases cancelled and edited, and what is ordered of them: each database is asked for its own. */
import {isPassing} from '../../../jobs/errors.ts'
import type {CancelledJob, EnqueuedJob, JobChanges, JobState, RowRef} from '../../../jobs/job.ts'
import type {Order} from '../../../jobs/side-tables/orders.ts'
import type {Store} from '../../store.ts'
import type {Databases} from '../database.ts'

/** What was cancelled in one is told, though another is out of reach. @throws StoreError if all that are asked are */
export async function cancelIn(
  databases: Databases,
  jobs: readonly RowRef[],
  state?: JobState,
): Promise<CancelledJob[]> {
  const there = jobs.filter(job => databases.has(job))
  const failures: unknown[] = []
  const found = await databases.whereAre(there, (database, mine) =>
    database
      .use(store => store.cancel(mine, state))
      .catch(error => {
        if (!isPassing(error)) throw error
        failures.push(error)
        return []
      }),
  )
  const asked = new Set(there.map(({db}) => db))
  if (failures.length > 0 && failures.length === asked.size) throw failures[0]
  return found
}

/** Where a database can't be asked, none is known: its jobs can't be settled either. */
export async function ordersIn(databases: Databases): Promise<Order[]> {
  const parts = [...databases].map(async database => {
    const orders = (await database.ifAlive(store => store.orders())) ?? []
    return orders.map(order => ({...order, db: database.index}))
  })
  return (await Promise.all(parts)).flat()
}

export function hearIn(databases: Databases, orders: readonly Order[]): Promise<Order[]> {
  return each(databases, orders, async (database, mine) => {
    return (await database.ifAlive(store => store.hear(mine))) ?? []
  })
}

export function withdrawIn(databases: Databases, orders: readonly Order[]): Promise<Order[]> {
  return each(databases, orders, (database, mine) => database.use(store => store.withdraw(mine)))
}

export async function forgetIn(databases: Databases, jobs: readonly RowRef[]): Promise<void> {
  await databases.whereAre(jobs, async (database, mine) => {
    await database.ifAlive(store => store.forgetOrders(mine))
    return []
  })
}

export async function editIn(
  databases: Databases,
  ref: RowRef,
  changes: JobChanges,
): Promise<EnqueuedJob | 'gone' | 'running'> {
  const database = databases.at(ref)
  const edited = await database.use((store: Store) => store.edit(ref.id, changes))
  return typeof edited === 'string' ? edited : {...edited, db: database.index}
}

async function each(
  databases: Databases,
  orders: readonly Order[],
  ask: (database: ReturnType<Databases['at']>, mine: readonly Order[]) => Promise<Order[]>,
): Promise<Order[]> {
  const parts = [...Map.groupBy(orders, order => databases.at(order))].map(async ([database, mine]) => {
    const found = await ask(
      database,
      mine.map(({id, what}) => ({id, what})),
    )
    return found.map(order => ({...order, db: database.index}))
  })
  return (await Promise.all(parts)).flat()
}
