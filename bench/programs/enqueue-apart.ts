/** A peer's queue in this process alone: opens it, and enqueues as many as each message asks for. */
import {perSecond} from '../lib/measure.ts'
import type {PeerQueue} from '../lib/peers.ts'

const [module, folder] = process.argv.slice(2)
const answer = (message: object) => process.send!(message)
try {
  const {open} = (await import(module!)) as {open(folder: string): Promise<Required<PeerQueue>>}
  const queue = await open(folder!)
  process.on('message', async (count: number) => {
    answer({rate: await perSecond(count, () => queue.enqueue(count))})
  })
  process.on('disconnect', () => queue.close())
  answer({})
} catch (error) {
  answer({failure: (error as Error).message})
  process.disconnect()
}
