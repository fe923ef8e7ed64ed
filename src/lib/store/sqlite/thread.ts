/**
 * A thread with a connection of its own: what would keep an event loop waiting is done there (thread-main.ts). It obeys
 * one order after the other and answers each. It keeps its process alive only while someone waits for an answer.
 */
import {Worker} from 'node:worker_threads'
import {EXTENSION, LIBRARY} from '../../own-modules.ts'
import {type Answer, errorOf, type ThreadData} from './thread-protocol.ts'

const MAIN = new URL(`store/sqlite/thread-main${EXTENSION}`, LIBRARY)

export class Thread {
  readonly #worker: Worker
  /** In the order in which they are answered. */
  readonly #asked: PromiseWithResolvers<unknown>[] = []
  /** Resolves when there is no thread any more. */
  readonly ended: Promise<void>
  #failure: Error | undefined
  #isEnding = false

  /** @param youngMb of its memory, for what does not live long; what V8 takes for itself, unless it is given */
  constructor(data: ThreadData, youngMb?: number) {
    const resourceLimits = youngMb === undefined ? {} : {maxYoungGenerationSizeMb: youngMb}
    this.#worker = new Worker(MAIN, {workerData: data, execArgv: [], resourceLimits})
    this.#worker.unref()
    this.#worker.on('message', (answer: Answer) => this.#hear(answer))
    this.#worker.once('error', error => {
      this.#failure = error
    })
    this.ended = new Promise(resolve => {
      this.#worker.once('exit', () => {
        this.#failure ??= new Error(`the thread of SQLite (${data.task}) has ended`)
        for (const {reject} of this.#asked.splice(0)) reject(this.#failure)
        resolve()
      })
    })
  }

  /** Has it come to an end by itself? */
  get isOver(): boolean {
    return this.#failure !== undefined
  }

  /** @throws what it has thrown there, as it is; the error that has ended the thread */
  ask(order: unknown): Promise<unknown> {
    const asked = Promise.withResolvers<unknown>()
    asked.promise.catch(() => {}) // whoever asks several times at once looks at the first that fails
    if (this.#failure) asked.reject(this.#failure)
    else {
      this.#asked.push(asked)
      this.#worker.ref()
      this.#worker.postMessage(order)
    }
    return asked.promise
  }

  /** After all that was asked. */
  end(): Promise<void> {
    this.#isEnding = true
    this.#worker.ref()
    this.#worker.postMessage('end')
    return this.ended
  }

  #hear(answer: Answer): void {
    const {resolve, reject} = this.#asked.shift()!
    if ('failed' in answer) reject(errorOf(answer.failed))
    else resolve(answer.done)
    if (this.#asked.length === 0 && !this.#isEnding) this.#worker.unref()
  }
}
