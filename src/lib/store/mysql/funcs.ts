/**
 * What one process knows of functions and pauses on MySQL. With every turn the server checks it, and says if it is out
 * of date.
 */
import {ALL_FUNCS} from '../../jobs/job.ts'
import type {Want} from '../store.ts'
import {literal, type MysqlConnection, textOf} from './connections/connection.ts'
import {PAUSED} from './procedure.ts'

export class Funcs {
  readonly #ids = new Map<string, number>()
  readonly #names = new Map<number, string>()
  readonly #lastServed = new Map<number, number>()
  #served = 0
  #pausedFuncs: readonly string[] = []
  /** What is paused, in short. */
  paused = ''
  /** Names that were looked up and had no row, when there were so many functions: if there are no more, it is still so. */
  #absent: ReadonlySet<string> = new Set()
  #count = 0
  /** The last second in which no lease had run out. */
  checked = 0

  nameOf(funcId: number): string {
    return this.#names.get(funcId) ?? `#${funcId}`
  }

  idsOf(funcs: Iterable<string>): number[] {
    return [...new Set([...funcs].flatMap(func => this.#ids.get(func) ?? []))]
  }

  /** How many functions there are if what is known of these is all there is; null: whatever their number. */
  countFor({funcs}: Want): number | null {
    const unknown = funcs.filter(func => !this.#ids.has(func))
    if (unknown.length === 0) return null
    return unknown.every(func => this.#absent.has(func)) ? this.#count : 0
  }

  /** Asks anew. Names stay as they were asked for: where the collation knows no case, the row may say another one. */
  async learn(link: MysqlConnection, {funcs}: Want): Promise<void> {
    const unknown = funcs.filter(func => !this.#ids.has(func))
    const select = (func: string) =>
      `(SELECT id, ${literal(func)} AS asked FROM func WHERE name = ${link.names.literal(func)})`
    const [count, paused, pausedFuncs, found] = await link.batch([
      'SELECT COUNT(*) AS n FROM func', // before the names
      `SELECT ${PAUSED} AS paused FROM jobq_pause`, // before the functions
      'SELECT func FROM jobq_pause',
      unknown.length > 0 ? unknown.map(select).join(' UNION ALL ') : 'DO 0',
    ])
    this.#count = Number(count!.rows[0]!.n)
    this.paused = textOf(paused!.rows[0]!.paused)
    this.#pausedFuncs = pausedFuncs!.rows.map(({func}) => textOf(func))
    for (const {id, asked} of found!.rows) {
      this.#ids.set(textOf(asked), Number(id))
      this.#names.set(Number(id), textOf(asked))
    }
    this.#absent = new Set(unknown.filter(func => !this.#ids.has(func)))
  }

  /** How many jobs of each function may run: none if it is paused. What has no limit is not among them. */
  limits({funcs, maxRunning}: Want): [id: number, most: number][] {
    const isPaused = (id: number) =>
      this.#pausedFuncs.some(func => func === ALL_FUNCS || func === this.nameOf(id))
    const limits = this.idsOf(funcs).map((id): [number, number | undefined] => [
      id,
      isPaused(id) ? 0 : maxRunning?.get(this.nameOf(id)) || undefined,
    ])
    return limits.filter((limit): limit is [number, number] => limit[1] !== undefined)
  }

  served(funcId: number): void {
    this.#lastServed.set(funcId, ++this.#served)
  }

  /** The one served longest ago first. */
  byTurn(funcIds: readonly number[]): number[] {
    const served = (id: number) => this.#lastServed.get(id) ?? 0
    return [...funcIds].sort((a, b) => served(a) - served(b))
  }
}
