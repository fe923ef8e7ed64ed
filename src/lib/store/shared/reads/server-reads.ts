/** What people are told of a server's store, however its driver asks it. */
import type {Choice, ExceptionPage, Extras, IdChoice, JobPage, LogPage, LogTable} from '../../store.ts'
import {history, output} from './history.ts'
import {find, funcs, type IdPlace, type JobPlace, jobIds, jobs, tooLargeId} from './listing.ts'
import {exceptions, type LogPlace, logCount, statuses} from './logs.ts'
import type {Reading} from './reading.ts'
import type {ReadsSql} from './sql.ts'
import {attempts, counts, times} from './stats.ts'
import {collect, each} from './stretch.ts'

/** The reads of a Store, each as it is there. */
export abstract class ServerReads<Query> {
  /** Of one moment. It may be begun again. */
  protected abstract look<Found>(reading: (sql: ReadsSql<Query>) => Reading<Query, Found>): Promise<Found>

  find = (id: number, _db?: number, extras?: Extras) => this.look(sql => find(sql, id, extras))
  history = (id: number) => this.look(sql => history(sql, id))
  output = (id: number) => this.look(sql => output(sql, id))
  list = (page: JobPage) => collect(this.eachJob(page))
  exceptions = (page: ExceptionPage) => collect(this.eachException(page))
  statuses = (page: LogPage) => collect(this.eachStatus(page))
  eachJob = (page: JobPage) => each((place: JobPlace | null) => this.look(sql => jobs(sql, page, place)))
  eachException = (page: ExceptionPage) =>
    each((place: LogPlace | null) => this.look(sql => exceptions(sql, page, place)))
  eachStatus = (page: LogPage) =>
    each((place: LogPlace | null) => this.look(sql => statuses(sql, page, place)))
  eachId = (choice: IdChoice = {}) =>
    each((place: IdPlace | null) => this.look(sql => jobIds(sql, choice, place)))
  logCount = (table: LogTable, choice: Choice) => this.look(sql => logCount(sql, table, choice))
  funcs = () => this.look(sql => funcs(sql))
  tooLargeId = () => this.look(sql => tooLargeId(sql))
  counts = (func?: string) => this.look(sql => counts(sql, func))
  times = (func?: string) => this.look(sql => times(sql, func))
  attempts = (func?: string) => this.look(sql => attempts(sql, func))
}
