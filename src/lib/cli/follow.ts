/** `jobq logs --follow`: prints what a job writes until it has ended, or this is stopped, and ends with its exit status. */

import type {FollowedOutput} from '../client/follow.ts'
import {EXIT} from '../jobs/errors.ts'
import {idOf, type JobEnd, type RowRef} from '../jobs/job.ts'
import {printableJson, printableLines} from '../jobs/printable.ts'
import {textOf} from '../jobs/value.ts'
import {withQueueOf} from './command-queue.ts'
import {isTerminal} from './output.ts'
import {complain, say} from './output-guard.ts'
import type {QueueFlags} from './settings.ts'
import {Stop} from './stop.ts'

const STATUS: Record<JobEnd['outcome'], number> = {
  completed: EXIT.done,
  replaced: EXIT.done,
  failed: EXIT.jobFailed,
  aborted: EXIT.jobFailed,
  gone: EXIT.notFound,
}

/** @throws NotFoundError */
export async function follow(
  flags: QueueFlags & {json?: boolean | undefined},
  job: RowRef,
): Promise<undefined> {
  using stop = new Stop()
  const tell = flags.json ? asLines(job) : asText()
  await withQueueOf(flags, async queue => {
    try {
      for await (const event of queue.follow(job, {signal: stop.signal})) {
        tell(event)
        if (event.kind === 'end') process.exitCode = STATUS[event.end.outcome]
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error
    }
  })
  if (stop.exitCode !== null) process.exitCode = stop.exitCode
}

function asText(): (event: FollowedOutput) => void {
  const isShown = isTerminal()
  let isOpen = false
  return event => {
    if (event.kind === 'output') {
      if (event.isCut) complain('jobq: some of what it wrote before is left out')
      const text = textOf(event.output)
      isOpen = !text.endsWith('\n')
      say(isShown ? printableLines(text) : event.output)
      return
    }
    if (isOpen && isShown) say('\n')
    isOpen = false
    const words = wordsOf(event)
    if (words !== '') complain(`jobq: ${words}`)
  }
}

function wordsOf(event: Exclude<FollowedOutput, {kind: 'output'}>): string {
  switch (event.kind) {
    case 'attempt':
      return `attempt ${event.attempt.nth} ${event.attempt.outcome}; it is tried again`
    case 'mute':
      return 'what it writes can not be followed, since who runs it does not tell (a Perl worker, or an application); its end is waited for'
    case 'end': {
      const {outcome, message} = event.end
      const [first = ''] = message.split('\n', 1)
      if (outcome === 'gone') return 'it has left the queue, and how it ended is not known'
      return outcome === 'completed' ? '' : `it ended: ${outcome}${first && ` (${first})`}`
    }
  }
}

/** A document a line. */
function asLines(job: RowRef): (event: FollowedOutput) => void {
  return event => {
    const {kind, ...fields} = event
    const of = {job_id: idOf(job)}
    const document =
      event.kind === 'output'
        ? {...of, output: textOf(event.output), is_cut: event.isCut}
        : event.kind === 'end'
          ? {...of, outcome: event.end.outcome, message: event.end.message}
          : event.kind === 'attempt'
            ? {...of, attempt: event.attempt.nth, outcome: event.attempt.outcome}
            : {...of, ...fields, event: kind}
    say(`${printableJson(JSON.stringify(document))}\n`)
  }
}
