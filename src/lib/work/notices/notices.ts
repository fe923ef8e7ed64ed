/**
 * Tells of what has become of jobs, as the configuration asks for it, beside the dispatcher and never in its way. It reads
 * what is kept of ended attempts, soon after one ends here and every minute, whoever has worked them, and enqueues a job that
 * tells. Its key says what it tells and stays taken for as long as that is looked at: so each is told once, by whichever process
 * comes first, and whatever dies between a job's end and its notice, the next look tells it.
 *
 * Of each minute of the database's clock the first few are told one by one, and all others of it as one when it is over. If
 * another turns up later, they are told again, since the key has their number.
 *
 * Of several databases each has one of these, which tells in there what has happened there: a key holds within one database, each
 * has its own clock, and one that is away keeps nothing of the others from being told.
 */
import {createHash} from 'node:crypto'
import type {JobQueue} from '../../client/queue.ts'
import {type Teller, tellerOf} from '../../config/notices.ts'
import type {JobqEvents} from '../../hooks/events.ts'
import {DuplicateJobError, StoreError} from '../../jobs/errors.ts'
import type {OneDatabase} from '../../store/store.ts'
import type {JobLog} from '../log/log.ts'
import {type Happened, happenedSince} from './happened.ts'
import {noticeOf} from './notice.ts'

/** What has ended so long before the first look, and no one was told, is told. */
const LOOK_BACK = 3600
/** For longer than that, and what a clock may be off. */
const KEY_SECONDS = 2 * LOOK_BACK
/** So long an end may be under way into the store, behind others that are there. */
const LATE = 120
const MINUTE = 60
/** When a minute is over. */
const GRACE = 3
const SOON_MS = 50
const PAUSE_MS = 1000
/** The part of the time that looking may take. */
const LOOK_SHARE = 0.1
const LATEST_MS = 60_000
/** An answer that takes longer is not waited for at the end. */
const OVERDUE_MS = 3000

export class Notices {
  readonly #host: JobQueue
  readonly #database: OneDatabase
  readonly #log: Pick<JobLog, 'trouble'>
  #tellers: readonly Teller[] = []
  /** The database's clock at the last look that was done; null: there was none. */
  #lookedAt: number | null = null
  /** Keys that are known to be taken, and until when. */
  readonly #taken = new Map<string, number>()
  /** How many it has enqueued. */
  #told = 0
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | null = null
  #isRung = false
  #isClosed = false
  #trouble = ''
  /** Not before this, by performance.now(). */
  #restUntil = 0

  constructor(host: JobQueue, database: OneDatabase, log: Pick<JobLog, 'trouble'>) {
    this.#host = host
    this.#database = database
    this.#log = log
  }

