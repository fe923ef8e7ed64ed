/** A plugin as an application writes it: it is started with the queue of its process. */
import type * as hooks from '../hooks/plugins.ts'
import type {JobQueue} from './queue.ts'

/** What jobq knows of a plugin; all else in it is for those who get it by name. */
export interface Plugin extends hooks.Plugin<JobQueue> {
  /** Before the first job is enqueued or worked. What it throws keeps the queue, or the process, from starting. */
  start?(context: PluginContext): unknown
}

/** Where a plugin is started. */
export interface PluginContext extends hooks.PluginContext<JobQueue> {}
