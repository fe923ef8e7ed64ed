/**
 * The executors of one `jobq work` as one: modules go to the pool, executables are spawned; together they run at most
 * maxWorkers jobs at once.
 */
import type {JobRow} from '../job.ts'
import {CommandExecutor} from './command.ts'
import type {Ended, Executor, Run} from './executor.ts'
import type {Handler} from './handlers.ts'
import type {JobLog} from './log.ts'
import {Pool, type PoolOptions} from './pool.ts'
import {Guardian} from './processes.ts'

export interface CrewOptions extends PoolOptions {
  /** The database's address for executables, in JOBQ_DB. */
  db: string
}

/** What may be grabbed now: so many jobs of these functions. */
export interface Room {
  funcs: readonly string[]
  limit: number
}

export class Crew {
  readonly funcs: readonly string[]
  readonly #guardian = new Guardian()
  readonly #executors: readonly Executor[]
  readonly #byFunc = new Map<string, Executor>()
  readonly #maxWorkers: number
  #running = 0

  /** @param onRoom called when an executor can take a job again, other than by a job's end */
  constructor(handlers: readonly Handler[], options: CrewOptions, log: JobLog, onRoom: () => void) {
    this.funcs = handlers.map(({func}) => func)
    this.#maxWorkers = options.maxWorkers
    const modules = handlers.filter(handler => handler.kind === 'module')
    const commands = handlers.filter(handler => handler.kind === 'command')
    this.#executors = [
      ...(modules.length > 0 ? [new Pool(modules, options, this.#guardian, log, onRoom)] : []),
      ...(commands.length > 0 ? [new CommandExecutor(commands, this.#guardian, log, options.db)] : []),
    ]
    for (const executor of this.#executors)
      for (const func of executor.funcs) this.#byFunc.set(func, executor)
  }

  /** @throws WorkerError if a worker can't be loaded */
  async ready(): Promise<void> {
    for (const executor of this.#executors) await executor.ready()
  }

  /**
   * The room there is. Where some executors are full, only what the others can start is to be grabbed, and no more of
   * it than each of them could start.
   */
  room(): Room {
    const free = this.#maxWorkers - this.#running
    const open = free > 0 ? this.#executors.filter(({room}) => room > 0) : []
    if (open.length === 0) return {funcs: [], limit: 0}
    return {funcs: open.flatMap(({funcs}) => funcs), limit: Math.min(free, ...open.map(({room}) => room))}
  }

  start(job: JobRow, onEnd: (ended: Ended) => void): Run {
    this.#running++
    return this.#byFunc.get(job.func)!.start(job, ended => {
      this.#running--
      onEnd(ended)
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.#executors.map(executor => executor.close()))
    this.#guardian.close()
  }
}
