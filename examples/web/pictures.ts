/**
 * The application's own table, in the database that holds the queue: so a picture and its jobs are stored together, or
 * not at all. A picture keeps the ids of its jobs and how each of them ended; null while it is waited for.
 */
import Sqlite, {type Database, type Statement} from 'better-sqlite3'

export const STEPS = ['crop', 'thumbnail', 'notify'] as const
export type Step = (typeof STEPS)[number]

export interface Picture {
  id: number
  name: string
  /**
   * The job of each step, and how it ended: `completed`, `failed` …, null while it waits or runs; and why. While it runs, how far it
   * is, from 0 to 1, if it says so.
   */
  steps: Record<Step, {job: number; state: string | null; reason: string; progress?: number}>
}

interface Row {
  id: number
  name: string
  steps: string
}

export class Pictures {
  readonly db: Database
  /** How far a picture is: what a power cut takes back of that does no harm, so such a commit does not wait for the disk. */
  readonly #notes: Database
  readonly #insert: Statement
  readonly #setSteps: Statement
  readonly #find: Statement
  readonly #setState: Statement

  /** @param file the queue's database */
  constructor(file: string) {
    this.db = new Sqlite(file)
    this.#notes = new Sqlite(file)
    this.#notes.pragma('synchronous = NORMAL')
    this.db.exec(
      'CREATE TABLE IF NOT EXISTS picture (id INTEGER PRIMARY KEY, name TEXT NOT NULL, steps TEXT NOT NULL)',
    )
    this.#insert = this.db.prepare(`INSERT INTO picture (name, steps) VALUES (?, '{}')`)
    this.#setSteps = this.db.prepare('UPDATE picture SET steps = ? WHERE id = ?')
    this.#find = this.db.prepare('SELECT * FROM picture WHERE id = ?')
    this.#setState = this.#notes.prepare(
      'UPDATE picture SET steps = json_set(steps, ?, ?, ?, ?) WHERE id = ?',
    )
  }

  /** Adds a picture with what `enqueue` enqueues for its id, in one transaction. */
  add(name: string, enqueue: (id: number) => Record<Step, number>): Picture {
    return this.db
      .transaction(() => {
        const id = Number(this.#insert.run(name).lastInsertRowid)
        const jobs = enqueue(id)
        const steps = Object.fromEntries(
          STEPS.map(step => [step, {job: jobs[step], state: null, reason: ''}]),
        )
        this.#setSteps.run(JSON.stringify(steps), id)
        return {id, name, steps: steps as Picture['steps']}
      })
      .immediate()
  }

  find(id: number): Picture | null {
    const row = this.#find.get(id) as Row | undefined
    return row ? picture(row) : null
  }

  /** Newest first. */
  list(limit: number): Picture[] {
    return (this.db.prepare('SELECT * FROM picture ORDER BY id DESC LIMIT ?').all(limit) as Row[]).map(
      picture,
    )
  }

  /** Those with a step that has not ended. */
  unfinished(): Picture[] {
    const sql = `SELECT * FROM picture WHERE EXISTS (SELECT 1 FROM json_each(steps) WHERE value ->> 'state' IS NULL)`
    return (this.db.prepare(sql).all() as Row[]).map(picture)
  }

  /** Notes how a step ended. */
  end(id: number, step: Step, state: string, reason: string): Picture {
    this.#setState.run(`$.${step}.state`, state, `$.${step}.reason`, reason, id)
    return this.find(id)!
  }

  close(): void {
    this.#notes.close()
    this.db.close()
  }
}

function picture({id, name, steps}: Row): Picture {
  return {id, name, steps: JSON.parse(steps) as Picture['steps']}
}
