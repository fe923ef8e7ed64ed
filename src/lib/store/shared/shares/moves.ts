/**
 * Who may start of what is limited (Store.share), for every driver: from what it has read, within a transaction that nobody
 * else can be in for that function, to what it is to write.
 *
 * A job of a function with a limit for each key has a row in jobq_share from when it may start until it has ended, or from
 * when it was parked. What is parked has the run_after of what waits for others, so that nobody takes it and it costs a grab
 * nothing; its own is kept in the row. It is called when there is room for it: its run_after is as it was, it is taken like
 * any other, and until then it keeps its place from those that are behind it. So a job is parked once and called once,
 * however many wait, and of a key the most important start first.
 *
 * Starts are counted in jobq_rate, in rows that hold those of a sixteenth of the while: a row counts until its last start is
 * that long ago. So there are never more starts in any such while, and a rate has 17 rows at most.
 */
import type {WaitsFor} from '../../../jobs/job.ts'
import type {KeyLimits, Rate, Shared, ShareJob, ShareRequest} from '../../../jobs/shares/limits.ts'
import type {SharedKeys} from '../../store.ts'

/** So many of a key may have been called and not been taken yet: where a rate has room for thousands, the next follow. */
const MOST_CALLED = 100
const ROWS_OF_A_RATE = 16
/** The key under which a function's own rate is counted: no job has it. */
export const WHOLE = ''
/** So many rows of rates that count no more are deleted at a time, whosever they are. */
export const SWEPT_STARTS = 100
/** So many keys are looked at in one go. */
export const LOOK_KEYS = 500
/** So many jobs are given back in one transaction where a limit is gone. */
export const UNSHARE_BATCH = 500

/** What is in the database, of one function and the keys of the request. */
export interface Facts {
  /** By the database's clock. */
  nowMs: number
  /** Those of the request's jobs that are still as it says. */
  held: ReadonlySet<number>
  letIn: LetIn[]
  /** Of each key the first `mostParked`, in order. */
  parked: ParkedRow[]
  /** By their first start. */
  starts: Starts[]
}

/** A row of jobq_share that is not parked: of a job that runs, was called, or has ended. */
export interface LetIn extends Place {
  key: string
  /** Its lease is in the future. */
  isLeased: boolean
  /** It can be taken. */
  isReady: boolean
}

export interface ParkedRow extends Place {
  key: string
  /** It is parked indeed: nobody has taken it away, or given it a time. */
  isThere: boolean
}

/** Where a job is in the order of work. */
interface Place {
  id: number
  priority: number
  runAfter: number
}

export interface Starts {
  key: string
  firstMs: number
  lastMs: number
  starts: number
}

/** A key that has rows. */
export interface SeenKey {
  key: string
  isParked: number | boolean
  /** So many jobs have rows that are not parked, and so many of these run. */
  letIn: number
  running: number
}

/** As Store.sharedKeys, of these keys, which were read in their order. */
export function seenKeys(keys: readonly SeenKey[], {maxRunning, rate}: KeyLimits): SharedKeys {
  const mayStart = ({running}: SeenKey) => rate !== null || running < maxRunning
  const wanted = keys.filter(key => key.letIn > key.running || (key.isParked && mayStart(key)))
  return {keys: wanted.map(({key}) => key), next: keys.length < LOOK_KEYS ? null : {key: keys.at(-1)!.key}}
}

/** What is to be written. */
export interface Moves {
  /** Rows of those that may start. */
  letIn: {id: number; key: string; priority: number; runAfter: number}[]
  parked: (ShareJob & {key: string; waitsFor: WaitsFor})[]
  /** With their own time. */
  called: {id: number; runAfter: number}[]
  /** Their leases end. */
  back: ShareJob[]
  /** Jobs whose row is of no use. */
  gone: number[]
  /** Rows as they are to be. */
  starts: Starts[]
  /** Those that count no more. */
  expired: Starts[]
}

