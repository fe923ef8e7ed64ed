/** The jobs that an executable is to work with its own, for it to read: a line of JSON each. */
import {idOf, type JobRow} from '../../../jobs/job.ts'
import {textOrBytes} from '../../../jobs/serializers/serializers.ts'
import {givenContext} from '../../../jobs/side-tables/keep-result.ts'

/** The descriptor behind stderr, by the name under which a script opens it. */
export const OTHERS = '/dev/fd/3'

export function othersFile(others: readonly JobRow[]): Buffer {
  return Buffer.from(others.map(lineOf).join(''))
}

/** The argument as it is stored, if it is JSON: its line breaks are blanks to JSON. */
function lineOf(job: JobRow): string {
  const {uniqkey, priority, retryCnt: retry_cnt, context} = job
  const facts = {
    id: idOf(job),
    uniqkey,
    priority,
    retry_cnt,
    context: context === undefined ? {} : givenContext(context),
  }
  return `${JSON.stringify(facts).slice(0, -1)},"arg":${argText(job.arg)}}\n`
}

function argText(arg: Uint8Array | null): string {
  if (arg === null) return 'null'
  const text = textOrBytes(arg)
  if (typeof text !== 'string') return JSON.stringify({base64: Buffer.from(text).toString('base64')})
  return isJson(text) ? text.replace(/[\r\n]+/g, ' ') : JSON.stringify(text)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
