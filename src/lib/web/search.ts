/**
 * A page of a listing, from where the one before it ended. What the store finds by an index it finds; all else is looked at row
 * by row, for a moment: where that finds less than a page, the page says how far it has come, and goes on from there.
 */
import {monotonic} from '../jobs/clock.ts'
import type {JobState, ListedJob, RowRef} from '../jobs/job.ts'
import {JOB_STATES} from '../jobs/job.ts'
import {argText} from '../render/text.ts'

/** Rows of a page. */
export const PAGE_ROWS = 50
/** So long it is searched for one page. */
const SEARCH_MS = 250

export interface Found<Row> {
  rows: Row[]
  /** The last that was looked at, if there is more behind it. */
  last: Row | null
  /** How many were looked at, and not all there are. */
  passed: number | null
}

export interface PageOptions<Row> {
  fits: (row: Row) => boolean
  /** As many as the store was asked for, if it finds them: a page takes as long as that, however slow the machine. */
  limit: number | undefined
  onPassed?: (row: Row) => void
}

export async function pageOf<Row>(
  rows: AsyncIterable<Row>,
  {fits, limit, onPassed = () => {}}: PageOptions<Row>,
): Promise<Found<Row>> {
  const isOverAt = limit === undefined ? monotonic() + SEARCH_MS : Number.POSITIVE_INFINITY
  const found: Row[] = []
  let last: Row | null = null
  let passed = 0
  for await (const row of rows) {
    if (found.length === PAGE_ROWS) return {rows: found, last, passed: null}
    if (last !== null && monotonic() > isOverAt) return {rows: found, last, passed}
    if (fits(row)) found.push(row)
    last = row
    passed++
    onPassed(row)
  }
  return {rows: found, last: null, passed: null}
}

/** Does the text stand in the argument, or in one of these? Large and small letters are the same. */
export function has(wanted: string, arg: Uint8Array | null, ...texts: (string | null)[]): boolean {
  if (wanted === '') return true
  const all = [...texts, arg && argText(arg)]
  return all.some(text => text?.toLowerCase().includes(wanted.toLowerCase()))
}

// ---- places, as a URL has them

/** Where a listing of jobs goes on. */
export type Spot = Pick<ListedJob, 'id' | 'db' | 'state' | 'priority' | 'runAfter'>

export function spotText({state, priority, runAfter, id, db}: Spot): string {
  return [state, priority, runAfter, id, ...(db === undefined ? [] : [db])].join('~')
}

/** @returns undefined for what is none */
export function spotOf(text: string | null): Spot | undefined {
  const [state = '', ...numbers] = text?.split('~') ?? []
  const [priority, runAfter, id, db] = numbers.map(Number)
  if (!JOB_STATES.includes(state as JobState) || !Number.isSafeInteger(id)) return undefined
  const spot = {state: state as JobState, priority: priority!, runAfter: runAfter!, id: id!}
  return db === undefined ? spot : {...spot, db}
}

/** The last rows of a log that were passed, one of each database. */
export class LastRows {
  readonly #rows: Map<number | undefined, number>

  /** @param text as `text` gives it; anything else is nothing */
  constructor(text: string | null) {
    const refs = /^\d{1,15}(\.\d{1,4})?(~\d{1,15}\.\d{1,4})*$/.test(text ?? '') ? text!.split('~') : []
    this.#rows = new Map(
      refs.map(ref => {
        const [id = '', db] = ref.split('.')
        return [db === undefined ? undefined : Number(db), Number(id)]
      }),
    )
  }

  pass({id, db}: RowRef): void {
    this.#rows.set(db, id)
  }

  get refs(): RowRef[] | undefined {
    if (this.#rows.size === 0) return undefined
    return [...this.#rows].map(([db, id]) => (db === undefined ? {id} : {id, db}))
  }

  get text(): string {
    return [...this.#rows].map(([db, id]) => (db === undefined ? id : `${id}.${db}`)).join('~')
  }
}
