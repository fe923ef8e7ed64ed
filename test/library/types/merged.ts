/** An application that has said what its functions take, for the whole program. */

import type {RequestListener} from 'node:http'
import type Sqlite from 'better-sqlite3'
import {defineConfig, defineWorker, type EnqueuedJob, type Hook, type JobEnd, JobQueue} from 'jobq'
import {openTestQueue} from 'jobq/testing'
import {type WebHandler, webHandler} from 'jobq/web'
import type * as mysql from 'mysql2'
import type * as mysqlPromise from 'mysql2/promise'
import type * as pg from 'pg'

declare module 'jobq' {
  interface Plugins {
    clock: {now(): number}
  }
  interface Functions {
    Notify: {to: string; text?: string}
    Resize: {from: string; width: number}
    Cleanup: undefined
    Sum: (arg: number[] | undefined) => {sum: number}
    Report: string | null
  }
}

const queue = await JobQueue.open({db: 'jobs.db'})

await queue.enqueue('Notify', {arg: {to: 'ada@example.com'}, priority: 10})
await queue.enqueue('Cleanup')
await queue.enqueue('Cleanup', {delay: 60})
await queue.enqueue('Report')
await queue.enqueue('Report', {arg: 'monthly', uniqkey: 'monthly', tracked: true, context: {trace: 'x'}})

// @ts-expect-error a name that is misspelt
await queue.enqueue('Notfy', {arg: {to: 'ada@example.com'}})
// @ts-expect-error a key that is misspelt
await queue.enqueue('Notify', {arg: {too: 'ada@example.com'}})
// @ts-expect-error a wrong type
await queue.enqueue('Notify', {arg: {to: 5}})
// @ts-expect-error another function's argument
await queue.enqueue('Resize', {arg: {to: 'ada@example.com'}})
// @ts-expect-error no argument
await queue.enqueue('Notify')
// @ts-expect-error no argument, but options
await queue.enqueue('Notify', {priority: 1})
// @ts-expect-error undefined for an argument
await queue.enqueue('Notify', {arg: undefined})
// @ts-expect-error an option that is misspelt
await queue.enqueue('Cleanup', {prio: 1})
// @ts-expect-error an option of a wrong type
await queue.enqueue('Cleanup', {priority: '1'})
// @ts-expect-error a serializer that there is not
await queue.enqueue('Cleanup', {serializer: 'storable'})

const dynamic: string = 'Notify'
// @ts-expect-error any text is no name of a function
await queue.enqueue(dynamic)

export const notify = defineWorker('Notify', {
  maxRetries: 3,
  retryDelay: job => job.arg.to.length,
  work(job) {
    job.plugin('clock').now()
    job.others.map(({arg, id}) => [arg.to satisfies string, id satisfies number])
    // @ts-expect-error it is the one job that says how all end
    job.others[0]?.abort('no')
    job.decline('10m')
    const to: string = job.arg.to
    const text: string | undefined = job.arg.text
    // @ts-expect-error no such key
    job.arg.from
    job.replace({func: 'Resize', arg: {from: to, width: 7}}, {func: 'Cleanup'}, {func: 'Report', delay: 5})
    // @ts-expect-error another function's argument
    job.replace({func: 'Resize', arg: {to}})
    // @ts-expect-error no argument
    job.replace({func: 'Resize'})
    // @ts-expect-error a name that is misspelt
    job.replace({func: 'Resise', arg: {from: to, width: 7}})
    return text
  },
})

// @ts-expect-error a name that is misspelt
defineWorker('Notfy', {work() {}})
// @ts-expect-error a key that is misspelt
defineWorker('Cleanup', {work() {}, maxRetrys: 3})
// @ts-expect-error no work
defineWorker('Cleanup', {})

/** What was left out is null, and what it returns is what Functions says. */
export const sum = defineWorker('Sum', {
  work({arg}) {
    // @ts-expect-error it may be null
    arg.length
    // @ts-expect-error it is never undefined
    arg satisfies number[] | undefined
    return {sum: arg === null ? 0 : arg.length}
  },
})
// @ts-expect-error it returns something else
defineWorker('Sum', {work: () => ({total: 1})})
await queue.work({workers: {Sum: sum, Notify: notify, Cleanup: ({arg}) => arg satisfies null}, mode: 'drain'})
await using tested = await openTestQueue({workers: {Sum: sum}})
tested.queue satisfies JobQueue

