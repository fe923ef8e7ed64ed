/** Settlements and renewals that were sent to a server and not answered: the same ones will be sent again. */
import type {Lease, Settlement} from '../../jobs/job.ts'
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

/** Renewals of leases that were sent and not answered: what is renewed again may have a later end by now. */
export class UnansweredRenewals {
  readonly #until = new Map<number, number>()

  /** @param renew is told of a lease whether that is so; while the old end is not past, no one else can have set a later one */
  async renew<T>(
    leases: readonly Lease[],
    renew: (mayBeDone: (lease: Lease) => boolean) => Promise<T>,
  ): Promise<T> {
    try {
      const renewed = await renew(({id, grabbedUntil}) => this.#until.get(id) === grabbedUntil)
      this.#until.clear()
      return renewed
    } catch (error) {
      for (const {id, grabbedUntil} of leases) this.#until.set(id, grabbedUntil)
      throw error
    }
  }
}
