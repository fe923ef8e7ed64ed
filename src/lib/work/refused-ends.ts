/**
 * Ends that the store does not take: a text that its columns can't hold, a job in the place of another that is larger
 * than the server takes, a trigger that refuses a row. Each is settled by itself, so that it holds up no others.
 */
import {StoreError} from '../jobs/errors.ts'
import {idOf} from '../jobs/job.ts'
import type {SettleResult, Store} from '../store/store.ts'
import type {Attempt} from './attempt.ts'
import type {JobLog} from './log/log.ts'
import type {StoreRetry} from './store-retry.ts'

const NOTHING = {funcs: [], limit: 0, lease: 0}

/**
 * Where one end is refused, the turn is undone with all other ends in it: so each is written in a turn of its own. One
 * that is refused there is written with its result in ASCII, then without the output that was to be kept; if there are none, or
 * that does not help, it has failed, which is told in a few words. If not even that is taken, it is left: its job's lease runs
 * out, and counts as a death, so that it can't go on for ever. If the store takes nothing at all, that is no job's doing.
 */
export class RefusedEnds {
  readonly #store: Store
  readonly #storeRetry: StoreRetry
  readonly #log: JobLog

  constructor(store: Store, storeRetry: StoreRetry, log: JobLog) {
    this.#store = store
    this.#storeRetry = storeRetry
    this.#log = log
  }

  /** @returns how each was settled, in order; the outcomes are those that were written. @throws StoreError */
  async settle(attempts: readonly Attempt[]): Promise<SettleResult[]> {
    const results: SettleResult[] = []
    for (const attempt of attempts) results.push(await this.#settleOne(attempt))
    return results
  }

  async #settleOne(attempt: Attempt): Promise<SettleResult> {
    try {
      return await this.#write(attempt)
    } catch (error) {
      if (isOfStore(error)) throw error
      if (attempt.escapeResult()) return await this.#settleOne(attempt)
      if (attempt.refuseOutput()) return await this.#settleWithoutOutput(attempt, error as Error)
      attempt.refuse((error as Error).message)
      return await this.#write(attempt).catch((error: unknown) => this.#leave(attempt, error))
    }
  }

  async #settleWithoutOutput(attempt: Attempt, {message}: Error): Promise<SettleResult> {
    const {outcome} = attempt
    const result = await this.#settleOne(attempt)
    if (attempt.outcome === outcome)
      this.#log.trouble(`the output of job ${idOf(attempt.job)} could not be kept (${message})`)
    return result
  }

  async #write({settlement}: Attempt): Promise<SettleResult> {
    const turn = await this.#storeRetry.with(
      () => this.#store.turn([settlement], NOTHING),
      () => false,
    )
    return turn!.settled[0]!
  }

  #leave(attempt: Attempt, error: unknown): SettleResult {
    if (isOfStore(error)) throw error
    attempt.outcome = {kind: 'released'}
    this.#log.trouble(
      `the end of job ${idOf(attempt.job)} could not be written (${(error as Error).message}): it runs again when its lease has run out`,
    )
    return {held: true}
  }
}

/** One of which no job's end is the reason. */
export function isOfStore(error: unknown): boolean {
  return error instanceof StoreError && error.code !== 'DATABASE'
}
