/**
 * The package's public API: re-exports only.
 * @module jobq
 */
/// <reference lib="esnext.disposable" preserve="true" />
import './node-version.ts'

export {defineConfig} from './config.ts'
export type {JobqConfigInput} from './config-schema.ts'
export type {ServerConnection, SqliteConnection} from './connections.ts'
export * from './errors.ts'
export type {EventName, JobqEvents, JobSubject} from './events.ts'
// By `*`: a named one would keep an application's `declare module 'jobq'` from the interface
export * from './functions.ts'
export type {EndedJob, EnqueueCall, Hook, HookPoint, Hooks, WorkedJob} from './hooks.ts'
export type {
  EnqueuedJob,
  ExceptionRow,
  FinalStatus,
  FuncCounts,
  FuncTimes,
  JobEnd,
  JobRow,
  JobState,
  ListedJob,
  NewJob,
  RowRef,
  StatusRow,
  StoredArg,
} from './job.ts'
export type {ManagerStatus, Slot} from './manager.ts'
export type {EnqueueOptions, EnqueueRest, EnqueueSettings, JobRequest} from './new-job.ts'
export {
  type LineWriter,
  type LogFields,
  type Logger,
  type LoggerOptions,
  type LoggerPlugin,
  type LogLevel,
  logger,
} from './plugins/logger.ts'
export {type ScoreboardOptions, type ScoreboardPlugin, scoreboard} from './plugins/scoreboard.ts'
export * from './plugins.ts'
export {JobQueue} from './queue.ts'
export type {
  ExceptionOptions,
  InitOptions,
  JobOptions,
  PageOptions,
  QueueOptions,
  RetryOptions,
} from './queue-options.ts'
export type {RetryChoice, RetryOutcome} from './retries.ts'
export type {SerializerName} from './serializers.ts'
export type {FuncStats, Stats} from './stats.ts'
export type {Preparation} from './store/store.ts'
export type {PluginOptions, SupportOptions} from './support.ts'
export type {WaitOptions} from './wait.ts'
export type {Summary as WorkSummary} from './work/accounts.ts'
export type {InlineOptions, InlineWorkers} from './work/inline.ts'
export {defineWorker, type Job, type OfJob, type Replacement, type Worker} from './worker.ts'
