/**
 * What passes between a thread and who has started it. An error loses its class on the way, so it is sent as what it is
 * made of.
 */
import {ArgumentError, DuplicateJobError, StoreError, type StoreErrorCode} from '../../jobs/errors.ts'
import type {FilePlace} from './file/known-file.ts'

/** What makes a connection like another one. */
export interface ConnectionAddress {
  place: FilePlace
  name: string
  isDurable: boolean
  /** Milliseconds that a lock is waited for. */
  patience: number
  /** Milliseconds that the link's clock is ahead of the host's. */
  clockOffset: number
}

export type ThreadData =
  | {task: 'bulk' | 'reads'; address: ConnectionAddress}
  | {task: 'checkpoint' | 'shorten'; place: FilePlace}

/** To one order. */
export type Answer = {done: unknown} | {failed: Failure}

/** Of the -wal: how many pages it has, and how many of them are in the database. */
export interface Shortened {
  isShort: boolean
  pages: number
  moved: number
}

/** What is done in a thread, from its first order to its end. */
export interface Task {
  obey(order: unknown): unknown
  end(): void | Promise<void>
}

/** An error without its class. */
export type Failure =
  | {
      is: 'duplicate'
      func: string
      uniqkey: string
      existingId: number | null
      takenUntil: number | null
      nth: number | null
    }
  | {is: 'argument'; message: string; nth: number | null}
  | {is: 'store'; code: StoreErrorCode; message: string; hint: string}
  | {is: 'other'; code: unknown; message: string; stack: string | undefined}

export function failureOf(error: unknown): Failure {
  if (error instanceof DuplicateJobError) {
    const {func, uniqkey, existingId, takenUntil, nth = null} = error
    return {is: 'duplicate', func, uniqkey, existingId, takenUntil, nth}
  }
  const {message, stack, code} = error as Error & {code?: unknown}
  if (error instanceof ArgumentError) return {is: 'argument', message, nth: error.nth ?? null}
  if (error instanceof StoreError) return {is: 'store', code: error.code, message, hint: error.hint}
  return {is: 'other', code, message, stack}
}

/** The error that it was in the thread. */
export function errorOf(failure: Failure): Error {
  switch (failure.is) {
    case 'duplicate': {
      const {func, uniqkey, existingId, takenUntil} = failure
      const how = takenUntil === null ? {} : {takenUntil}
      return nthOf(failure, new DuplicateJobError(func, uniqkey, existingId, how))
    }
    case 'argument':
      return nthOf(failure, new ArgumentError(failure.message))
    case 'store':
      return new StoreError(failure.code, failure.message, {hint: failure.hint})
    case 'other':
      return Object.assign(new Error(failure.message), {code: failure.code, stack: failure.stack})
  }
}

function nthOf({nth}: {nth: number | null}, error: ArgumentError | DuplicateJobError): Error {
  if (nth !== null) error.nth = nth
  return error
}
