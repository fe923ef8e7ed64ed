/** A listing in stretches, each small enough to hold, whatever its rows' size, and each from where the one before it ended. */
import type {Reading} from './reading.ts'
import type {Sized} from './sql.ts'

/** The most rows, and about the most bytes of arguments and messages, in one stretch. */
export const STRETCH_ROWS = 1000
const STRETCH_BYTES = 1 << 20

/** Rows of a listing, and where the next ones begin; null: these were the last. */
export interface Stretch<Row, Place> {
  rows: Row[]
  next: Place | null
}

/** The first ids whose rows are small enough together, at least one. */
export function fitting(sized: readonly Sized[]): number[] {
  const ids: number[] = []
  let sum = 0
  for (const {id, bytes} of sized) {
    ids.push(id)
    sum += bytes
    if (sum >= STRETCH_BYTES) break
  }
  return ids
}

/** All stretches in one read. */
export function* whole<Query, Row, Place>(
  stretch: (place: Place | null) => Reading<Query, Stretch<Row, Place>>,
): Reading<Query, Row[]> {
  const all: Row[] = []
  let place: Place | null = null
  do {
    const {rows, next}: Stretch<Row, Place> = yield* stretch(place)
    for (const row of rows) all.push(row)
    place = next
  } while (place)
  return all
}

/** Row by row: every stretch is a read of its own. */
export async function* each<Row, Place>(
  stretch: (place: Place | null) => Promise<Stretch<Row, Place>>,
): AsyncGenerator<Row> {
  let place: Place | null = null
  do {
    const {rows, next}: Stretch<Row, Place> = await stretch(place)
    yield* rows
    place = next
    await new Promise(resolve => setImmediate(resolve)) // a listing may be long, and its reader quick
  } while (place)
}

export async function collect<Row>(rows: AsyncIterable<Row>): Promise<Row[]> {
  const all: Row[] = []
  for await (const row of rows) all.push(row)
  return all
}
