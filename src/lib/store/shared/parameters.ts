/** What a server's address may have behind its `?`. What would not be obeyed is refused, not left out without a word. */
import {UsageError} from '../../jobs/errors.ts'

const TIMEOUTS = ['connect-timeout', 'answer-timeout', 'connect_timeout', 'answer_timeout']

/** @throws UsageError that names the unknown one, unless that may be a piece of a password */
export function checkParameters({searchParams}: URL, own: readonly string[]): void {
  const known = [...own, ...TIMEOUTS]
  for (const [name, value] of searchParams) {
    if (known.includes(name)) continue
    const shown = value !== '' && /^[a-z_-]+$/i.test(name) ? ` ${JSON.stringify(name)}` : ''
    throw new UsageError(`the address has a parameter${shown} that would not be obeyed`, {
      hint: `leave it out; known are ${known.join(', ')}`,
    })
  }
}
