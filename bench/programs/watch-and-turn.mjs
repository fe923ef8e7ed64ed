// A dispatcher without executors: watches the store, and starts what it grabs in the same process.
import {appendFileSync} from 'node:fs'

const [library, db, func] = process.argv.slice(2)
const {JobQueue} = await import(library)
const queue = await JobQueue.open({db, durable: false})
const want = {funcs: [func], limit: 1, lease: 60}

let isAwake = false
let resume = () => {}
const watch = queue.store.watch(() => {
  isAwake = true
  resume()
})
let isEnding = false
process.on('SIGTERM', () => {
  isEnding = true
  resume()
})

let settlements = []
while (!isEnding) {
  isAwake = false
  const {jobs} = await queue.store.turn(settlements, want)
  for (const {id} of jobs) {
    const at = process.hrtime.bigint()
    appendFileSync(process.env.BENCH_NOTES, `${id} ${at}\n`)
  }
  settlements = jobs.map(({id, grabbedUntil}) => ({lease: {id, grabbedUntil}, outcome: {kind: 'completed'}}))
  if (jobs.length === 0 && !isAwake && !isEnding) await new Promise(done => (resume = done))
}
watch.close()
await queue.close()
