/** Brings a database to jobq's schema: one process at a time, while Qudo works on it. */
import {setTimeout as sleep} from 'node:timers/promises'
import {monotonic} from '../../jobs/clock.ts'
import {StoreError} from '../../jobs/errors.ts'
import {texts} from './arrays.ts'
import type {Send} from './connections/connections.ts'
import {PRESENT, type Present, type SchemaStep, schemaPlan, TABLE_NAMES} from './schema.ts'

/** How long another init is waited for. */
const PATIENCE_MS = 300_000

/** @throws StoreError FOREIGN, as schemaPlan */
export async function missingIn(send: Send, name: string): Promise<SchemaStep[]> {
  return schemaPlan(await presentIn(send), name)
}

/**
 * @param send on a connection of its own: the lock goes with it
 * @param build likewise, for what may take hours
 * @param isPooled nothing outlasts a transaction on it: then all is one, for which the tables are locked
 * @returns what was done
 */
export async function prepare(
  name: string,
  send: Send,
  build: Send,
  isPooled: boolean,
): Promise<SchemaStep[]> {
  if ((await missingIn(send, name)).length === 0) return []
  if (isPooled) return atOnce(name, send, build)
  await lock(send, name)
  const steps = await missingIn(send, name)
  // The lock_timeout of the connection bounds how long a busy table's writers queue behind this
  await transact(send, async () => {
    for (const {sql} of steps.filter(step => !isLater(step))) await build(sql)
  })
  await send('SET lock_timeout = 0') // CREATE INDEX CONCURRENTLY waits for all transactions that are older
  for (const {sql} of steps.filter(isLater)) await build(sql)
  return steps
}

async function atOnce(name: string, send: Send, build: Send): Promise<SchemaStep[]> {
  return transact(send, async () => {
    await send(`SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock(${LOCK})`)
    const steps = await missingIn(send, name)
    for (const {sql} of steps) await build(sql.replace(' CONCURRENTLY', ''))
    return steps
  })
}

async function transact<T>(send: Send, work: () => Promise<T>): Promise<T> {
  await send('BEGIN')
  try {
    const result = await work()
    await send('COMMIT')
    return result
  } catch (error) {
    await send('ROLLBACK').catch(() => {})
    throw error
  }
}

const LOCK = `hashtext('jobq init'), current_schema()::REGNAMESPACE::OID::INTEGER`

/** Asked for again and again, not waited for: who waits holds a snapshot, and CREATE INDEX CONCURRENTLY waits for it. */
async function lock(send: Send, name: string): Promise<void> {
  const giveUpAt = monotonic() + PATIENCE_MS
  for (;;) {
    if ((await send(`SELECT pg_try_advisory_lock(${LOCK}) AS mine`)).rows[0]!.mine) return
    if (monotonic() > giveUpAt)
      throw new StoreError('LOCKED', `another \`jobq init\` is at work on ${name}`, {
        hint: 'wait for it; pg_stat_activity shows what it does',
      })
    await sleep(100)
  }
}

/** What is done outside a transaction; the version is written behind it, when all is there. */
function isLater({sql, isConcurrent}: SchemaStep): boolean {
  return isConcurrent === true || sql.startsWith('INSERT INTO jobq_schema')
}

async function presentIn(send: Send): Promise<Present> {
  const {rows} = await send({name: 'jobq_present', text: PRESENT}, [texts(TABLE_NAMES)])
  const present = rows[0]!.present as Omit<Present, 'version'>
  if (!present.tables.jobq_schema) return {...present, version: null}
  const versions = await send('SELECT max(version) AS version FROM jobq_schema')
  return {...present, version: versions.rows[0]!.version as number | null}
}
