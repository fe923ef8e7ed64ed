/** What is asked of whoever runs a job (jobq_order), and what that one tells of its output. */
import type {RowRef} from '../job.ts'

/** What is asked of whoever runs a job, in jobq_order: that it stops, or tells what it prints. */
export interface Order extends RowRef {
  what: 'cancel' | 'follow'
}

/** An order to tell what a job writes holds for so long, unless it is given again. */
export const FOLLOWED_SECONDS = 30

/** So many of the last rows are kept of what was told. */
export const FOLLOWED_ROWS = 40

/** How the order to tell what a job writes stands. */
export interface Followed {
  /** When it was given last, by the second, and later than any time that it was given before. */
  orderedAt: number
  /** Whoever runs the job has heard of it. */
  isHeard: boolean
  /** Someone else has given it, too. */
  isShared: boolean
}

/** What a job that runs has written since it was told last; the id is the job's. */
export interface Written extends RowRef {
  bytes: Uint8Array
  /** Something before it was left out. */
  isCut: boolean
}

/** The same, as it is read. */
export interface Told extends Omit<Written, keyof RowRef> {
  /** Ascends. */
  at: number
}
