/** pg-boss on PostgreSQL: fetch and complete, one by one or 100 at a time. */
import {AT_ONCE} from '../lib/at-once.ts'
import {ARG} from '../lib/floor.ts'
import {perSecond} from '../lib/measure.ts'
import {load, type PeerQueue} from '../lib/peers.ts'

interface PgBossModule {
  PgBoss: new (options: object) => Boss
}

interface Boss {
  on(event: 'error', listener: () => void): void
  start(): Promise<unknown>
  stop(options: object): Promise<void>
  createQueue(name: string): Promise<void>
  send(name: string, data: object): Promise<unknown>
  insert(name: string, jobs: {data: object}[]): Promise<unknown>
  fetch(name: string, options?: {batchSize: number}): Promise<{id: string}[]>
  work(name: string, options: object, handler: (jobs: object[]) => Promise<unknown>): Promise<unknown>
  complete(name: string, id: string | string[]): Promise<unknown>
}

const BATCH = 100

/** A batch, and the next one as soon as it is done: a poll for each job would be at most two a second. */
export async function workAtOnce(connectionString: string, work: () => Promise<void>): Promise<void> {
  const {PgBoss} = await load<PgBossModule>('pg-boss')
  const boss = new PgBoss({connectionString, supervise: false, schedule: false})
  boss.on('error', () => {})
  await boss.start()
  const options = {batchSize: AT_ONCE, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5}
  await boss.work('bench', options, jobs => Promise.all(jobs.map(work)))
}

export async function openPgBoss(
  connectionString: string,
): Promise<Required<PeerQueue> & {workMany(count: number): Promise<number>}> {
  const {PgBoss} = await load<PgBossModule>('pg-boss')
  const boss = new PgBoss({connectionString, supervise: false, schedule: false})
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue('bench')
  return {
    async enqueue(count) {
      for (let i = 0; i < count; i++) await boss.send('bench', ARG)
    },
    async enqueueMany(count) {
      await boss.insert(
        'bench',
        Array.from({length: count}, () => ({data: ARG})),
      )
    },
    work: count =>
      perSecond(count, async () => {
        for (let i = 0; i < count; i++) {
          const [job] = await boss.fetch('bench')
          if (job) await boss.complete('bench', job.id)
        }
      }),
    workMany: count =>
      perSecond(count, async () => {
        for (let done = 0; done < count; ) {
          const jobs = await boss.fetch('bench', {batchSize: BATCH})
          await boss.complete(
            'bench',
            jobs.map(({id}) => id),
          )
          done += jobs.length
        }
      }),
    close: () => boss.stop({graceful: false}),
  }
}
