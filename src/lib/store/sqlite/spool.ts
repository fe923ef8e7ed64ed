/**
 * What an asynchronous source of jobs has given so far, in a temporary table of the connection: no lock is held for it,
 * and little memory. SQLite keeps it in a file without a name, so that nothing is left of it after a crash.
 */
import type {NewJob} from '../../jobs/job.ts'
import type {SqliteLink} from './connection.ts'

const STRETCH_JOBS = 500
const STRETCH_BYTES = 1 << 20

type SpooledRow = [
  nth: number,
  func: string,
  arg: string | Buffer | null,
  uniqkey: string | null,
  priority: number,
  dueIn: number | null,
  dueAt: number | null,
  context: string | null,
  tracked: number,
]

export class Spool {
  readonly #link: SqliteLink

  constructor(link: SqliteLink) {
    this.#link = link
    const {db} = link
    db.pragma('temp.journal_mode = OFF') // what fails is thrown away with the connection
    db.exec(`CREATE TEMP TABLE jobq_spool
      (nth INTEGER PRIMARY KEY, func, arg, uniqkey, priority, due_in, due_at, context, tracked)`)
  }

  add(jobs: readonly NewJob[]): void {
    const keep = this.#link.sql('INSERT INTO temp.jobq_spool VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)')
    this.#link.sql('BEGIN').run()
    for (const {func, arg, uniqkey, priority, due, context, tracked} of jobs) {
      const [dueIn, dueAt] = 'at' in due ? [null, due.at] : [due.in, null]
      keep.run(func, arg, uniqkey, priority, dueIn, dueAt, context ?? null, tracked ? 1 : 0)
    }
    this.#link.sql('COMMIT').run()
  }

  /** In their order, each small enough to hold. */
  *stretches(): Generator<NewJob[]> {
    const rows = this.#link.db.prepare('SELECT * FROM temp.jobq_spool WHERE nth > ? ORDER BY nth').raw()
    let last = 0
    for (;;) {
      const jobs: NewJob[] = []
      let bytes = 0
      for (const [nth, ...row] of rows.iterate(last) as Iterable<SpooledRow>) {
        const job = spooled(row)
        jobs.push(job)
        bytes += job.arg?.length ?? 0
        last = nth
        if (jobs.length >= STRETCH_JOBS || bytes >= STRETCH_BYTES) break
      }
      if (jobs.length === 0) return
      yield jobs
    }
  }
}

function spooled(row: SpooledRow extends [number, ...infer Rest] ? Rest : never): NewJob {
  const [func, arg, uniqkey, priority, dueIn, dueAt, context, tracked] = row
  return {
    func,
    arg,
    uniqkey,
    priority,
    due: dueAt === null ? {in: dueIn ?? 0} : {at: dueAt},
    ...(context === null ? {} : {context}),
    ...(tracked ? {tracked: true} : {}),
  }
}
