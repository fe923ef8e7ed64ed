/**
 * The package's public API: re-exports only.
 * @module jobq
 */
/// <reference lib="esnext.disposable" preserve="true" />
import './jobs/node-version.ts'

export type {
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
export type {ServerConnection, SqliteConnection} from './jobs/connections.ts'
export * from './jobs/errors.ts'
// By `*`: a named one would keep an application's `declare module 'jobq'` from the interface
export * from './jobs/functions.ts'
export type {
  AttemptRow,
  EnqueuedJob,
  ExceptionRow,
  ExceptionState,
  FinalStatus,
  FuncCounts,
  FuncTimes,
  JobEnd,
  JobHistory,
  JobRow,
  JobState,
  ListedJob,
  NewJob,
  RowRef,
  StatusRow,
  StoredArg,
} from './jobs/job.ts'
export type {ManagerStatus, Slot} from './jobs/manager.ts'
export type {EnqueueOptions, EnqueueRest, EnqueueSettings, JobRequest} from './jobs/new-job.ts'
export type {PluginOf, Plugins} from './jobs/plugins.ts'
export type {SerializerName} from './jobs/serializers/serializers.ts'
export type {FuncStats, Stats} from './jobs/stats.ts'
export {defineWorker, type Job, type OfJob, type Replacement, type Worker} from './jobs/worker.ts'
export type {Preparation} from './store/store.ts'
export type {InlineOptions, InlineWorkers} from './work/inline.ts'
export type {Summary as WorkSummary} from './work/outcomes.ts'
export {type ScoreboardOptions, type ScoreboardPlugin, scoreboard} from './work/status/scoreboard-plugin.ts'
