/**
 * Reads that are written once for every driver: a generator asks queries, those that go together at once, and is given the
 * rows of each. SQLite answers at once, within one transaction; a server's answers are waited for.
 */
export type Reading<Query, Found> = Generator<readonly Query[], Found, unknown[][]>

/** The database's clock, or what asks for it: {now}. */
export interface Clock<Query> {
  readonly now: number | Query
}

export function read<Query, Found>(
  reading: Reading<Query, Found>,
  answer: (queries: readonly Query[]) => unknown[][],
): Found {
  let step = reading.next()
  while (!step.done) step = reading.next(answer(step.value))
  return step.value
}

export async function readLater<Query, Found>(
  reading: Reading<Query, Found>,
  answer: (queries: readonly Query[]) => Promise<unknown[][]>,
): Promise<Found> {
  let step = reading.next()
  while (!step.done) step = reading.next(await answer(step.value))
  return step.value
}

/** The rows of one query. */
export function* rowsOf<Row, Query>(query: Query): Reading<Query, Row[]> {
  const [rows] = yield [query]
  return rows as Row[]
}

/** The clock, and the rows of a query that is asked with it. */
export function* atNow<Row, Query>({now}: Clock<Query>, query: Query): Reading<Query, [number, Row[]]> {
  if (typeof now === 'number') return [now, yield* rowsOf<Row, Query>(query)]
  const [clock, rows] = (yield [now, query]) as [[{now: number}], Row[]]
  return [clock[0].now, rows]
}

export function* nowOf<Query>({now}: Clock<Query>): Reading<Query, number> {
  if (typeof now === 'number') return now
  return (yield* rowsOf<{now: number}, Query>(now))[0]!.now
}

/** A column holds whatever was written into it: where that is no number, it is told as none. */
export function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN
}

export function textOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value)
}
