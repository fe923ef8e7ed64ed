/** `jobq list` once its words are known: a listing in the form that its reader wants, in flat memory. */
import type {JobState} from '../../jobs/job.ts'
import {parseWhole} from '../../jobs/names.ts'
import {toJson} from '../../render/json.ts'
import {EXCEPTIONS, JOBS, type Listing, STATUSES} from '../../render/listing.ts'
import {tellPassedOver, withQueueOf} from '../command-queue.ts'
import {writeAll} from '../output.ts'
import {complain} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'

/** How many rows of a long table are drawn at once. */
const TABLE_PART = 500

export interface ListFlags extends QueueFlags {
  func?: string | undefined
  state?: string | undefined
  uniqkey?: string | undefined
  failed?: boolean | undefined
  finished?: boolean | undefined
  limit?: string | undefined
  offset?: string | undefined
  json?: boolean | undefined
}

/** Shows the rows as they are read, under --json too: there may be more of them than memory holds. */
export async function run(flags: ListFlags): Promise<void> {
  const {func, uniqkey, json = false} = flags
  const limit = parseWhole(flags.limit ?? '10', '--limit')
  const offset = parseWhole(flags.offset ?? '0', '--offset')
  const page = {func, uniqkey, limit, offset}
  await withQueueOf(flags, async queue => {
    if (flags.failed) return showListing(queue.eachException(page), EXCEPTIONS, json)
    if (flags.finished) return showListing(queue.eachStatus(page), STATUSES, json)
    await showListing(queue.eachJob({...page, state: flags.state as JobState | undefined}), JOBS, json)
    await tellPassedOver(queue, 'listed')
  })
}

async function showListing<Row>(
  rows: AsyncIterable<Row>,
  listing: Listing<Row>,
  json: boolean,
): Promise<void> {
  if (json) return writeAll(documents(rows, listing))
  if (process.stdout.isTTY) return showTable(rows, listing)
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
  const drawer = new TableDrawer(listing.columns, process.stdout.columns || 80)
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
