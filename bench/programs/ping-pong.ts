/**
 * Node's IPC alone: as many children as asked for, one message of a job's size in flight for each. Or with something else
 * to do before each message: then it is the least that any dispatcher does whose children hear of their jobs by IPC.
 */
import {fork} from 'node:child_process'
import {fileURLToPath} from 'node:url'
import {cleanEnvironment} from '../lib/jobq.ts'

const CHILD = fileURLToPath(new URL('ping-pong-child.cjs', import.meta.url))

/** @param before called before each message, with the child's place. @returns round trips a second */
export async function pingPong(
  count: number,
  children: number,
  before: (child: number) => void = () => {},
): Promise<number> {
  const started = Array.from({length: children}, () =>
    fork(CHILD, {serialization: 'json', env: cleanEnvironment(), execArgv: []}),
  )
  await Promise.all(started.map(child => new Promise(resolve => child.once('message', resolve))))
  const start = performance.now()
  let sent = 0
  await Promise.all(
    started.map((child, i) => {
      const {promise, resolve} = Promise.withResolvers<void>()
      const next = () => {
        if (sent >= count) return resolve()
        sent++
        before(i)
        child.send(JOB)
      }
      child.on('message', next)
      next()
      return promise
    }),
  )
  const rate = count / ((performance.now() - start) / 1000)
  for (const child of started) child.disconnect()
  return rate
}

const JOB = {
  kind: 'run',
  job: {
    id: 123456,
    funcId: 1,
    func: 'Bench',
    arg: {text: '{"user":42,"file":"photo.jpg"}'},
    uniqkey: null,
    enqueueTime: 1795434634,
    grabbedUntil: 1795434694,
    runAfter: 1795434634,
    retryCnt: 0,
    priority: 0,
  },
}
