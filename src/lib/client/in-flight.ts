/** The calls of a queue on its store: refused once it is closed, and waited for before the store is. */
import {setMaxListeners} from 'node:events'
import {ClosedError} from '../jobs/errors.ts'
import type {Store} from '../store/store.ts'

export class Calls {
  readonly #store: Store
  readonly #running = new Set<Promise<unknown>>()
  readonly #closing = new AbortController()

  constructor(store: Store) {
    this.#store = store
    setMaxListeners(0, this.#closing.signal)
  }

  /** @throws ClosedError */
  get store(): Store {
    if (this.#closing.signal.aborted) throw closed()
    return this.#store
  }

  /** Aborts when the queue is closed: what waits for something is to be given up. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /** The store as a message may name it. */
  get name(): string {
    return this.#store.name
  }

  /** @throws ClosedError, and what the call throws */
  async make<T>(call: (store: Store) => Promise<T>): Promise<T> {
    const running = call(this.store)
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  /** From here on every call is refused. */
  refuse(): void {
    this.#closing.abort(closed())
  }

  /** Resolves when no call is running any more. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#running)
  }

  async closeStore(): Promise<void> {
    await this.#store.close()
  }
}

function closed(): ClosedError {
  return new ClosedError('the queue is closed', {hint: 'open it again with JobQueue.open()'})
}
