/**
 * A process that enqueues one job after the other until it is told to stop, as a script does: node cluster-enqueuer.ts NAME.
 * Its parent hears of each, by a message: what was acknowledged, and what was not. Where it is not known whether one is stored
 * it is enqueued again under the token that the error has told.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {JobQueue, StoreError} from '../../src/lib/index.ts'

const [name = ''] = process.argv.slice(2)
/** After one that was refused. */
const PAUSE_MS = 100
/** Between two: a node that comes back needs the machine, too. */
const REST_MS = 30

await using queue = await JobQueue.open()
let isOver = false
process.once('message', () => {
  isOver = true
})
for (let n = 1; !isOver; n++) {
  await enqueue(`${name}${n}`)
  await sleep(REST_MS)
}
process.disconnect()

async function enqueue(arg: string): Promise<void> {
  for (let token: string | undefined; ; ) {
    try {
      const {id} = await queue.enqueue('Note', {arg, token})
      process.send!({arg, id})
      return
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      process.send!({arg, code: error.code})
      token ??= error.token
      await sleep(PAUSE_MS)
      if (token === undefined) return
    }
  }
}
