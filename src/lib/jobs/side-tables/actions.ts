/** What people have done to the queue from afar, as it is kept in jobq_action. */
import type {RowRef} from '../job.ts'

/** Something that a person has done to the queue from afar, by `jobq web`, to be kept (jobq_action). */
export interface Action {
  /** Who says to have done it. */
  who: string
  /** In words: `cancel job 7`. */
  what: string
}

/** An action as it is kept. */
export interface ActionRow extends RowRef, Action {
  /** Unix seconds, by the database's clock. */
  doneAt: number
  /** How many jobs it was done to, so far. */
  jobs: number
}

/** The most characters of either text of an action. */
export const MAX_ACTION_LENGTH = 255
