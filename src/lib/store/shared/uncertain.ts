/** The error for an insert whose answer was lost: the job may have been stored, or not. */
import {StoreError} from '../../jobs/errors.ts'
import {isSilent} from './silence.ts'

/** For what must not be repeated elsewhere: a code that does not say "out of reach". @param what such as `the job` */
export function mayBeStored(
  name: string,
  what: string,
  cause: unknown,
  how = isSilent(cause)
    ? `${name} has not answered in time`
    : `the connection to ${name} broke before it answered`,
): StoreError {
  return new StoreError('UNCERTAIN', `${how}: ${what} may have been stored`, {
    hint: 'look with `jobq list` before you enqueue again; with a uniqkey nothing is stored twice',
    cause,
  })
}
