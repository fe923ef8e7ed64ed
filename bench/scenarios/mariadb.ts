/** jobq on MariaDB beside the statements that Qudo sends, in a loop. */
import {
  type Connection as CallbackConnection,
  createConnection as connect,
  type ResultSetHeader,
  type RowDataPacket,
} from 'mysql2'
import {type Connection, createConnection} from 'mysql2/promise'
import {ARG, FUNC} from '../lib/floor.ts'
import {type Contender, perSecond, ratio} from '../lib/measure.ts'
import {ifAvailable, needServer, SERVERS} from '../lib/peers.ts'
import type {Bench, Goal, Scenario} from '../lib/scenario.ts'
import {openServerJobq} from '../lib/servers.ts'
import {measureQueues, withLatency} from './postgres.ts'

/** How many of the floor's COMMITs may be under way, as many as jobq's. */
const COMMITS = 8

export const mariadb: Scenario = {
  name: 'mariadb',
  title: 'On MariaDB',
  about: `\`queue.work\`, strict and with prefetch 500, beside the statements of Qudo 0.0214 in the same server, sent by mysql2
in a loop: ask for the time, read 30 candidates by priority, ask for the time again, grab the first by compare-and-swap,
delete it; each a round trip, the last two a commit. (Qudo itself, in Perl, polls, and is slower.) The floor is the least
that a strict queue of one worker can do there: jobq's own table and index, and one CALL of a procedure that deletes the
last job, finds and takes the first one and commits, nothing else; as in jobq, its answer is not kept until the COMMIT is
done, and the next CALL goes over the next of ${COMMITS} connections.`,
  async run(bench) {
    const leftOut: string[] = []
    const url = await ifAvailable('MariaDB', leftOut, () => emptyDatabase(bench, 'jobq'))
    if (url === null) return {series: [], leftOut}
    const jobq = await ifAvailable('jobq on MariaDB', leftOut, () => openServerJobq(bench, url))
    const qudo = await qudoLoop(bench)
    const floor = await ifAvailable('the floor on MariaDB', leftOut, () => floorLoop(bench))
    const result = await measureQueues(bench, {jobq}, floor ? [qudo, floor] : [qudo])
    const goals: Goal[] = []
    const [strict, loop] = ['jobq: work', qudo.name].map(name => result.series.find(one => one.name === name))
    if (strict && loop)
      goals.push({
        what: 'MariaDB: strict / the statements that Qudo sends, in a loop',
        ...ratio(strict, loop),
        is: '>=',
        bound: 4,
      })
    return withLatency(bench, {...result, leftOut, goals}, 'MariaDB', jobq, 15)
  },
}

async function qudoLoop(bench: Bench): Promise<Contender> {
  const count = bench.pick(2000, 600)
  const connection = await createConnection(await emptyDatabase(bench, 'qudo'))
  bench.defer(() => connection.end())
  for (const sql of QUDO_TABLES) await connection.query(sql)
  const find = `SELECT job.id, job.arg, job.uniqkey, job.func_id, job.grabbed_until, job.retry_cnt, job.priority
    FROM job WHERE job.func_id IN (?) AND job.grabbed_until <= ? AND job.run_after <= ?
    ORDER BY job.priority DESC LIMIT 30`
  const grab = `UPDATE job SET grabbed_until = ?, enqueue_time = ?, run_after = ? WHERE grabbed_until = ? AND id = ?`
  const clock = async () => {
    const [rows] = await connection.query('SELECT UNIX_TIMESTAMP() AS now')
    return (rows as {now: number}[])[0]!.now
  }
  return {
    name: 'the statements of Qudo, in a loop: work',
    unit: 'jobs/s',
    run: async () => {
      await fill(connection, count)
      return perSecond(count, async () => {
        for (let i = 0; i < count; i++) {
          const before = await clock()
          const [rows] = await connection.query(find, [1, before, before])
          const [job] = rows as {id: number; grabbed_until: number}[]
          const now = await clock()
          await connection.query(grab, [now + 3600, now, now, job!.grabbed_until, job!.id])
          await connection.query('DELETE FROM job WHERE id = ?', [job!.id])
        }
      })
    },
  }
}

