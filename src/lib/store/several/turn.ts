/** Taking jobs from several databases, by priority across them, and settling them where they are. */

import type {Lease, RowRef, Settlement} from '../../jobs/job.ts'
import type {DeathRow} from '../../jobs/rows/history.ts'
import type {Peek, SettleResult, Turn, Want} from '../store.ts'
import type {Databases} from './database.ts'

/** What has ended is settled where it is; then jobs are taken one by one, each from where the best one is. */
export async function turnOf(
  databases: Databases,
  settlements: readonly Settlement[],
  want: Want,
): Promise<Turn> {
  const settled = new Array<SettleResult>(settlements.length).fill({held: false, isPending: true})
  const turn: Turn = {settled, buried: [], jobs: [], nextDueIn: null, now: Math.floor(Date.now() / 1000)}
  for (const database of databases) {
    const mine = [...settlements.entries()].filter(([, {lease}]) => lease.db === database.index)
    if (mine.length === 0) continue
    const ends = mine.map(([, item]) => item)
    const turned = database.ifAlive(store => store.turn(ends, {...want, limit: 0}))
    const results = await turned
      .then(part => part?.settled)
      .catch((error: unknown) => {
        // What one does not take must not hide what others have settled
        if (settlements.length === 1) throw error
        return mine.map((): SettleResult => ({held: false, isRefused: true}))
      })
    for (const [k, [i]] of mine.entries()) if (results) settled[i] = results[k]!
  }
  while (turn.jobs.length < want.limit && (await takeOne(databases, want, turn)));
  return turn
}

/** @returns whether there may be more to take */
async function takeOne(databases: Databases, want: Want, turn: Turn): Promise<boolean> {
  const peeks = await Promise.all(
    [...databases].map(async database => ({
      database,
      peek: await database.ifAlive(store => store.peek(want)),
    })),
  )
  const best = peeks.reduce((best, next) => (isSooner(next.peek, best.peek) ? next : best))
  const chosen = best.peek?.head ? best : peeks.find(({peek}) => peek?.nextDueIn === 0)
  turn.nextDueIn = soonest(peeks.map(({peek, database}) => (peek ? peek.nextDueIn : database.backIn)))
  if (!chosen) return false
  const part = await chosen.database.ifAlive(store => store.turn([], {...want, limit: 1}))
  if (!part) return true
  const {index: db} = chosen.database
  turn.now = part.now
  turn.buried.push(...part.buried.map(job => ({...job, db})))
  turn.jobs.push(...part.jobs.map(job => ({...job, db})))
  if (part.jobs.length === 0) turn.nextDueIn = soonest([turn.nextDueIn || null, part.nextDueIn, 1])
  return part.jobs.length > 0 || part.buried.length > 0
}

export async function peekAt(databases: Databases, want: Want): Promise<Peek> {
  const peeks = await databases.all(store => store.peek(want))
  const best = peeks.map(([, peek]) => peek).reduce((best, next) => (isSooner(next, best) ? next : best))
  return {head: best.head, nextDueIn: soonest(peeks.map(([, {nextDueIn}]) => nextDueIn))}
}

/** Where a database can't be asked, its leases are taken to hold: they are shorter than its absence, or they hold. */
export async function renewIn(
  databases: Databases,
  leases: readonly Lease[],
  seconds: number,
): Promise<Lease[]> {
  const parts = await Promise.all(
    [...databases].map(async database => {
      const mine = leases.filter(({db}) => db === database.index)
      if (mine.length === 0) return []
      const renewed = await database.ifAlive(store => store.renew(mine, seconds))
      return renewed ? renewed.map(lease => ({...lease, db: database.index})) : mine
    }),
  )
  return parts.flat()
}

/** Where a database can't be asked, none is known. */
/** Of those that answer. */
export async function deathsIn(databases: Databases): Promise<DeathRow[]> {
  const all = await databases.all(store => store.deaths())
  return all.flatMap(([{index: db}, deaths]) => deaths.map(death => ({...death, db})))
}

export function diedIn(databases: Databases, jobs: readonly RowRef[]): Promise<RowRef[]> {
  return databases.whereAre(jobs, async (database, mine) => {
    return (await database.ifAlive(store => store.died(mine))) ?? []
  })
}

function isSooner(a: Peek | null, b: Peek | null): boolean {
  if (!a?.head) return false
  if (!b?.head) return true
  return (
    a.head.priority > b.head.priority ||
    (a.head.priority === b.head.priority && a.head.dueFor > b.head.dueFor)
  )
}

function soonest(times: readonly (number | null)[]): number | null {
  const known = times.filter(time => time !== null)
  return known.length === 0 ? null : Math.min(...known)
}
