/** The source of an enqueueMany, for a transaction that may have to start over. */
import type {NewJob} from '../job.ts'

/** So much can be sent again after a deadlock; what is longer can't start over. */
const REPLAY_JOBS = 20_000
const REPLAY_BYTES = 16 << 20

/** A source that is read once, but can be told again from the start as long as that is not too long to keep. */
export class Replay {
  readonly #source: Iterator<NewJob>
  #kept: NewJob[] = []
  #bytes = 0
  isWhole = true

  constructor(source: Iterable<NewJob>) {
    this.#source = source[Symbol.iterator]()
  }

  *jobs(): Generator<NewJob> {
    for (const job of [...this.#kept]) yield job
    for (let job = this.#next(); job !== null; job = this.#next()) yield job
  }

  end(): void {
    this.#source.return?.()
  }

  #next(): NewJob | null {
    let next: IteratorResult<NewJob>
    try {
      next = this.#source.next()
    } catch (cause) {
      throw new SourceError('', {cause})
    }
    if (next.done) return null
    if (this.isWhole) this.#keep(next.value)
    return next.value
  }

  #keep(job: NewJob): void {
    this.#kept.push(job)
    this.#bytes += job.arg?.length ?? 0
    if (this.#kept.length <= REPLAY_JOBS && this.#bytes <= REPLAY_BYTES) return
    this.isWhole = false
    this.#kept = []
  }
}

/** What an enqueueMany's source threw: it is the caller's, whatever code it carries. */
export class SourceError extends Error {}
