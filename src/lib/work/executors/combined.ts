/**
 * The executors of one `jobq work`, together: modules go to the pool, executables are spawned. At most maxWorkers of them
 * work at once: an executable is one, and so are jobsPerChild jobs of modules.
 */
import type {WorkerError} from '../../jobs/errors.ts'
import type {JobRow, Progress, TakenJob} from '../../jobs/job.ts'
import type {CommandHandler, Found, Handler, ModuleHandler} from '../handlers.ts'
import type {JobLog} from '../log/log.ts'
import {CommandExecutor} from './command.ts'
import {
  type Coalescing,
  type Ended,
  type Executor,
  type Executors,
  joinedMaps,
  type Prospect,
  type Room,
  type Run,
  type WorkerView,
} from './executor.ts'
import {Pool, type PoolSettings, type Surroundings} from './pool/pool.ts'

export type CombinedSettings = PoolSettings & {
  /** The database's address for executables, in JOBQ_DB. */
  db: string
}

const NO_FUNCS: readonly string[] = []
const NO_ROOM: Room = {funcs: NO_FUNCS, limit: 0, isWhole: false}

export class CombinedExecutors implements Executors {
  readonly isPrompt = false
  readonly #pool: Pool
  readonly #commands: CommandExecutor
  readonly #log: JobLog
  #handlers: Map<string, Handler>
  #maxWorkers: number
  #jobsPerChild: number
  /** How many of each run. */
  #modules = 0
  #processes = 0
  /** Of both, as it was put together from these. */
  #shares: [modules: Executors['shares'], commands: Executors['shares'], both: Executors['shares']] | null =
    null

  /** @param surroundings `onRoom` is called when an executor can take a job again, other than by a job's end */
  constructor(handlers: readonly Handler[], settings: CombinedSettings, surroundings: Surroundings) {
    this.#handlers = byFunc(handlers)
    this.#maxWorkers = settings.maxWorkers
    this.#jobsPerChild = settings.jobsPerChild
    this.#log = surroundings.log
    this.#pool = new Pool(handlers.filter(isModule), settings, surroundings, this.#leaveOut)
    this.#commands = new CommandExecutor(handlers.filter(isCommand), surroundings, settings)
  }

  get maxWorkers(): number {
    return this.#maxWorkers
  }

  /** How many jobs may run at once. */
  get places(): number {
    return this.#hasModules ? this.#maxWorkers * this.#jobsPerChild : this.#maxWorkers
  }

