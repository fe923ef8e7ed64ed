/** Brings a database to jobq's schema: one process at a time, while Qudo works on it. */
import {setTimeout as sleep} from 'node:timers/promises'
import {monotonic} from '../clock.ts'
import {StoreError} from '../errors.ts'
import {texts} from './postgres-arrays.ts'
import type {Send} from './postgres-link.ts'
import {PRESENT, type Present, type SchemaStep, schemaPlan, TABLE_NAMES} from './postgres-schema.ts'

/** How long another init is waited for. */
const PATIENCE_MS = 300_000

/** @throws StoreError FOREIGN, as schemaPlan */
export async function missingIn(send: Send, name: string): Promise<SchemaStep[]> {
  return schemaPlan(await presentIn(send), name)
}

/** @param send on a connection of its own: the lock goes with it. @returns what was done */
export async function prepare(send: Send, name: string): Promise<SchemaStep[]> {
  if ((await missingIn(send, name)).length === 0) return []
  await lock(send, name)
  const steps = await missingIn(send, name)
  // The lock_timeout of the connection bounds how long a busy table's writers queue behind this
  await send('BEGIN')
  try {
    for (const {sql} of steps.filter(step => !isLater(step))) await send(sql)
    await send('COMMIT')
  } catch (error) {
    await send('ROLLBACK').catch(() => {})
    throw error
  }
  await send('SET lock_timeout = 0') // CREATE INDEX CONCURRENTLY waits for all transactions that are older
  for (const {sql} of steps.filter(isLater)) await send(sql)
  return steps
}

/** Asked for again and again, not waited for: who waits holds a snapshot, and CREATE INDEX CONCURRENTLY waits for it. */
async function lock(send: Send, name: string): Promise<void> {
  const giveUpAt = monotonic() + PATIENCE_MS
  for (;;) {
    const sql = `SELECT pg_try_advisory_lock(hashtext('jobq init'), current_schema()::REGNAMESPACE::OID::INTEGER) AS mine`
    if ((await send(sql)).rows[0]!.mine) return
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
