/** `jobq show` once its words are known. */
import {unknownJob} from '../../client/logs.ts'
import {EXIT, UsageError} from '../../jobs/errors.ts'
import {parseRefs} from '../../jobs/names.ts'
import type {ShownJob} from '../../jobs/rows/history.ts'
import {showDocument, showText} from '../../render/show.ts'
import {withQueueOf} from '../command-queue.ts'
import {complain, printer} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'

export interface ShowFlags extends QueueFlags {
  id?: string[] | undefined
  json?: boolean | undefined
}

/** @returns an object, of several ids an array. @throws NotFoundError of the only one */
export async function run(flags: ShowFlags): Promise<unknown> {
  const {id: words = []} = flags
  if (words.length === 0)
    throw new UsageError('expected ids of jobs, got none', {
      hint: 'write: jobq show 7; `jobq enqueue` prints the id of a job, and `jobq list` shows those in the queue',
    })
  const refs = parseRefs(words, 'ID')
  const print = printer(flags.json)
  const shown: ShownJob[] = []
  await withQueueOf(flags, async queue => {
    for (const ref of refs) {
      const history = await queue.show(ref)
      if (history) {
        print(`${shown.length > 0 ? '\n' : ''}${showText(history)}`)
        shown.push(history)
      } else if (refs.length === 1) throw unknownJob(ref)
      else {
        complain(`jobq: ${unknownJob(ref).message}`)
        process.exitCode = EXIT.notFound
      }
    }
  })
  return refs.length === 1 ? showDocument(shown[0]!) : shown.map(showDocument)
}
