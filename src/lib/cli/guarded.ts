/** Every way out of a command goes through here, so that errors look alike and the exit status is honest. */
import {UnfinishedError} from '../jobs/errors.ts'
import {showError, showUnknown, UNKNOWN} from './errors.ts'
import {failWith} from './output-guard.ts'

export async function guarded(argv: readonly string[], work: () => Promise<void>): Promise<void> {
  const isCheck = argv[0] === 'check'
  if (isCheck) failWith(UNKNOWN)
  const show = isCheck ? showUnknown : showError
  const fail = (error: unknown) => show(error, wantsJson(argv))
  const unfinished = () => fail(new UnfinishedError())
  process.once('beforeExit', unfinished)
  process.on('uncaughtException', error => {
    fail(error)
    process.exit()
  })
  try {
    await work()
  } catch (error) {
    fail(error)
  } finally {
    process.off('beforeExit', unfinished)
  }
}

/** Was --json asked for? A mistake in the other words must not hide it. */
export function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return argv.slice(0, end < 0 ? argv.length : end).includes('--json')
}
