/** What waits for jobs that were cancelled fails: whoever cancels sees to it, since there may be nobody who works. */
import type {Store} from '../store/store.ts'

/** A few jobs in each transaction. Whoever works goes on with what is left when this process ends. */
export async function failDependents(store: Store): Promise<void> {
  for (let isMore = true; isMore; ) isMore = (await store.failAfter()).isMore
}
