/**
 * What a pool's children load: all that there are handlers for, but not, for as long as that lasts, what keeps a child from
 * getting on (it is late), and no more what can't be loaded.
 */
import type {ModuleHandler} from '../../handlers.ts'
import type {ToLoad} from '../protocol.ts'

export class Loads<Child> {
  #all: ToLoad
  /** The children that don't get on at a file, which the others do without meanwhile. */
  readonly #late = new Map<Child, string>()
  /** What a new child loads. */
  now: ToLoad
  /** The functions of that. */
  funcs: readonly string[]

  constructor(handlers: readonly ModuleHandler[], settings: Omit<ToLoad, 'workers'>) {
    this.#all = {...settings, workers: handlers.map(({func, file, settings}) => ({func, file, settings}))}
    this.now = this.#all
    this.funcs = []
    this.#choose()
  }

  /** Is it still being loaded, while others are worked? */
  isLate(func: string): boolean {
    return (
      this.#late.size > 0 &&
      !this.funcs.includes(func) &&
      this.#all.workers.some(worker => worker.func === func)
    )
  }

  isLateAt(child: Child): boolean {
    return this.#late.has(child)
  }

  /** Late ones included. */
  funcsOf(file: string): string[] {
    return this.#all.workers.filter(worker => worker.file === file).map(({func}) => func)
  }

  /** The others do without that file, until this child has it. */
  late(child: Child, file: string): void {
    this.#late.set(child, file)
    this.#choose()
  }

  /** It has it, or won't. @returns false if it was not late, or is no longer waited for */
  noLonger(child: Child): boolean {
    if (!this.#late.delete(child)) return false
    this.#choose()
    return true
  }

  leaveOut(file: string): void {
    this.#all = {...this.#all, workers: this.#all.workers.filter(worker => worker.file !== file)}
    this.#choose()
  }

  #choose(): void {
    const late = [...this.#late.values()]
    const workers = this.#all.workers.filter(({file}) => !late.includes(file))
    this.now = {...this.#all, workers}
    this.funcs = workers.map(({func}) => func)
  }
}
