/** An application that has said what its functions take, for the whole program. */
import {defineWorker, JobQueue} from 'jobq'

declare module 'jobq' {
  interface Functions {
    Notify: {to: string; text?: string}
    Resize: {from: string; width: number}
    Cleanup: undefined
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

export const resize = defineWorker<{from: string}>({work: ({arg}) => arg.from})

/** Functions of one queue only go before those of the program. */
interface Other {
  Backup: {disk: string}
}
await using other = await JobQueue.open<Other>({db: 'other.db'})
await other.enqueue('Backup', {arg: {disk: 'sda'}})
// @ts-expect-error one of the program's, and none of this queue's
await other.enqueue('Notify', {arg: {to: 'ada@example.com'}})

queue.on('finish', event => event.outcome satisfies 'completed' | 'replaced' | 'aborted')
queue.on('fail', event => event.retryIn satisfies number | null)
// @ts-expect-error no such event
queue.on('finished', () => {})
