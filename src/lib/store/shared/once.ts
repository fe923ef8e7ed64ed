/**
 * An enqueue whose answer was lost is done again, and stores nothing twice: it has a token, and a row of jobq_token, written
 * in the job's own transaction, says what was stored under it. Its primary key refuses a second one, whoever is first, also
 * where the first is still under way, on another node of a cluster say.
 */
import {randomBytes} from 'node:crypto'
import {setTimeout as sleep} from 'node:timers/promises'
import {Backoff} from '../../jobs/backoff.ts'
import {monotonic} from '../../jobs/clock.ts'
import {isPassing, StoreError} from '../../jobs/errors.ts'
import {TOKEN_SECONDS} from '../../jobs/job.ts'

/** Those of one moment lie side by side in the table's index. */
export function newToken(): string {
  return `${Date.now().toString(36)}-${randomBytes(9).toString('base64url')}`
}

export interface Once<T> {
  token: string
  /** @throws StoreError UNCERTAIN where the answer was lost */
  store: () => Promise<T>
  /** What was stored under the token, if anything was. */
  find: () => Promise<T | undefined>
  /** How long it is tried again, in milliseconds. */
  patience: number
}

/** @throws what `store` throws; UNCERTAIN with the token where no answer came in time */
export async function storeOnce<T>({token, store, find, patience}: Once<T>): Promise<T> {
  const backoff = new Backoff(50, 2000)
  let lost: StoreError | undefined
  for (let giveUpAt = Infinity; ; ) {
    try {
      return await store()
    } catch (error) {
      const isLost = error instanceof StoreError && error.code === 'UNCERTAIN'
      if (isLost && !lost) {
        lost = error
        giveUpAt = monotonic() + patience
      }
      if (isLost || (lost && isPassing(error))) {
        if (monotonic() > giveUpAt) throw uncertain(lost!, token)
      } else {
        // Refused, perhaps by what it has stored itself
        const found = isPassing(error) ? undefined : await find()
        if (found === undefined) throw error
        return found
      }
    }
    await sleep(backoff.next())
  }
}

function uncertain({message, cause}: StoreError, token: string): StoreError {
  return new StoreError('UNCERTAIN', `${message}, under the token ${token}`, {
    hint: `within ${TOKEN_SECONDS / 60} minutes the same with --token ${token} stores it, unless it is stored`,
    cause,
    token,
  })
}
