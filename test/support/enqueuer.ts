/** A process that enqueues one by one, as an application does: node enqueuer.ts FUNC NAME COUNT. */
import {JobQueue} from '../../src/lib/index.ts'

const [func = '', name = '', count] = process.argv.slice(2)
await using queue = await JobQueue.open()
for (let i = 0; i < Number(count); i++)
  await queue.enqueue(func, {arg: {name, i}, priority: Math.floor(Math.random() * 5)})
