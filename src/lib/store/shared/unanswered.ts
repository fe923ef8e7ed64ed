/** Settlements that were sent to a server and not answered: the same ones will be sent again. */
import type {Settlement} from '../../jobs/job.ts'
import type {SettleResult} from '../store.ts'

export class Unanswered {
  /** Ends of leases, by the job. */
  readonly #until = new Map<number, number>()

  add(settlements: readonly Settlement[]): void {
    for (const {lease} of settlements) this.#until.set(lease.id, lease.grabbedUntil)
  }

  /**
   * What was settled before, without an answer, is not lost: while its lease holds no one else can have taken it, so it
   * was that which has ended it.
   * @param now by the server's clock
   */
  told({lease}: Settlement, result: SettleResult, now: number): SettleResult {
    const until = this.#until.get(lease.id)
    this.#until.delete(lease.id)
    return !result.held && until === lease.grabbedUntil && until > now ? {held: true} : result
  }
}
