/**
 * Turns on MySQL whose end is not known, since the connection broke before it was answered. One that was told before its
 * COMMIT (turn.ts), and then lost, is mended: its ends are written and its jobs taken once more.
 */
import type {JobRow, Lease, Settlement} from '../../jobs/job.ts'

/** A turn that was told before its COMMIT was answered. */
interface Unconfirmed {
  settlements: readonly Settlement[]
  taken: readonly Pick<JobRow, 'id' | 'grabbedUntil' | 'retryCnt'>[]
}

export class Doubts {
  readonly #unconfirmed = new Set<Unconfirmed>()
  /** Those whose COMMIT has failed, the first one first. */
  readonly #failed = new Set<Unconfirmed>()

  get hasFailed(): boolean {
    return this.#failed.size > 0
  }

  /** @param onFailure called if the commit fails */
  await(
    settlements: readonly Settlement[],
    jobs: readonly JobRow[],
    committed: Promise<void>,
    onFailure: () => void,
  ): void {
    const turn = {
      settlements,
      taken: jobs.map(({id, grabbedUntil, retryCnt}) => ({id, grabbedUntil, retryCnt})),
    }
    this.#unconfirmed.add(turn)
    committed.then(
      () => this.#unconfirmed.delete(turn),
      () => {
        this.#unconfirmed.delete(turn)
        this.#failed.add(turn)
        onFailure()
      },
    )
  }

  /** Was it taken by a turn whose COMMIT has not been answered, or has failed? */
  isTaken(lease: Lease): boolean {
    const isIt = ({taken}: Unconfirmed) => taken.some(({id}) => id === lease.id)
    return [...this.#unconfirmed, ...this.#failed].some(isIt)
  }

  /**
   * Has what failed written once more, one turn after the other: a later one may settle what an earlier one took. Each is
   * written only where that has not been done: so nothing is counted twice, and no one else gets a job that is at work here,
   * but for the moment until then.
   */
  async mend(write: (settlements: Settlement[], statements: string[]) => Promise<void>): Promise<void> {
    for (const turn of [...this.#failed]) {
      const {settlements, taken} = turn
      // A job that was given back and taken again in one second has the same lease: whether it was is not to be seen
      const isAgain = ({lease}: Settlement) =>
        taken.some(({id, grabbedUntil}) => id === lease.id && grabbedUntil === lease.grabbedUntil)
      await write(
        settlements.filter(settlement => !isAgain(settlement)),
        taken.map(
          ({id, grabbedUntil, retryCnt}) =>
            `UPDATE job SET grabbed_until = ${grabbedUntil} WHERE id = ${id} AND grabbed_until = 0 AND retry_cnt = ${retryCnt}`,
        ),
      )
      this.#failed.delete(turn)
    }
  }
}
