/**
 * How jobs ended, for who waits for them: jobq_wait has a row for each, into which the transaction that ends the job
 * writes its outcome (settle.ts). Several processes may wait for it, so who reads it lets it be swept a minute later.
 */
import {KEPT_SECONDS, type RowRef, type StoredEnd, TOLD_SECONDS} from '../../jobs/job.ts'
import {type MysqlConnection, textOf} from './connections/connection.ts'
import type {MysqlConnections} from './connections/connections.ts'
import {resultsOf} from './side-tables/results.ts'

/** The most jobs in one statement. */
const MOST_IDS = 1000
/** The most jobs that are looked after without being asked for again; the others are, whenever `ends` is. */
const MOST_AWAITED = 10_000
/** An end of this time or before has been told. */
const UNTIL = `UNIX_TIMESTAMP() - ${KEPT_SECONDS - TOLD_SECONDS}`

export class Waits {
  readonly #links: MysqlConnections
  readonly #sweeper: Sweeper
  /** Those that this process waits for and that have not been seen to end, the one looked for longest ago first. */
  readonly #awaited = new Set<number>()

  constructor(links: MysqlConnections, sweeper: Sweeper) {
    this.#links = links
    this.#sweeper = sweeper
  }

  /** From now on the poll looks whether it has ended. */
  await(id: number): void {
    this.#awaited.add(id)
    if (this.#awaited.size > MOST_AWAITED) this.#awaited.delete(this.#awaited.values().next().value!)
  }

  /** @returns those that are in the queue */
  async track(jobs: readonly RowRef[]): Promise<RowRef[]> {
    const living: RowRef[] = []
    for (const ids of portions(jobs))
      living.push(
        ...(await this.#links.write(async link => {
          await this.#sweeper.sweepNowAndThen(link)
          const [, found] = await link.batch([
            'START TRANSACTION',
            // A lock: whoever ends one of them now either is done before this, or finds the row
            `SELECT id FROM job WHERE id IN (${ids}) ORDER BY id LOCK IN SHARE MODE`,
          ])
          const there = found!.rows.map(({id}) => Number(id))
          const keep = `INSERT IGNORE INTO jobq_wait (job_id) VALUES ${there.map(id => `(${id})`)}`
          await link.batch([...(there.length > 0 ? [keep] : []), 'COMMIT'])
          return there.map(id => ({id}))
        })),
      )
    for (const {id} of living) this.await(id)
    return living
  }

  async ends(jobs: readonly RowRef[]): Promise<StoredEnd[]> {
    const ended: StoredEnd[] = []
    for (const ids of portions(jobs)) {
      const {ends, untold} = await this.#links.read(link => endsOf(link, ids))
      ended.push(...ends)
      if (untold.length > 0) await this.#links.write(link => link.batch(untold))
      const gone = new Set(ends.map(({id}) => id))
      for (const id of ids)
        if (gone.has(id)) this.#awaited.delete(id)
        else this.await(id)
    }
    return ended
  }

  /** For the poll: whether one of those that are awaited here has ended. Tells it once. */
  async haveEnded(link: MysqlConnection): Promise<boolean> {
    if (this.#awaited.size === 0) return false
    const ids = [...this.#awaited].slice(0, MOST_IDS)
    const {rows} = await link.run(`SELECT id FROM job WHERE id IN (${ids})`)
    const living = new Set(rows.map(({id}) => Number(id)))
    for (const id of ids) {
      this.#awaited.delete(id)
      if (living.has(id)) this.#awaited.add(id) // the last to be looked for again
    }
    return living.size < ids.length
  }
}

/** In this order: with a job's row goes what is told here, in one transaction. Whose result is kept has completed. */
async function endsOf(
  link: MysqlConnection,
  ids: readonly number[],
): Promise<{ends: StoredEnd[]; untold: string[]}> {
  const [jobs, waits, results] = await link.batch([
    `SELECT id FROM job WHERE id IN (${ids})`,
    `SELECT job_id, outcome, message, ended_at > ${UNTIL} AS untold FROM jobq_wait WHERE job_id IN (${ids})`,
    resultsOf(ids.join()),
  ])
  const living = new Set(jobs!.rows.map(({id}) => Number(id)))
  const told = new Map(waits!.rows.map(row => [Number(row.job_id), row]))
  const kept = new Map(results!.rows.map(row => [Number(row.job_id), textOf(row.result)]))
  const left = waits!.rows.filter(({job_id}) => !living.has(Number(job_id)))
  const idsOf = (rows: typeof left) => rows.map(({job_id}) => Number(job_id))
  const gone = idsOf(left.filter(({outcome}) => outcome === null))
  const untold = idsOf(left.filter(row => Number(row.untold) === 1))
  const ends = ids
    .filter(id => !living.has(id))
    .map(id => {
      const {outcome, message} = told.get(id) ?? {}
      const json = kept.get(id)
      const end: StoredEnd = {
        id,
        outcome: outcome
          ? (textOf(outcome) as StoredEnd['outcome'])
          : json === undefined
            ? 'gone'
            : 'completed',
        message: message ? textOf(message) : '',
      }
      return json === undefined ? end : {...end, json}
    })
  return {
    ends,
    untold: [
      ...(gone.length > 0 ? [`DELETE FROM jobq_wait WHERE job_id IN (${gone}) AND outcome IS NULL`] : []),
      ...(untold.length > 0 ? [`UPDATE jobq_wait SET ended_at = ${UNTIL} WHERE job_id IN (${untold})`] : []),
    ],
  }
}

function* portions(jobs: readonly RowRef[]): Generator<number[]> {
  for (let i = 0; i < jobs.length; i += MOST_IDS) yield jobs.slice(i, i + MOST_IDS).map(({id}) => id)
}

/** Rows beside jobs that left unseen are looked for at every so many jobs that have such, among twice as many rows. */
const SWEEP_EVERY = 50

/**
 * A job that Perl or an older jobq has worked leaves its rows behind, and so does an end that nobody asks for within a
 * day. Whoever adds rows looks for such, a stretch of the table at a time, so that they can't pile up.
 */
export class Sweeper {
  #untilSweep = 1 + Math.floor(Math.random() * SWEEP_EVERY) // most processes that enqueue are short
  readonly #sweptTo = new Map<string, number>()

  /** To be called for every call that adds rows, on a connection that is in no transaction. */
  async sweepNowAndThen(link: MysqlConnection): Promise<void> {
    if (--this.#untilSweep > 0) return
    this.#untilSweep = SWEEP_EVERY
    await this.#sweep(link, 'jobq_context', 'TRUE')
    await this.#sweep(link, 'jobq_wait', `(outcome IS NULL OR ended_at < UNIX_TIMESTAMP() - ${KEPT_SECONDS})`)
  }

  /** What one look has found without its job is deleted by another: a DELETE would see rows newer than its subquery does. */
  async #sweep(link: MysqlConnection, table: string, condition: string): Promise<void> {
    const from = this.#sweptTo.get(table)
    const [, stretch] = await link.batch([
      from === undefined
        ? `SELECT FLOOR(RAND() * COALESCE(MAX(job_id), 0)) INTO @from FROM ${table}`
        : `SET @from = ${from}`,
      `SELECT job_id, job.id IS NULL AND ${condition} AS is_left
       FROM (SELECT * FROM ${table} WHERE job_id > @from ORDER BY job_id LIMIT ${2 * SWEEP_EVERY}) beside
         LEFT JOIN job ON job.id = job_id`,
    ])
    const rows = stretch!.rows.map(row => ({id: Number(row.job_id), isLeft: Number(row.is_left) === 1}))
    this.#sweptTo.set(table, Math.max(0, ...rows.map(({id}) => id)))
    const left = rows.filter(({isLeft}) => isLeft).map(({id}) => id)
    if (left.length > 0) await link.run(`DELETE FROM ${table} WHERE job_id IN (${left})`)
  }
}