async function floorLoop(bench: Bench): Promise<Contender> {
  const count = bench.pick(2000, 600)
  const url = await emptyDatabase(bench, 'floor')
  await bench.jobq.queue.JobQueue.init({db: url})
  const first = await createConnection(url)
  bench.defer(() => first.end())
  await first.query('INSERT INTO func (name) VALUES (?)', [FUNC])
  await first.query(FLOOR_TURN)
  const connections = Array.from({length: COMMITS}, () => connect(url))
  for (const connection of connections) {
    bench.defer(() => connection.promise().end())
    await connection.promise().query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
  }
  return {
    name: 'floor: delete, next grab and commit in one call',
    unit: 'jobs/s',
    run: async () => {
      await fill(first, count)
      return perSecond(count, async () => {
        let turns = 0
        const turn = (done: number) => floorTurn(connections[turns++ % connections.length]!, done)
        for (let id = await turn(0); id !== undefined; ) id = await turn(id)
      })
    },
  }
}

/** @returns the job that was taken, as soon as it is told; undefined when there is none */
function floorTurn(connection: CallbackConnection, done: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = connection.query(`CALL floor_turn(${done})`)
    call.on('result', (row: RowDataPacket | ResultSetHeader) => {
      if ('id' in row) resolve(row.id)
    })
    call.on('end', () => resolve(undefined))
    call.on('error', reject)
  })
}

/** Right as long as no other worker is there and nothing is delayed. */
const FLOOR_TURN = `CREATE PROCEDURE floor_turn(j_done BIGINT UNSIGNED)
BEGIN
    DECLARE j_priority, j_run_after INT UNSIGNED;
    DECLARE j_id BIGINT UNSIGNED;
    START TRANSACTION;
    DELETE FROM job WHERE id = j_done;
    SELECT MAX(priority) INTO j_priority FROM job FORCE INDEX (jobq_lane) WHERE func_id = 1 AND grabbed_until = 0;
    SELECT MIN(run_after) INTO j_run_after FROM job FORCE INDEX (jobq_lane)
     WHERE func_id = 1 AND grabbed_until = 0 AND priority = j_priority;
    SELECT MIN(id) INTO j_id FROM job FORCE INDEX (jobq_lane)
     WHERE func_id = 1 AND grabbed_until = 0 AND priority = j_priority AND run_after = j_run_after;
    SELECT * FROM job WHERE id = j_id FOR UPDATE;
    UPDATE job SET grabbed_until = UNIX_TIMESTAMP() + 60 WHERE id = j_id;
    COMMIT;
END`

/** @returns its address; dropped when the scenario ends */
async function emptyDatabase({defer}: Bench, purpose: string): Promise<string> {
  await needServer(SERVERS.mariadb)
  const name = `jobq_bench_${purpose}_${process.pid}`
  const run = async (sql: string) => {
    const connection = await createConnection(SERVERS.mariadb)
    try {
      await connection.query(sql)
    } finally {
      await connection.end()
    }
  }
  await run(`CREATE DATABASE ${name}`)
  defer(() => run(`DROP DATABASE ${name}`))
  const url = new URL(SERVERS.mariadb)
  url.pathname = `/${name}`
  return url.href
}

async function fill(connection: Connection, count: number): Promise<void> {
  await connection.execute(
    `INSERT INTO job (func_id, arg, enqueue_time, grabbed_until, run_after, priority)
     SELECT 1, ?, UNIX_TIMESTAMP(), 0, UNIX_TIMESTAMP(), 0 FROM seq_1_to_${count}`,
    [JSON.stringify(ARG)],
  )
}

const QUDO_TABLES = [
  'CREATE TABLE func (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, name VARCHAR(255) NOT NULL, UNIQUE(name))',
  `CREATE TABLE job (
    id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, func_id INT UNSIGNED NOT NULL, arg MEDIUMBLOB,
    uniqkey VARCHAR(255) NULL, enqueue_time INTEGER UNSIGNED, grabbed_until INTEGER UNSIGNED NOT NULL,
    run_after INTEGER UNSIGNED NOT NULL DEFAULT 0, retry_cnt INTEGER UNSIGNED NOT NULL DEFAULT 0,
    priority INTEGER UNSIGNED NOT NULL DEFAULT 0, UNIQUE(func_id, uniqkey), KEY priority (priority)
  ) ENGINE = InnoDB`,
  `INSERT INTO func (name) VALUES ('${FUNC}')`,
]
