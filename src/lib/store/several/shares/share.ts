/** What functions share, where there are several databases: each counts what is in it. */
import type {KeyLimits, Shared, ShareRequest} from '../../../jobs/shares/limits.ts'
import type {KeySpot, SharedKeys} from '../../store.ts'
import type {Databases} from '../database.ts'

/** @param request of the database that it names, which must be there */
export async function shareIn(databases: Databases, {db, ...request}: ShareRequest): Promise<Shared> {
  const database = databases.at({id: 0, ...(db === undefined ? {} : {db})})
  const jobs = request.jobs.map(({db: _, ...job}) => job)
  const shared = await database.use(store => store.share({...request, jobs}))
  const there = (jobs: Shared['admitted']) => jobs.map(({id}) => ({id, db: database.index}))
  const {admitted, parked, lost} = shared
  return {...shared, admitted: there(admitted), parked: there(parked), lost: there(lost)}
}

/** One database after the other; what can't be reached is passed over. */
export async function sharedKeysIn(
  databases: Databases,
  func: string,
  limits: KeyLimits,
  {db: from = 1, key}: KeySpot,
): Promise<SharedKeys> {
  const db = from
  const database = databases.at({id: 0, db})
  const found = await database.ifAlive(store => store.sharedKeys(func, limits, {key}))
  const {keys, next} = found ?? {keys: [], next: null}
  if (next) return {keys, db, next: {db, key: next.key}}
  return {keys, db, next: databases.has({id: 0, db: db + 1}) ? {db: db + 1, key: ''} : null}
}

export async function unshareIn(databases: Databases, funcs: readonly string[]): Promise<boolean> {
  const parts = [...databases].map(database => database.ifAlive(store => store.unshare(funcs)))
  return (await Promise.all(parts)).some(isMore => isMore === true)
}
