/** `jobq logs` once its words are known. */

import type {JobOutput} from '../../client/logs.ts'
import {UsageError} from '../../jobs/errors.ts'
import {idOf, type RowRef} from '../../jobs/job.ts'
import {parseRef, parseWhole} from '../../jobs/names.ts'
import {printableLines} from '../../jobs/printable.ts'
import {textOf} from '../../jobs/value.ts'
import {withQueueOf} from '../command-queue.ts'
import {isTerminal} from '../output.ts'
import {complain, say} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'

export interface LogsFlags extends QueueFlags {
  id?: string | undefined
  attempt?: string | undefined
  follow?: boolean | undefined
  json?: boolean | undefined
}

/** @throws NotFoundError */
export async function run(flags: LogsFlags): Promise<Record<string, unknown> | undefined> {
  const {id: word, json} = flags
  if (word === undefined)
    throw new UsageError('expected the id of a job, got none', {
      hint: 'write: jobq logs 7; `jobq enqueue` prints the id of a job, and `jobq list` shows those in the queue',
    })
  const job = parseRef(word, 'ID')
  const attempt = flags.attempt === undefined ? undefined : parseWhole(flags.attempt, '--attempt', 1)
  if (flags.follow) return (await import('../follow.ts')).follow(flags, job)
  return withQueueOf(flags, async queue => {
    const found = await queue.logs(job, {attempt})
    if (!found) {
      const isRunning = (await queue.show(job))?.job?.state === 'running'
      complain(
        `jobq: no output is kept of ${ofWhat(job, attempt)}${isRunning ? '; it runs: see --follow' : ''}`,
      )
    } else if (found.isCut) complain(`jobq: only the end was kept, the last ${found.output.length} bytes`)
    if (found && !json) show(found)
    return {
      job_id: idOf(job),
      attempt: found?.attempt ?? attempt ?? null,
      is_cut: found?.isCut ?? false,
      output: found && textOf(found.output),
    }
  })
}

/** As it was written, but for a terminal, which would obey it, and gets a whole last line. */
function show(found: JobOutput): void {
  const text = printableLines(textOf(found.output))
  if (isTerminal()) say(text.endsWith('\n') ? text : `${text}\n`)
  else say(found.output)
}

function ofWhat(job: RowRef, attempt: number | undefined): string {
  return attempt === undefined ? `job ${idOf(job)}` : `attempt ${attempt} of job ${idOf(job)}`
}
