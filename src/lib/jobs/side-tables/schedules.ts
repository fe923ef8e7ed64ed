/** Schedules: what a store keeps of them (jobq_schedule), and their ticks. */
import type {EnqueuedJob, RowRef} from '../job.ts'

/** So far ahead no tick is passed, but by a clock that was wrong: its schedule would wait until then. */
export const FAR_AHEAD_SECONDS = 86_400

/** A schedule as its ticks depend on it: where one of these is changed, it is another one that begins now. */
export interface ScheduleDefinition {
  name: string
  cron: string
  timeZone: string
}

/** What a store keeps of a schedule (jobq_schedule). */
export interface ScheduleRow extends ScheduleDefinition {
  /** Ticks up to here are done with, whether they enqueued a job or not. */
  passedTo: number
  /** The tick of its last job, or when that was enqueued by hand; null: there was none. */
  ranAt: number | null
  lastJob: RowRef | null
  /** Is that one still in the queue, waiting or running? */
  isQueued: boolean
}

/** A schedule of the configuration. Times are Unix seconds. */
export interface ScheduleStatus {
  name: string
  cron: string
  timeZone: string
  func: string
  /** When it ticks next, by the database's clock; null: never again. */
  next: number | null
  /** The tick of its last job, or when that was enqueued by hand; null: it has had none. */
  last: number | null
  /** The job of that tick; null: it has had none. */
  lastJob: RowRef | null
  /** Is that job still in the queue, waiting or running? */
  isQueued: boolean
}

/** A tick of a schedule, to be passed. */
export interface Tick extends ScheduleDefinition {
  /** When, in Unix seconds; null: between its ticks, by hand, whether its last job is in the queue or not. */
  at: number | null
  /** Also while its last job is in the queue. */
  overlap: boolean
}

/** What became of a tick. */
export interface Ticked {
  /** It was passed here. False: elsewhere, before, or the schedule has another definition there. */
  isOurs: boolean
  job: EnqueuedJob | null
}
