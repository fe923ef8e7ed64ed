/** `jobq list` once its words are known: a listing in the form that its reader wants, in flat memory. */

import type {JobOptions} from '../../client/options.ts'
import type {JobQueue} from '../../client/queue.ts'
import {JOB_STATES, type JobState} from '../../jobs/job.ts'
import {parseWhole} from '../../jobs/names.ts'
import {toJson} from '../../render/json.ts'
import {EXCEPTIONS, JOBS, type Listing, STATUSES} from '../../render/listing.ts'
import {tellPassedOver, withQueueOf} from '../command-queue.ts'
import {columns, isTerminal, writeAll} from '../output.ts'
import {complain} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'
import {tagOptions} from '../tag-options.ts'

/** So many rows a terminal is shown, unless --limit says how many. */
const SCREENFUL = 50
/** How many rows of a long table are drawn at once. */
const TABLE_PART = 500

export interface ListFlags extends QueueFlags {
  func?: string | undefined
  state?: string | undefined
  uniqkey?: string | undefined
  tag?: string[] | undefined
  failed?: boolean | undefined
  finished?: boolean | undefined
  limit?: string | undefined
  offset?: string | undefined
  json?: boolean | undefined
}

/** Shows the rows as they are read, under --json too: there may be more of them than memory holds. */
export async function run(flags: ListFlags): Promise<void> {
  const {func, uniqkey, json = false} = flags
  const state = flags.state as JobState | undefined
  const wanted = flags.limit === undefined ? undefined : parseWhole(flags.limit, '--limit')
  const offset = parseWhole(flags.offset ?? '0', '--offset')
  const isFirst = wanted === undefined && !json && isTerminal()
  const tags = tagOptions(flags.tag)
  const choice = {func, uniqkey, tags}
  const page = {...choice, limit: isFirst ? SCREENFUL + 1 : wanted, offset}
  await withQueueOf(flags, async queue => {
    const show = <Row>(rows: AsyncIterable<Row>, listing: Listing<Row>, count: () => Promise<number>) =>
      isFirst
        ? showFirst(rows, listing, async () => (await count()) - offset)
        : showListing(rows, listing, json)
    if (flags.failed)
      return show(queue.eachException(page), EXCEPTIONS, () =>
        tags ? countRows(queue.eachException(choice)) : queue.logCount('exception_log', {func, uniqkey}),
      )
    if (flags.finished)
      return show(queue.eachStatus(page), STATUSES, () =>
        tags ? countRows(queue.eachStatus(choice)) : queue.logCount('job_status', {func, uniqkey}),
      )
    await show(queue.eachJob({...page, state}), JOBS, () => countJobs(queue, {...choice, state}))
    await tellPassedOver(queue, 'listed')
  })
}

async function countJobs(queue: JobQueue, choice: JobOptions): Promise<number> {
  const {func, uniqkey, tags, state} = choice
  if (uniqkey !== undefined || tags) return countRows(queue.eachJob(choice))
  const states = state === undefined ? JOB_STATES : [state]
  const counts = (await queue.counts(func)).flatMap(ofFunc => states.map(state => ofFunc[state]))
  return counts.reduce((sum, count) => sum + count, 0)
}

async function countRows(rows: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const _ of rows) count++
  return count
}

/** @param count of all of them; while rows come and go it may be of another moment */
async function showFirst<Row>(
  rows: AsyncIterable<Row>,
  listing: Listing<Row>,
  count: () => Promise<number>,
): Promise<void> {
  let found = 0
  async function* first(): AsyncGenerator<Row> {
    for await (const row of rows) if (++found <= SCREENFUL) yield row
  }
  await showTable(first(), listing)
  if (found <= SCREENFUL) return
  const more = Math.max(1, (await count()) - SCREENFUL)
  complain(`… ${more.toLocaleString('en-US')} more; --limit ${SCREENFUL + more} or a pipe shows all`)
}

async function showListing<Row>(
  rows: AsyncIterable<Row>,
  listing: Listing<Row>,
  json: boolean,
): Promise<void> {
  if (json) return writeAll(documents(rows, listing))
  if (isTerminal()) return showTable(rows, listing)
  return writeAll(lines(rows, listing))
}

/** One array, a row a line. */
async function* documents<Row>(rows: AsyncIterable<Row>, {document}: Listing<Row>): AsyncGenerator<string> {
  let before = '[\n'
  for await (const row of rows) {
    yield before + toJson(document(row))
    before = ',\n'
  }
  yield before === ',\n' ? '\n]\n' : '[]\n'
}

async function* lines<Row>(rows: AsyncIterable<Row>, {line}: Listing<Row>): AsyncGenerator<string> {
  for await (const row of rows) yield line(row)
}

async function showTable<Row>(rows: AsyncIterable<Row>, listing: Listing<Row>): Promise<void> {
  const {TableDrawer} = await import('../../render/table.ts')
  const drawer = new TableDrawer(listing.columns, columns())
  let isEmpty = true
  async function* tables(): AsyncGenerator<string> {
    for await (const part of parts(rows)) {
      isEmpty = false
      yield drawer.draw(part.map(row => listing.cells(row)))
    }
  }
  await writeAll(tables())
  if (isEmpty) complain(listing.none)
}

async function* parts<Row>(rows: AsyncIterable<Row>): AsyncGenerator<Row[]> {
  let part: Row[] = []
  for await (const row of rows) {
    part.push(row)
    if (part.length < TABLE_PART) continue
    yield part
    part = []
  }
  if (part.length > 0) yield part
}
