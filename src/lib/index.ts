/** The package's public API: re-exports only. */
export {defineConfig} from './config.ts'
export type {JobqConfigInput} from './config-schema.ts'
export * from './errors.ts'
export type {
  EnqueuedJob,
  ExceptionRow,
  FuncCounts,
  FuncTimes,
  JobRow,
  JobState,
  ListedJob,
  NewJob,
  StatusRow,
} from './job.ts'
export {
  type EnqueueOptions,
  JobQueue,
  type PageOptions,
  type QueueOptions,
  type RetryOptions,
} from './queue.ts'
export {defineWorker, type Job, type Replacement, type Worker} from './worker.ts'
