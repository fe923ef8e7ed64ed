/** Every way out of a command goes through here, so that errors look alike and the exit status is honest. */
import {StrayError, UnfinishedError} from '../jobs/errors.ts'
import {showError, showUnknown, UNKNOWN} from './errors.ts'
import {failWith} from './output-guard.ts'

/** @param root the package's folder: what is thrown outside of it, where nobody can catch it, is no defect of jobq's */
export async function guarded(
  argv: readonly string[],
  root: string,
  work: () => Promise<void>,
): Promise<void> {
  const isCheck = argv[0] === 'check'
  if (isCheck) failWith(UNKNOWN)
  const show = isCheck ? showUnknown : showError
  const fail = (error: unknown) => show(error, wantsJson(argv))
  const unfinished = () => fail(new UnfinishedError())
  process.once('beforeExit', unfinished)
  process.on('uncaughtException', error => {
    const file = thrownIn(error)
    fail(file === null || file.startsWith(`${root}/`) ? error : new StrayError(file, error))
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

/** The file of the first frame that has one. */
function thrownIn(error: Error): string | null {
  return (
    /^ +at .*?(\/[^()\n]*?)(?:\?[^()\n]*?)?:\d+:\d+\)?$/m.exec(
      error.stack?.replaceAll('file://', '') ?? '',
    )?.[1] ?? null
  )
}

/** Was --json asked for? A mistake in the other words must not hide it. */
export function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return argv.slice(0, end < 0 ? argv.length : end).includes('--json')
}