/** How many of the parked of a key a driver has to read: no more can be called, and one behind those. */
export function mostParked({maxRunning, rate}: KeyLimits): number {
  return 1 + Math.min(MOST_CALLED, maxRunning || MOST_CALLED, rate?.most ?? MOST_CALLED)
}

/** The keys of a request, each once. */
export function keysOf({limits, jobs, keys}: ShareRequest): string[] {
  if (limits.perKey === null) return []
  return [...new Set([...keys, ...jobs.flatMap(({key}) => key ?? [])])].sort()
}

/** @returns what is to be written, and told of it */
export function movesOf(request: ShareRequest, facts: Facts): {moves: Moves; shared: Shared} {
  const {limits, jobs} = request
  const moves: Moves = {letIn: [], parked: [], called: [], back: [], gone: [], starts: [], expired: []}
  const held = jobs.filter(({id}) => facts.held.has(id))
  const keys = keysOf(request).map(name => new Key(name, limits.perKey!, held, facts))
  const refused = new Set(keys.flatMap(key => key.move(moves)))
  const whole = limits.rate && new Counted(WHOLE, limits.rate, facts)
  const admitted: ShareJob[] = []
  for (const job of held) {
    if (isAhead(job) || refused.has(job)) continue
    if (!whole || admitted.length < whole.left) admitted.push(job)
    else moves.back.push(job)
  }
  for (const {id, key, priority, runAfter} of admitted)
    if (key !== null && limits.perKey?.maxRunning) moves.letIn.push({id, key, priority, runAfter})
    else moves.gone.push(id)
  moves.gone.push(...moves.back.map(({id}) => id))
  const again = keys.flatMap(key => {
    const ms = key.start(admitted.filter(job => job.key === key.name).length, moves)
    return ms === null ? [] : [{key: key.name, ms}]
  })
  whole?.add(admitted.length, moves)
  return {
    moves,
    shared: {
      admitted: admitted.map(refOf),
      parked: moves.parked.map(refOf),
      lost: jobs.filter(job => !isAhead(job) && !facts.held.has(job.id)).map(refOf),
      called: moves.called.length,
      closedMs: whole && whole.left <= 0 ? (whole.untilRoomMs() ?? 0) : 0,
      again,
    },
  }
}

/** What is known of one key. */
class Key {
  readonly name: string
  readonly #jobs: readonly ShareJob[]
  readonly #called: readonly LetIn[]
  readonly #parked: readonly ParkedRow[]
  readonly #gone: readonly Place[]
  /** Some of what was read as parked was not: behind those there may be others to be called. */
  readonly #isShort: boolean
  readonly #places: number
  readonly #counted: Counted | null
  #waitsFor: WaitsFor | null = null

  constructor(name: string, {maxRunning, rate}: KeyLimits, held: readonly ShareJob[], facts: Facts) {
    this.name = name
    const ofKey = (row: {key: string | null}) => row.key === name
    const letIn = facts.letIn.filter(ofKey)
    const known = new Set(letIn.map(({id}) => id))
    // Those that were called are in their lane as well
    this.#jobs = held.filter(job => ofKey(job) && !(isAhead(job) && known.has(job.id)))
    const mine = new Set(this.#jobs.map(({id}) => id))
    const others = letIn.filter(({id}) => !mine.has(id))
    const running = others.filter(({isLeased}) => isLeased)
    const parked = facts.parked.filter(row => ofKey(row) && !mine.has(row.id))
    this.#called = others.filter(({isLeased, isReady}) => !isLeased && isReady)
    this.#parked = parked.filter(({isThere}) => isThere)
    const left = others.filter(({isLeased, isReady}) => !isLeased && !isReady)
    this.#gone = [...left, ...parked.filter(({isThere}) => !isThere)]
    this.#isShort = this.#gone.length > left.length
    this.#places = maxRunning > 0 ? maxRunning - running.length : Number.POSITIVE_INFINITY
    this.#counted = rate && new Counted(name, rate, facts)
  }

  get #left(): number {
    return this.#counted?.left ?? Number.POSITIVE_INFINITY
  }