  get #hasModules(): boolean {
    return this.#jobsPerChild === 1 || [...this.#handlers.values()].some(isModule)
  }

  /** The functions there are workers for. */
  get handled(): string[] {
    return [...this.#handlers.keys()].filter(func => !this.#pool.isLate(func))
  }

  /** Those whose workers are still being loaded, while the others are worked. */
  get late(): string[] {
    return [...this.#handlers.keys()].filter(func => this.#pool.isLate(func))
  }

  /** Where jobs run or could run, for the scoreboard. */
  get workers(): WorkerView[] {
    return [...this.#pool.workers, ...this.#commands.workers]
  }

  /** Why no module, or not each executable, can be worked, at the moment; null while modules are about to be loaded. */
  get failure(): Error | null {
    return this.#pool.failure ?? (this.#pool.soon.length > 0 ? null : this.#commands.failure)
  }

  /** @throws WorkerError if a worker can't be loaded */
  async ready(): Promise<void> {
    await this.#pool.ready()
  }

  /** Jobs that start from now on get these workers; no running job is interrupted. */
  reload({handlers: found, leftOut}: Found, settings: PoolSettings): void {
    const handlers = [...found, ...leftOut.flatMap(({func}) => this.#handlers.get(func) ?? [])]
    this.#handlers = byFunc(handlers)
    this.#maxWorkers = settings.maxWorkers
    this.#jobsPerChild = settings.jobsPerChild
    this.#pool.reload(handlers.filter(isModule), settings)
    this.#commands.reload(handlers.filter(isCommand), settings.defaults)
  }

  readonly #leaveOut = (funcs: readonly string[], error?: WorkerError): boolean => {
    if (funcs.length === this.#handlers.size) return false
    if (!error) return true
    for (const func of funcs) {
      this.#handlers.delete(func)
      this.#log.trouble(leftOutWords(func, error.message, error.hint))
    }
    return true
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
    if (ahead > 0)
      return this.#roomAhead(
        Math.max(0, this.#hasModules ? this.#freeForModules : this.#freeForCommands) + ahead,
      )
    const places = Math.min(this.#freeForModules, this.#pool.room)
    const modules = places > 0 ? this.#pool.funcs : NO_FUNCS
    const processes = Math.min(this.#freeForCommands, this.#commands.room)
    const commands = processes > 0 ? this.#commands.funcs : NO_FUNCS
    if (modules.length + commands.length === 0) return NO_ROOM
    const held = modules.length > 0 ? NO_FUNCS : this.#pool.soon
    const funcs = joined(joined(modules, commands), held)
    return {
      funcs,
      held: new Set(held),
      maxRunning: this.#maxRunning(),
      limit: Math.min(modules.length > 0 ? places : processes, commands.length > 0 ? processes : places),
      isWhole: held.length === 0 && funcs.length === this.#handlers.size,
    }
  }

  /** A running executable takes all the places of a child. */
  get #freeForModules(): number {
    return (this.#maxWorkers - this.#processes) * this.#jobsPerChild - this.#modules
  }

  get #freeForCommands(): number {
    return this.#maxWorkers - this.#processes - Math.ceil(this.#modules / this.#jobsPerChild)
  }

  #roomAhead(limit: number): Room {
    const funcs = this.handled.filter(func => this.prospect(func) !== 'none')
    return {
      funcs,
      maxRunning: this.#maxRunning(),
      limit,
      isWhole: funcs.length === this.#handlers.size,
    }
  }

  #maxRunning(): ReadonlyMap<string, number> {
    return joinedMaps(this.#pool.maxRunning, this.#commands.maxRunning)
  }

  /** The functions that may have to wait though there is room, as their workers said last. */
  get limited(): string[] {
    return [...this.#maxRunning().keys(), ...this.shares.keys()]
  }

  get coalesced(): ReadonlyMap<string, Coalescing> {
    return joinedMaps(this.#pool.coalesced, this.#commands.coalesced)
  }

  /** Mostly there is nothing of one kind, or of either. */
  get shares(): Executors['shares'] {
    const [modules, commands] = [this.#pool.shares, this.#commands.shares]
    if (commands.size === 0) return modules
    if (modules.size === 0) return commands
    const [known, others, both] = this.#shares ?? []
    if (both && known === modules && others === commands) return both
    const all = new Map([...modules, ...commands])
    this.#shares = [modules, commands, all]
    return all
  }

  prospect(func: string, job?: JobRow): Prospect {
    const executor = this.#executorOf(func)
    const prospect = executor?.prospect(func, job) ?? 'none'
    const free = executor === this.#pool ? this.#freeForModules : this.#freeForCommands
    return prospect === 'now' && free <= 0 ? 'soon' : prospect
  }

  start(
    job: TakenJob,
    since: number,
    onEnd: (ended: Ended) => void,
    onProgress: (progress: Progress) => void,
  ): Run {
    if (this.#executorOf(job.func) === this.#commands) {
      this.#processes++
      const hasEnded = (ended: Ended) => {
        this.#processes--
        onEnd(ended)
      }
      return this.#commands.start(job, since, hasEnded, onProgress)
    }
    this.#modules++
    const hasEnded = (ended: Ended) => {
      this.#modules--
      onEnd(ended)
    }
    return this.#pool.start(job, since, hasEnded, onProgress)
  }

  /** Who runs jobs of a function. */
  #executorOf(func: string): Executor | undefined {
    const handler = this.#handlers.get(func)
    return handler && (isModule(handler) ? this.#pool : this.#commands)
  }

  /** @param patienceMs how long hooks behind a job that has ended may still take */
  async close(patienceMs: number): Promise<void> {
    this.#commands.close()
    await this.#pool.close(patienceMs)
  }
}

export function leftOutWords(func: string, message: string, hint: string): string {
  return `${func} is left out: ${message}${hint ? ` (${hint})` : ''}`
}

function byFunc(handlers: readonly Handler[]): Map<string, Handler> {
  return new Map(handlers.map(handler => [handler.func, handler]))
}

/** Mostly there is only one of them, and nothing to copy: this is asked at every turn. */
function joined(some: readonly string[], more: readonly string[]): readonly string[] {
  if (more.length === 0) return some
  return some.length === 0 ? more : [...some, ...more]
}

function isModule(handler: Handler): handler is ModuleHandler {
  return handler.kind === 'module'
}

function isCommand(handler: Handler): handler is CommandHandler {
  return handler.kind === 'command'
}
