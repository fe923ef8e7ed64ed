/**
 * An application that enqueues until it is told to end (or killed): one by one, several at once, in bulk, with keys,
 * delayed. Offers and acknowledgements go into the journal. node enqueuer.ts NAME SEED, with JOBQ_DB and JOURNAL.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {type EnqueueOptions, JobQueue} from '../../../src/lib/index.ts'
import {JobqError} from '../../../src/lib/jobs/errors.ts'
import {Random} from '../../support/random.ts'
import {Journal} from './journal.ts'

const [name = '', seed] = process.argv.slice(2)
const random = new Random(Number(seed))
const journal = new Journal(process.env.JOURNAL!)
let isEnding = false
process.once('SIGTERM', () => (isEnding = true))

const WAYS = {one: 8, together: 4, bulk: 2, key: 4, delayed: 2, exec: 4}
const queue = await JobQueue.open()
for (let nth = 0; !isEnding; nth++) {
  const way = random.weighted(WAYS)
  const offer = `${name}.${nth}`
  if (way === 'bulk') await enqueueBulk(offer)
  else if (way === 'together')
    await Promise.all(Array.from({length: 3}, (_, i) => enqueue(`${offer}.${i}`, 'Mod', {})))
  else if (way === 'key') await enqueue(offer, 'Mod', {uniqkey: `k${random.between(0, 4)}`})
  else if (way === 'delayed') await enqueue(offer, 'Mod', {delay: 1})
  else await enqueue(offer, way === 'exec' ? 'Exec' : 'Mod', {priority: random.between(0, 3)})
  await sleep(random.between(20, 120))
}
await queue.close()

async function enqueue(offer: string, func: 'Mod' | 'Exec', options: EnqueueOptions): Promise<void> {
  const arg = argOf(offer, func)
  journal.write('offer', offer, func, options.uniqkey ?? '-', offer)
  await acknowledged(offer, () => queue.enqueue(func, {...options, arg}).then(({id}) => id))
}

async function enqueueBulk(offer: string): Promise<void> {
  const tokens = Array.from({length: 8}, (_, i) => `${offer}.${i}`)
  const jobs = tokens.map(token => ({func: 'Mod', arg: argOf(token, 'Mod')}))
  journal.write('offer', offer, 'Mod', '-', ...tokens)
  await acknowledged(offer, () => queue.enqueueMany(jobs).then(() => ''))
}

async function acknowledged(offer: string, store: () => Promise<number | string>): Promise<void> {
  try {
    const id = await store()
    journal.write('stored', offer, id)
  } catch (error) {
    if (!(error instanceof JobqError)) throw error
    journal.write('refused', offer, error.code)
  }
}

function argOf(token: string, func: 'Mod' | 'Exec'): string {
  const fails = Number(random.weighted({0: 85, 1: 8, 2: 4, 9: 3}))
  const then = func === 'Mod' && random.chance(0.1) ? `${token}.then` : '-'
  const ms = random.between(0, 9) * Number(random.weighted({1: 6, 9: 3, 60: func === 'Mod' ? 1 : 0}))
  return `${token} ${ms} ${fails} ${then}`
}
