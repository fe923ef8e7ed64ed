/**
 * The package's public API: re-exports only.
 * @module jobq
 */
/// <reference lib="esnext.disposable" preserve="true" />
import './jobs/node-version.ts'

export type {CancelChoice, Cancellation, CancelOptions, CancelOutcome, CancelResult} from './client/cancel.ts'
export type {FollowedOutput} from './client/follow.ts'
export type {JobOutput} from './client/logs.ts'
export type {
  BatchOptions,
  EditOptions,
  ExceptionOptions,
  InitOptions,
  JobOptions,
  PageOptions,
  PruneOptions,
  QueueOptions,
  RetryOptions,
} from './client/options.ts'
export type {Plugin, PluginContext} from './client/plugin.ts'
export {JobQueue} from './client/queue.ts'
export type {Pruned} from './client/reads.ts'
export type {RetryChoice, RetryOutcome} from './client/retry.ts'
export type {WaitOptions} from './client/wait.ts'
export type {JobqConfigInput} from './config/schema.ts'
export {defineConfig} from './config/settings.ts'
export type {EventName, JobqEvents, JobSubject} from './hooks/events.ts'
export type {PluginOptions, SupportOptions} from './hooks/extensions.ts'
export type {EndedJob, EnqueueCall, Hook, HookPoint, Hooks, WorkedJob} from './hooks/hooks.ts'
export {
  type LineWriter,
  type LogFields,
  type Logger,
  type LoggerOptions,
  type LoggerPlugin,
  type LogLevel,
  logger,
} from './hooks/logger.ts'
export type {AttemptEnd} from './hooks/plugins.ts'
export type {
  OrmTransaction,
  ServerConnection,
  SqliteConnection,
  SqliteTransaction,
} from './jobs/connections.ts'
export * from './jobs/errors.ts'
// By `*`: a named one would keep an application's `declare module 'jobq'` from the interface
export * from './jobs/functions.ts'
export type {
  After,
  BatchCounts,
  BatchState,
  EnqueuedJob,
  JobEnd,
  JobRow,
  JobState,
  ListedJob,
  NewJob,
  Parked,
  Progress,
  RowRef,
  StoredArg,
  Tag,
  TagOptions,
  Tags,
  WaitsFor,
} from './jobs/job.ts'
export type {ManagerState, ManagerStatus, Slot} from './jobs/manager.ts'
export type {
  AfterOption,
  AloneOption,
  EnqueueOptions,
  EnqueueRest,
  EnqueueSettings,
  JobRequest,
} from './jobs/new-job.ts'
export type {PluginOf, Plugins} from './jobs/plugins.ts'
export type {
  AttemptRow,
  ExceptionRow,
  ExceptionState,
  FinalStatus,
  JobHistory,
  JobRun,
  KeptResult,
  OutputRow,
  ShownJob,
  StatusRow,
  WaitedFor,
} from './jobs/rows/history.ts'
export type {SerializerName} from './jobs/serializers/serializers.ts'
export type {Batch, BatchRole} from './jobs/side-tables/batches.ts'
export type {ScheduleStatus} from './jobs/side-tables/schedules.ts'
export type {FuncCounts, FuncStats, FuncTimes, Stats} from './jobs/stats.ts'
export {
  defineWorker,
  type Job,
  type OfJob,
  type OtherJob,
  type Replacement,
  type Worker,
  type WorkResult,
} from './jobs/worker.ts'
export type {Preparation} from './store/store.ts'
export type {InlineOptions, InlineWorkers} from './work/inline.ts'
export type {Summary as WorkSummary} from './work/outcomes.ts'
export {type ScoreboardOptions, type ScoreboardPlugin, scoreboard} from './work/status/scoreboard-plugin.ts'
