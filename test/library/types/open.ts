/** An application that has said nothing of its functions: any name, any argument. */
import {defineWorker, JobQueue} from 'jobq'

const queue = await JobQueue.open()
const func: string = 'Notify'
await queue.enqueue(func)
await queue.enqueue('Notify', {arg: {to: 'ada@example.com'}})
await queue.enqueue('Notify', {arg: 5, runAfter: new Date(), serializer: 'none'})
// @ts-expect-error an option that is misspelt
await queue.enqueue('Notify', {unique: 'x'})
// @ts-expect-error no name
await queue.enqueue()
// @ts-expect-error a name of a wrong type
await queue.enqueue(5)

export const typed = defineWorker<{to: string}>({
  work({arg, replace}) {
    replace({func: 'Anything', arg: arg.to}, {func: 'Other'})
    // @ts-expect-error no such key
    return arg.from
  },
})

export const named = defineWorker('Notify', {
  work({arg}) {
    // @ts-expect-error nothing is known of it
    return arg.to
  },
})

export const plain = defineWorker({
  work({arg}) {
    // @ts-expect-error nothing is known of it
    return arg.to
  },
})

// @ts-expect-error a key that is misspelt
defineWorker({wrok() {}})
