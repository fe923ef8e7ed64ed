/**
 * The thread of a bulk (bulk.ts): it is sent stretches of jobs and inserts them in one transaction, until it is told to
 * commit. What fails is rolled back at once, and told.
 */
import {parentPort, workerData} from 'node:worker_threads'
import type {NewJob} from '../../jobs/job.ts'
import {connectLike, type LinkAddress, type SqliteLink} from './connection.ts'
import {SqliteInsert} from './insert.ts'
import {type Failure, failureOf} from './thread-errors.ts'

/** What it is told: jobs, or what to do. */
export type Order = readonly NewJob[] | 'commit' | 'end'

export type Answer = {taken: true} | {committed: number} | {failed: Failure}

const address = workerData as LinkAddress
let link: SqliteLink | undefined
let inserts: SqliteInsert
let inserted = 0
let hasFailed = false

let orders = Promise.resolve()
parentPort!.on('message', (order: Order) => {
  orders = orders.then(() => obey(order))
})

async function obey(order: Order): Promise<void> {
  if (order === 'end') {
    if (link?.db.inTransaction) await leave()
    link?.close()
    parentPort!.close()
    return
  }
  if (hasFailed) return
  try {
    link ??= await open()
    say(order === 'commit' ? {committed: await commit(link)} : await insert(link, order))
  } catch (error) {
    hasFailed = true
    await leave()
    say({failed: failureOf(error)})
  }
}

/** Rolls back. What of it is in the -wal is cut off: it may be all that the file system had room for. */
async function leave(): Promise<void> {
  try {
    if (link?.db.inTransaction) link.db.exec('ROLLBACK')
    await link?.cutWal()
  } finally {
    link?.close()
    link = undefined
  }
}

async function open(): Promise<SqliteLink> {
  const opened = connectLike(address)
  await opened.setDurable(address.isDurable)
  inserts = new SqliteInsert(opened)
  return opened
}

async function commit(link: SqliteLink): Promise<number> {
  link.file?.look() // a bulk may take long
  await link.patiently(() => link.sql('COMMIT').run())
  link.ring()
  return inserted
}

async function insert(link: SqliteLink, jobs: readonly NewJob[]): Promise<Answer> {
  if (!link.db.inTransaction) await link.patiently(() => link.sql('BEGIN IMMEDIATE').run())
  inserted = inserts.insertAll(jobs, inserted)
  return {taken: true}
}

function say(answer: Answer): void {
  parentPort!.postMessage(answer)
}
