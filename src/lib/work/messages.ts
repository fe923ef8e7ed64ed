/**
 * What is kept of a message: its beginning and its end, 64 KiB in exception_log, jobq_wait and the log. What a worker
 * throws may be of any size, such as the answer of a server, and no server takes a statement of any size.
 */
import {MAX_DEATHS, type RunOutcome} from '../jobs/job.ts'

/** In UTF-8. docs/workers.md names it. */
const MAX_MESSAGE_BYTES = 64 << 10
/** The last of a job's deaths puts those of all into one message, with a few words. */
const MAX_DEATH_BYTES = Math.floor((MAX_MESSAGE_BYTES - 100) / MAX_DEATHS)
/** For the line that stands for what is missing. */
const GAP_BYTES = 64

/** The same with its message cut; mostly the very same. */
export function withMessageCut<Some extends RunOutcome>(outcome: Some): Some {
  switch (outcome.kind) {
    case 'failed':
      return isShort(outcome.message) ? outcome : {...outcome, message: cut(outcome.message)}
    case 'aborted':
      return isShort(outcome.reason) ? outcome : {...outcome, reason: cut(outcome.reason)}
    case 'died':
      return isShort(outcome.how, MAX_DEATH_BYTES)
        ? outcome
        : {...outcome, how: cut(outcome.how, MAX_DEATH_BYTES)}
    default:
      return outcome
  }
}

/** No character has more than three bytes in UTF-8 for each of its units here. */
function isShort(text: string, bytes = MAX_MESSAGE_BYTES): boolean {
  return text.length * 3 <= bytes
}

export function cut(text: string, limit = MAX_MESSAGE_BYTES): string {
  if (isShort(text, limit) || Buffer.byteLength(text) <= limit) return text
  const bytes = Buffer.from(text)
  const half = (limit - GAP_BYTES) >> 1
  const [head, tail] = [startOfCharacter(bytes, half), startOfCharacter(bytes, bytes.length - half + 3)]
  return `${bytes.toString('utf8', 0, head)}\n… ${tail - head} bytes are left out here …\n${bytes.toString('utf8', tail)}`
}

/** At this place or up to three bytes before it. */
function startOfCharacter(bytes: Buffer, at: number): number {
  let start = at
  while ((bytes[start]! & 0xc0) === 0x80) start--
  return start
}
