/** Jobs by their tags (jobq_tag), along its index of names and values; and the tags of jobs that are shown. */
import type {TagChoice, Tags} from '../../jobs/job.ts'
import {type Reading, rowsOf, textOf} from './reads/reading.ts'
import type {ReadsSql, TagPlace} from './reads/sql.ts'
import {STRETCH_ROWS} from './reads/stretch.ts'

/** Of so many jobs at most the keys are held. Where more of the queue have a tag, it is gone through in its order instead. */
const MOST_TAGGED = 10_000

/** A sweep looks at the tags of so many jobs at once. */
export const SWEPT_JOBS = 500

/** A row of jobq_tag, and of its job. */
export interface TagRow {
  id: number
  value: string | Uint8Array
  /** Null: the job has left the queue. */
  funcId: number | null
  priority: number
  runAfter: number
  grabbedUntil: number
}

/** One stretch of the jobs that have all of these tags; some may have left the queue. @param tags at least one */
export function* tagged<Query>(
  sql: ReadsSql<Query>,
  tags: readonly TagChoice[],
  place: TagPlace | null,
): Reading<Query, {rows: TagRow[]; next: TagPlace | null}> {
  const [first, ...others] = place ? tags : yield* shortFirst(sql, tags)
  const found = yield* rowsOf<TagRow, Query>(sql.tagged(first!, place ?? beginning(first!), STRETCH_ROWS))
  const last = found.length < STRETCH_ROWS ? undefined : found.at(-1)
  return {
    rows: yield* withTags(sql, found, others),
    next: last ? {value: textOf(last.value), id: last.id} : null,
  }
}

/** One that few jobs have comes first: then its rows are all in one stretch, and those of the others are not gone through. */
function* shortFirst<Query>(
  sql: ReadsSql<Query>,
  tags: readonly TagChoice[],
): Reading<Query, readonly TagChoice[]> {
  if (tags.length === 1) return tags
  for (const tag of tags) {
    const rows = yield* rowsOf(sql.tagged(tag, beginning(tag), STRETCH_ROWS))
    if (rows.length < STRETCH_ROWS) return [tag, ...tags.filter(other => other !== tag)]
  }
  return tags
}

function beginning({value}: TagChoice): TagPlace {
  return {value: value ?? '', id: 0}
}

/** All of them that `isWanted`, if they are no more than MOST_TAGGED; else null. */
export function* fewTagged<Query>(
  sql: ReadsSql<Query>,
  tags: readonly TagChoice[],
  isWanted: (row: TagRow) => boolean,
): Reading<Query, TagRow[] | null> {
  const rows: TagRow[] = []
  let place: TagPlace | null = null
  do {
    const stretch: {rows: TagRow[]; next: TagPlace | null} = yield* tagged(sql, tags, place)
    for (const row of stretch.rows) if (isWanted(row)) rows.push(row)
    if (rows.length > MOST_TAGGED) return null
    place = stretch.next
  } while (place)
  return rows
}

/** Those of these jobs that have all of these tags. */
export function* withTags<Query, Row extends {id: number}>(
  sql: ReadsSql<Query>,
  rows: readonly Row[],
  tags: readonly TagChoice[],
): Reading<Query, Row[]> {
  if (tags.length === 0 || rows.length === 0) return [...rows]
  const tagsById = yield* tagsOf(
    sql,
    rows.map(({id}) => id),
  )
  return rows.filter(({id}) => tags.every(tag => has(tagsById.get(id), tag)))
}

/** The tags of those of these jobs that have some. */
export function* tagsOf<Query>(
  sql: ReadsSql<Query>,
  ids: readonly number[],
): Reading<Query, Map<number, Tags>> {
  if (ids.length === 0) return new Map()
  type Row = {id: number; name: string | Uint8Array; value: string | Uint8Array}
  const rows = yield* rowsOf<Row, Query>(sql.tags(ids))
  const byId = [...Map.groupBy(rows, ({id}) => id)]
  return new Map(
    byId.map(([id, some]) => [
      id,
      Object.fromEntries(some.map(row => [textOf(row.name), textOf(row.value)])),
    ]),
  )
}

function has(tags: Tags | undefined, {name, value}: TagChoice): boolean {
  return tags !== undefined && Object.hasOwn(tags, name) && (value === null || tags[name] === value)
}
