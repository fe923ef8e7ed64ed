/** pg-boss on PostgreSQL: fetch and complete, one by one. */
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
  fetch(name: string): Promise<{id: string}[]>
  complete(name: string, id: string): Promise<unknown>
}

export async function openPgBoss(connectionString: string): Promise<Required<PeerQueue>> {
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
    close: () => boss.stop({graceful: false}),
  }
}