  /**
   * In the order of work: who may start, keeps the place that it was called to, or is called; the others are parked or stay
   * so. @returns the jobs that are parked
   */
  move(moves: Moves): ShareJob[] {
    let room = Math.min(this.#places, this.#left)
    let called = this.#called.length
    const waitsFor = this.#places <= this.#left ? 'place' : 'rate'
    const parked: ShareJob[] = []
    const inOrder = [
      ...this.#jobs.map(job => ({...placeOf(job), job})),
      ...this.#called.map(row => ({...placeOf(row), isCalled: true})),
      ...this.#parked.map(placeOf),
    ].sort(byOrder) as (Place & {job?: ShareJob; isCalled?: true})[]
    for (const {id, runAfter, job, isCalled} of inOrder) {
      const isParked = !job && !isCalled
      // Behind one that stays parked nobody starts
      if (isParked && called >= MOST_CALLED) room = 0
      if (room > 0) {
        room--
        if (!isParked) continue
        moves.called.push({id, runAfter})
        called++
        continue
      }
      if (job) {
        parked.push(job)
        moves.parked.push({...job, key: this.name, waitsFor})
      }
      if (job || isParked) this.#waitsFor = waitsFor
    }
    moves.gone.push(...this.#gone.map(({id}) => id))
    return parked
  }

  /** So many of its jobs start. @returns in how many milliseconds it is to be looked at again; null: when something ends */
  start(starts: number, moves: Moves): number | null {
    this.#counted?.add(starts, moves)
    if (this.#isShort) return 0
    return this.#waitsFor === 'rate' ? this.#counted!.untilRoomMs() : null
  }
}

/** The starts of a while that a rate counts. */
class Counted {
  readonly #key: string
  readonly #rate: Rate
  readonly #nowMs: number
  readonly #rows: Starts[]
  readonly #expired: Starts[]
  /** So many more may start now. */
  left: number

  constructor(key: string, rate: Rate, {starts, nowMs}: Facts) {
    this.#key = key
    this.#rate = rate
    this.#nowMs = nowMs
    // A clock that was far ahead has left what would count for long
    const counts = ({firstMs, lastMs}: Starts) => lastMs + this.#ms > nowMs && firstMs <= nowMs + this.#ms
    const rows = starts.filter(row => row.key === key)
    this.#rows = rows.filter(counts)
    this.#expired = rows.filter(row => !counts(row))
    this.left = rate.most - this.#rows.reduce((sum, row) => sum + row.starts, 0)
  }

  get #ms(): number {
    return this.#rate.seconds * 1000
  }

  add(starts: number, moves: Moves): void {
    moves.expired.push(...this.#expired)
    if (starts === 0) return
    this.left -= starts
    const now = this.#nowMs
    const last = this.#rows.at(-1)
    const isSame = last !== undefined && now - last.firstMs < this.#ms / ROWS_OF_A_RATE
    const row = isSame
      ? {...last, lastMs: Math.max(last.lastMs, now), starts: last.starts + starts}
      : {key: this.#key, firstMs: now, lastMs: now, starts}
    this.#rows.splice(isSame ? -1 : this.#rows.length, 1, row)
    moves.starts.push(row)
  }

  /** Until the first of them count no more; null: none count. */
  untilRoomMs(): number | null {
    const [first] = this.#rows
    return first ? Math.max(1, first.lastMs + this.#ms - this.#nowMs) : null
  }
}

function isAhead({grabbedUntil}: ShareJob): boolean {
  return grabbedUntil === 0
}

function placeOf({id, priority, runAfter}: Place): Place {
  return {id, priority, runAfter}
}

function byOrder(a: Place, b: Place): number {
  return b.priority - a.priority || a.runAfter - b.runAfter || a.id - b.id
}

function refOf({id}: Place): {id: number} {
  return {id}
}
