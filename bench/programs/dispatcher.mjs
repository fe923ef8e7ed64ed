// One dispatcher, on one database or several: drains each time it is told to, and says how many jobs that were, and when
// the last of them was done, in ms since 1970.
const [library, func, prefetch, ...db] = process.argv.slice(2)
const {JobQueue} = await import(library)
const queue = await JobQueue.open({db, durable: false})
process.on('message', async () => {
  let [done, last] = [0, 0]
  const noop = () => {
    done++
    last = Date.now()
  }
  await queue.work({workers: {[func]: noop}, mode: 'drain', prefetch: Number(prefetch)})
  process.send({done, last})
})
process.on('disconnect', () => process.exit())
process.send('ready')