  /** From now on these. What a new one is to tell of is looked for in the hour before, too. */
  set(tellers: readonly Teller[]): void {
    const known = new Set(this.#tellers.map(teller => keyOf(teller, '')))
    if (tellers.some(teller => !known.has(keyOf(teller, '')))) this.#lookedAt = null
    if (this.#tellers.length > 0) this.#unlisten()
    this.#tellers = tellers
    if (tellers.length === 0) return
    this.#host.events.on('fail', this.#onFail)
    this.#host.events.on('finish', this.#onFinish)
    this.#ring()
  }

  #unlisten(): void {
    clearTimeout(this.#timer)
    this.#isRung = false
    this.#host.events.off('fail', this.#onFail)
    this.#host.events.off('finish', this.#onFinish)
  }

  async close(): Promise<void> {
    if (this.#tellers.length === 0 || this.#isClosed) return
    this.#isClosed = true
    this.#unlisten()
    await this.lookNow('over')
  }

  /**
   * So that what has ended here is told. A store that does not answer is not waited for.
   * @param minutes `all`: of a minute that goes on the rest is told, too, as where nobody may be there when it is over
   * @returns whether there was something to tell
   */
  async lookNow(minutes: 'all' | 'over'): Promise<boolean> {
    if (this.#tellers.length === 0) return false
    const before = this.#told
    const last = (this.#looking ?? Promise.resolve()).then(() => this.#look(minutes)).catch(() => {})
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, OVERDUE_MS)
    await Promise.race([last, late.promise])
    clearTimeout(timer)
    return this.#told > before
  }

  readonly #onFail = ({db}: JobqEvents['fail']): void => {
    if (db === this.#database.db) this.#ring()
  }

  /** Most jobs complete, and mostly nobody asks for that. */
  readonly #onFinish = ({db, outcome}: JobqEvents['finish']): void => {
    if (db !== this.#database.db) return
    if (outcome === 'aborted' || this.#tellers.some(({name}) => name === 'onCompleted')) this.#ring()
  }

  #ring(): void {
    if (this.#isRung) return
    this.#isRung = true
    this.#lookIn(SOON_MS)
  }

  #lookIn(ms: number): void {
    if (this.#isClosed || this.#looking || this.#tellers.length === 0) return
    clearTimeout(this.#timer)
    const wait = Math.max(ms, this.#restUntil - performance.now())
    this.#timer = setTimeout(() => this.#start(), wait).unref()
  }

  #start(): void {
    const from = performance.now()
    this.#isRung = false
    this.#looking = this.#look()
      .then(
        nextIn => nextIn,
        error => this.#pauseAfter(error),
      )
      .then(nextMs => {
        this.#looking = null
        const took = performance.now() - from
        this.#restUntil = performance.now() + Math.max(PAUSE_MS, took / LOOK_SHARE)
        this.#lookIn(this.#isRung ? SOON_MS : nextMs)
      })
  }

  #pauseAfter(error: unknown): number {
    const message = `not told what became of jobs: ${(error as Error).message}`
    if (!(error instanceof StoreError) && message !== this.#trouble) this.#log.trouble(message) // else who works says so
    this.#trouble = message
    return LATEST_MS / 10
  }

  /** @returns in how many milliseconds to look again */
  async #look(minutes: 'all' | 'over' = 'over'): Promise<number> {
    const {now} = await this.#database.schedules()
    const back = Math.max(0, now - (this.#lookedAt ?? 0))
    const from = MINUTE * Math.floor((now - Math.min(LOOK_BACK, back + LATE)) / MINUTE)
    const tellers = this.#tellers
    const names = new Set(tellers.map(({name}) => name))
    const told = new Map<Teller, Happened[]>()
    for await (const [name, happened] of happenedSince(this.#database, names, from, now)) {
      const teller = tellerOf(tellers, name, happened.func)
      if (!teller) continue
      const those = told.get(teller) ?? []
      told.set(teller, those)
      those.push(happened)
    }
    let next = LATEST_MS
    const refused: unknown[] = [] // by a hook, say: that keeps no other from being told
    const tell = async (teller: Teller, what: string, those: readonly Happened[]) => {
      await this.#tell(teller, what, those, now).catch(error => {
        if (error instanceof StoreError) throw error
        refused.push(error)
      })
    }
    for (const [teller, happened] of told)
      for (const [minute, those] of Map.groupBy(happened, ({at}) => Math.floor(at / MINUTE))) {
        // What was told alone stays so, whatever turns up before it
        const left = those.filter(one => !this.#taken.has(keyOf(teller, nameOf(one)))).sort(byTime)
        const alone = left.slice(0, Math.max(0, teller.perMinute - 1 - (those.length - left.length)))
        for (const one of alone) await tell(teller, nameOf(one), [one])
        const rest = left.slice(alone.length)
        const over = (minute + 1) * MINUTE + GRACE
        if (rest.length > 0 && (minutes === 'all' || now >= over))
          await tell(teller, `${minute}*${rest.length}`, rest)
        else if (rest.length > 0) next = Math.min(next, (over - now) * 1000)
      }
    for (const [key, until] of this.#taken) if (until < now) this.#taken.delete(key)
    if (refused.length > 0) throw refused[0]
    if (tellers === this.#tellers) this.#lookedAt = now
    this.#trouble = ''
    return next
  }

  async #tell(teller: Teller, what: string, happened: readonly Happened[], now: number): Promise<void> {
    const key = keyOf(teller, what)
    if (this.#taken.has(key)) return
    const {func, priority, command} = teller
    const options = {
      arg: noticeOf(teller.name, happened, this.#database.name),
      uniqkey: key,
      uniqFor: KEY_SECONDS,
      priority,
      ...(command === null ? {} : {serializer: 'json' as const}),
    }
    await this.#host.enqueueInto(this.#database, func, options).then(
      () => this.#told++,
      error => {
        if (!(error instanceof DuplicateJobError)) throw error
      },
    )
    this.#taken.set(key, now + KEY_SECONDS)
  }
}

function byTime(a: Happened, b: Happened): number {
  return a.at - b.at || a.id - b.id || a.nth - b.nth
}

function keyOf({name, of}: Teller, what: string): string {
  return `${name} ${of === null ? '*' : shortened(of)} ${what}`
}

/** Without its database's place: others may have that elsewhere, and the key is in there. */
function nameOf({id, nth}: Happened): string {
  return `${id}${nth === 0 ? '' : `.${nth}`}`
}

/** A uniqkey has 255 characters, and so may a function's name. */
function shortened(func: string): string {
  return func.length <= 60 ? func : createHash('sha1').update(func).digest('hex')
}
