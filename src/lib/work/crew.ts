/**
 * The executors of one `jobq work` as one: modules go to the pool, executables are spawned; together they run at most
 * maxWorkers jobs at once.
 */
import type {JobRow} from '../job.ts'
import {CommandExecutor} from './command.ts'
import type {Ended, Executor, Executors, Room, Run, WorkerView} from './executor.ts'
import type {CommandHandler, Handler, ModuleHandler} from './handlers.ts'
import {Pool, type PoolSettings, type Surroundings} from './pool.ts'

export type CrewSettings = PoolSettings & {
  /** The database's address for executables, in JOBQ_DB. */
  db: string
}

const NO_ROOM: Room = {funcs: [], held: new Set(), maxRunning: new Map(), limit: 0, isWhole: false}

export class Crew implements Executors {
  readonly isPrompt = false
  readonly #pool: Pool
  readonly #commands: CommandExecutor
  #handlers: readonly Handler[]
  #maxWorkers: number
  #running = 0

  /** @param surroundings `onRoom` is called when an executor can take a job again, other than by a job's end */
  constructor(handlers: readonly Handler[], settings: CrewSettings, surroundings: Surroundings) {
    const {guardian, log} = surroundings
    this.#handlers = handlers
    this.#maxWorkers = settings.maxWorkers
    this.#pool = new Pool(handlers.filter(isModule), settings, surroundings)
    this.#commands = new CommandExecutor(handlers.filter(isCommand), guardian, log, settings.db)
  }

  get maxWorkers(): number {
    return this.#maxWorkers
  }

  /** The functions there are workers for. */
  get handled(): string[] {
    return this.#handlers.map(({func}) => func)
  }

  /** Where jobs run or could run, for the scoreboard: at most maxWorkers. */
  get workers(): WorkerView[] {
    return [...this.#pool.workers, ...this.#commands.workers]
  }

  /** Why no module can be worked, at the moment. */
  get failure(): Error | null {
    return this.#pool.failure
  }

  /** @throws WorkerError if a worker can't be loaded */
  async ready(): Promise<void> {
    await this.#pool.ready()
  }

  /** Jobs that start from now on get these workers; no running job is interrupted. */
  reload(handlers: readonly Handler[], settings: PoolSettings): void {
    this.#handlers = handlers
    this.#maxWorkers = settings.maxWorkers
    this.#pool.reload(handlers.filter(isModule), settings)
    this.#commands.reload(handlers.filter(isCommand))
  }

  /** One more or fewer at once; never below one. */
  resize(by: 1 | -1): void {
    this.#maxWorkers = Math.max(1, this.#maxWorkers + by)
    this.#pool.resize(this.#maxWorkers)
  }

  /**
   * The room there is. Where an executor is full, only what the other can start is to be grabbed, and no more than
   * each of them could start. What is taken ahead may be of every function that is worked at all.
   */
  room(ahead: number): Room {
    const free = this.#maxWorkers - this.#running
    if (ahead > 0) return this.#roomAhead(Math.max(0, free) + ahead)
    const open = [this.#pool, this.#commands].filter(({funcs, room}) => funcs.length > 0 && room > 0)
    if (free <= 0 || open.length === 0) return NO_ROOM
    const held = open.includes(this.#pool) ? [] : this.#pool.soon
    const funcs = [...open.flatMap(executor => executor.funcs), ...held]
    return {
      funcs,
      held: new Set(held),
      maxRunning: maxRunning(open),
      limit: Math.min(free, ...open.map(({room}) => room)),
      isWhole: held.length === 0 && funcs.length === this.#handlers.length,
    }
  }

  #roomAhead(limit: number): Room {
    const funcs = this.handled.filter(func => this.prospect(func) !== 'none')
    return {
      funcs,
      held: NO_ROOM.held,
      maxRunning: maxRunning([this.#pool, this.#commands]),
      limit,
      isWhole: funcs.length === this.#handlers.length,
    }
  }

  prospect(func: string): 'now' | 'soon' | 'none' {
    const handler = this.#handlers.find(handler => handler.func === func)
    if (!handler || (isModule(handler) && this.#pool.failure)) return 'none'
    if (this.#running >= this.#maxWorkers) return 'soon'
    return !isModule(handler) || (this.#pool.room > 0 && this.#pool.funcs.includes(func)) ? 'now' : 'soon'
  }

  start(job: JobRow, onEnd: (ended: Ended) => void): Run {
    this.#running++
    const executor = this.#commands.funcs.includes(job.func) ? this.#commands : this.#pool
    return executor.start(job, ended => {
      this.#running--
      onEnd(ended)
    })
  }

  /** @param patienceMs how long hooks behind a job that has ended may still take */
  async close(patienceMs: number): Promise<void> {
    await this.#pool.close(patienceMs)
  }
}

function maxRunning(executors: readonly Pick<Executor, 'limits'>[]): ReadonlyMap<string, number> {
  const limited = executors.flatMap(({limits}) => [...limits]).filter(([, {maxRunning}]) => maxRunning > 0)
  return new Map(limited.map(([func, {maxRunning}]) => [func, maxRunning]))
}

function isModule(handler: Handler): handler is ModuleHandler {
  return handler.kind === 'module'
}

function isCommand(handler: Handler): handler is CommandHandler {
  return handler.kind === 'command'
}