export const resize = defineWorker<{from: string}>({work: ({arg}) => arg.from})

/** Functions of one queue only go before those of the program. */
interface Other {
  Backup: {disk: string}
}
await using other = await JobQueue.open<Other>({db: 'other.db'})
webHandler(other, {authorize: () => null}) satisfies WebHandler
webHandler(queue, {authorize: () => 'ada'}).node satisfies RequestListener
await other.enqueue('Backup', {arg: {disk: 'sda'}})
// @ts-expect-error one of the program's, and none of this queue's
await other.enqueue('Notify', {arg: {to: 'ada@example.com'}})

await queue.enqueueMany([{func: 'Cleanup'}, {func: 'Notify', arg: {to: 'ada@example.com'}, priority: 3}])
await queue.enqueueMany([1, 2].map(width => ({func: 'Resize' as const, arg: {from: 'a', width}})))
// @ts-expect-error another function's argument
await queue.enqueueMany([{func: 'Resize', arg: {to: 'ada@example.com'}}])
// @ts-expect-error no argument
await queue.enqueueMany([{func: 'Resize'}])
// @ts-expect-error a name that is misspelt
await queue.enqueueMany([{func: 'Resise', arg: {from: 'a', width: 1}}])

/** At once on better-sqlite3, later on the others. */
export async function within(
  db: Sqlite.Database,
  callbacks: mysql.Connection,
  promises: mysqlPromise.Connection,
  pooled: mysqlPromise.PoolConnection,
  client: pg.Client,
  poolClient: pg.PoolClient,
) {
  const now: EnqueuedJob = queue.enqueueIn(db, 'Notify', {arg: {to: 'ada@example.com'}})
  // @ts-expect-error another function's argument
  queue.enqueueIn(db, 'Notify', {arg: {from: 'a', width: 1}})
  // @ts-expect-error no argument
  queue.enqueueIn(db, 'Notify')
  for (const connection of [callbacks, promises, pooled, client, poolClient]) {
    const later: Promise<EnqueuedJob> = queue.enqueueIn(connection, 'Cleanup')
    await later
    // @ts-expect-error a name that is misspelt
    await queue.enqueueIn(connection, 'Cleenup')
    // @ts-expect-error it is no promise, but not at once either
    const id: number = queue.enqueueIn(connection, 'Cleanup').id
    return id
  }
  // @ts-expect-error that is no connection
  queue.enqueueIn({}, 'Cleanup')
  return now
}

const end: JobEnd = await queue.wait({id: 1, db: 2}, {timeout: 5, signal: AbortSignal.timeout(5000)})
end.outcome satisfies 'completed' | 'replaced' | 'failed' | 'aborted' | 'gone'
// @ts-expect-error an id is a number
await queue.wait('1')
const waiting: number = await queue.count('Notify', 'Resize')
// @ts-expect-error a name that is misspelt
await queue.count('Notfy')

const now: number = queue.plugin('clock').now() + waiting
// @ts-expect-error nothing is known of it
queue.plugin('clack').now()

export const hook: Hook = {
  name: 'hook',
  preEnqueue(call) {
    call.priority = now
    // @ts-expect-error a wrong type
    call.uniqkey = 5
  },
  postEnqueue: async job => job.id,
  postWork: job => job.outcome satisfies 'completed' | 'replaced' | 'failed' | 'aborted' | 'declined',
}
queue.hooks.register(hook).unregister('hook')
// @ts-expect-error a point that there is not
queue.hooks.register({name: 'x', beforeWork() {}})

export default defineConfig({
  hooks: [hook, './hooks/trace.ts'],
  plugins: {clock: {now: () => 1}, audit: './plugins/audit.ts'},
  serializer: 'msgpack',
  hookTimeout: '5s',
})
// @ts-expect-error the clock has no such thing
defineConfig({plugins: {clock: {later: () => 1}}})

queue.on('finish', event => event.outcome satisfies 'completed' | 'replaced' | 'aborted')
queue.on('fail', event => event.retryIn satisfies number | null)
// @ts-expect-error no such event
queue.on('finished', () => {})
