/** Listings and counts on SQLite, each of one moment. They change nothing here: one that meets a lock can be repeated. */

import {oldOutputs, oldRows} from '../shared/prune.ts'
import {history, output} from '../shared/reads/history.ts'
import {find, funcs, type IdPlace, type JobPlace, jobIds, jobs} from '../shared/reads/listing.ts'
import {exceptions, type LogPlace, logCount, statuses} from '../shared/reads/logs.ts'
import {type Reading, read} from '../shared/reads/reading.ts'
import type {ReadsSql} from '../shared/reads/sql.ts'
import {attempts, counts, times} from '../shared/reads/stats.ts'
import {whole} from '../shared/reads/stretch.ts'
import type {Choice, ExceptionPage, Extras, IdChoice, JobPage, LogPage, LogTable, Older} from '../store.ts'
import {SCHEMA_VERSION, type SqliteConnection} from './connection.ts'
import {type Query, sqliteSql} from './listing-sql.ts'

/** A read by its name, which another thread can do as well. */
export interface Read {
  what: Exclude<keyof SqliteReads, 'do'>
  args: readonly unknown[]
}

export class SqliteReads {
  readonly #link: SqliteConnection

  constructor(link: SqliteConnection) {
    this.#link = link
  }

  do({what, args}: Read): unknown {
    const method = this[what] as (...args: unknown[]) => unknown
    return method(...args)
  }

  funcs = () => this.#read(funcs)
  find = (id: number, extras?: Extras) => this.#read(sql => find(sql, id, extras))
  history = (id: number) => this.#read(sql => history(sql, id))
  output = (id: number) => this.#read(sql => output(sql, id))
  list = (page: JobPage) => this.#read(sql => whole((place: JobPlace | null) => jobs(sql, page, place)))
  exceptions = (page: ExceptionPage) =>
    this.#read(sql => whole((place: LogPlace | null) => exceptions(sql, page, place)))
  statuses = (page: LogPage) =>
    this.#read(sql => whole((place: LogPlace | null) => statuses(sql, page, place)))
  jobs = (page: JobPage, place: JobPlace | null) => this.#read(sql => jobs(sql, page, place))
  jobIds = (choice: IdChoice, place: IdPlace | null) => this.#read(sql => jobIds(sql, choice, place))
  exceptionLog = (page: ExceptionPage, place: LogPlace | null) =>
    this.#read(sql => exceptions(sql, page, place))
  statusLog = (page: LogPage, place: LogPlace | null) => this.#read(sql => statuses(sql, page, place))
  oldRows = (table: LogTable, older: Older, after: number) =>
    this.#read(sql => oldRows(sql, table, older, after))
  oldOutputs = (table: LogTable, older: Older, after: number) =>
    this.#read(sql => oldOutputs(sql, table, older, after))
  logCount = (table: LogTable, choice: Choice) => this.#read(sql => logCount(sql, table, choice))
  counts = (func?: string) => this.#read(sql => counts(sql, func))
  times = (func?: string) => this.#read(sql => times(sql, func))
  attempts = (func?: string) => this.#read(sql => attempts(sql, func))

  #read<Found>(reading: (sql: ReadsSql<Query>) => Reading<Query, Found>): Found {
    const hasAttempts = () => this.#link.schemaVersion() === SCHEMA_VERSION
    return read(reading(sqliteSql(this.#link.now(), hasAttempts)), queries =>
      queries.map(({sql, params}) => this.#link.sql(sql).all(...params)),
    )
  }
}
