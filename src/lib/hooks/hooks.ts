/**
 * Hooks: an application's own code, called at Qudo's six points of a job's way. docs/hooks.md tells what each may
 * change, and what it means if it fails.
 */
import {closest} from '../jobs/closest.ts'
import {ClosedError, HookError, UsageError} from '../jobs/errors.ts'
import type {EnqueuedJob} from '../jobs/job.ts'
import type {AfterOption} from '../jobs/new-job.ts'
import type {SerializerName} from '../jobs/serializers/serializers.ts'
import {MAX_TIMER_MS} from '../jobs/time.ts'
import {inspected, isThenable, kindOf} from '../jobs/value.ts'
import type {Job} from '../jobs/worker.ts'

/**
 * In their order. The first three are called in the process that enqueues, which stores the job before postEnqueue; the
 * others where the worker runs, which reports the job's end before postWork.
 */
const HOOK_POINTS = ['preEnqueue', 'serialize', 'postEnqueue', 'deserialize', 'preWork', 'postWork'] as const
/** The name of one of the six points. */
export type HookPoint = (typeof HOOK_POINTS)[number]

/** What runs at some of the six points, by a name of its own. Each may return a promise. */
export interface Hook {
  readonly name: string
  /** Before a job is made. It may change the call; what it makes of it is checked like what the caller gave. */
  preEnqueue?(call: EnqueueCall): unknown
  /** Before the argument is encoded: it may set `call.arg` and `call.serializer`. */
  serialize?(call: EnqueueCall): unknown
  /** The job is stored: what is thrown here does not take it back. Not called for the jobs of an `enqueueMany`. */
  postEnqueue?(job: EnqueuedJob, call: Readonly<EnqueueCall>): unknown
  /** The argument is decoded: it may set `job.arg`. */
  deserialize?(job: WorkedJob): unknown
  /** Right before `work`. */
  preWork?(job: WorkedJob): unknown
  /** How the attempt has ended was reported before, and stands. */
  postWork?(job: EndedJob): unknown
}

/** An enqueue on its way to the database: all of it may be changed. */
export interface EnqueueCall {
  func: string
  arg: unknown
  serializer: SerializerName
  uniqkey: string | undefined
  priority: number
  /** Seconds from now. */
  delay: number | undefined
  /** A time, instead of a delay. */
  runAfter: Date | undefined
  /** Texts that travel with the job. */
  context: Record<string, string>
  tracked: boolean
  /** Seconds, or text; not there: as its worker says. */
  keepResult?: number | string | undefined
  /** What it waits for; not there: nothing. */
  after?: readonly AfterOption[] | undefined
  afterEnd?: readonly AfterOption[] | undefined
  /** Not there: none. */
  tags?: Record<string, string> | undefined
  /** Seconds, or text; not there: as long as the job is in the queue. */
  uniqFor?: number | string | undefined
  /** Seconds, or text; not there: never. */
  expires?: number | string | undefined
}

/** A job as hooks see it where it is worked: the argument may be replaced. */
export type WorkedJob = Omit<Job, 'arg'> & {arg: unknown}

/** The same after its attempt. */
export interface EndedJob extends Readonly<WorkedJob> {
  readonly outcome: 'completed' | 'replaced' | 'failed' | 'aborted' | 'declined'
  /** Why it failed or was aborted; else empty. */
  readonly message: string
  /** Seconds until it is tried again, null if it is not. */
  readonly retryIn: number | null
}

/** In seconds. */
const DEFAULT_HOOK_TIMEOUT = 30

/** The hooks of one queue, or of one worker's process. */
export class Hooks {
  readonly #hooks = new Map<string, Hook>()
  #at = new Map<HookPoint, readonly Hook[]>()
  readonly #timeout: number
  /** Hooks that run now, to be given up when the queue is closed. */
  readonly #running = new Set<() => void>()

  /** @param timeout seconds until a hook that does not resolve is given up; 0: never */
  constructor(timeout = DEFAULT_HOOK_TIMEOUT) {
    this.#timeout = timeout
  }

  /**
   * Puts hooks behind those that are there.
   * @throws UsageError if one is no hook, or one of that name is there; then none is registered
   */
  register(...hooks: readonly Hook[]): this {
    const all = new Map(this.#hooks)
    for (const hook of hooks) {
      checkHook(hook)
      if (all.has(hook.name))
        throw new UsageError(`hook ${quoted(hook.name)}: expected a name of its own, got it twice`, {
          hint: 'unregister the other one first, or rename one of them',
        })
      all.set(hook.name, hook)
    }
    this.#replace(all)
    return this
  }

  /** Takes hooks away, by name. @throws UsageError if there is none of that name; then none is taken away */
  unregister(...names: readonly string[]): this {
    const all = new Map(this.#hooks)
    for (const name of names)
      if (!all.delete(name))
        throw new UsageError(`no hook ${quoted(name)} is registered`, {hint: known(this.names)})
    this.#replace(all)
    return this
  }

  /** In the order in which they are called. */
  get names(): string[] {
    return [...this.#hooks.keys()]
  }

  /** Is none registered? */
  get isEmpty(): boolean {
    return this.#hooks.size === 0
  }

  /** Is any hook called at this point? */
  has(point: HookPoint): boolean {
    return this.#at.has(point)
  }

  /**
   * Calls the hooks of a point, one after the other, in the order in which they were registered. One that throws, or
   * takes longer than the timeout, stops what it stands at.
   * @throws HookError, ClosedError
   */
  async run<Point extends HookPoint>(point: Point, ...subject: SubjectOf<Point>): Promise<void> {
    for (const hook of this.#at.get(point) ?? []) {
      const result = call(hook, point, subject)
      if (isThenable(result)) await this.#resolved(result, hook, point, subject)
    }
  }

  /** As `run`, where nothing can be waited for. @throws HookError, also for a hook that returns a promise */
  runSync<Point extends HookPoint>(point: Point, ...subject: SubjectOf<Point>): void {
    for (const hook of this.#at.get(point) ?? []) {
      const result = call(hook, point, subject)
      if (!isThenable(result)) continue
      result.then(undefined, () => {}) // what becomes of it changes nothing any more
      const cause = new TypeError('it returned a promise')
      throw hookError(
        'HOOK_FAILED',
        {hook, point, subject},
        'expected to be done at once, returned a promise',
        {
          cause,
          hint: 'in a transaction of better-sqlite3 nothing can be waited for: make the hook synchronous',
        },
      )
    }
  }

  /** Whoever waits for a hook waits no longer. */
  close(): void {
    for (const giveUp of this.#running) giveUp()
  }

  #replace(hooks: ReadonlyMap<string, Hook>): void {
    this.#hooks.clear()
    for (const [name, hook] of hooks) this.#hooks.set(name, hook)
    const points = HOOK_POINTS.map(point => [point, [...hooks.values()].filter(hook => hook[point])] as const)
    this.#at = new Map(points.filter(([, there]) => there.length > 0))
  }

  async #resolved(
    result: PromiseLike<unknown>,
    hook: Hook,
    point: HookPoint,
    subject: readonly unknown[],
  ): Promise<void> {
    const what = {hook, point, subject}
    const end = Promise.withResolvers<never>()
    const late = () =>
      end.reject(hookError('HOOK_TIMEOUT', what, `expected an end within ${this.#timeout} s, got none`))
    const giveUp = () => end.reject(closedMeanwhile(what))
    const timer =
      this.#timeout === 0 ? undefined : setTimeout(late, Math.min(this.#timeout * 1000, MAX_TIMER_MS))
    this.#running.add(giveUp)
    try {
      const failed = (cause: unknown) => {
        throw hookError('HOOK_FAILED', what, `threw: ${reasonOf(cause)}`, {cause})
      }
      await Promise.race([result.then(undefined, failed), end.promise])
    } finally {
      clearTimeout(timer)
      this.#running.delete(giveUp)
    }
  }
}

type SubjectOf<Point extends HookPoint> = Parameters<NonNullable<Hook[Point]>>

/** Where a hook stands, and what it was called with. */
interface Place {
  hook: Hook
  point: HookPoint
  subject: readonly unknown[]
}

function call(hook: Hook, point: HookPoint, subject: readonly unknown[]): unknown {
  try {
    return (hook[point] as (...subject: readonly unknown[]) => unknown)(...subject)
  } catch (cause) {
    throw hookError('HOOK_FAILED', {hook, point, subject}, `threw: ${reasonOf(cause)}`, {cause})
  }
}

function hookError(
  code: HookError['code'],
  {hook, point, subject}: Place,
  what: string,
  options: {cause?: unknown; hint?: string} = {},
): HookError {
  const job = point === 'postEnqueue' ? (subject[0] as EnqueuedJob) : null
  const stored = job && (job.db === undefined ? {id: job.id} : {id: job.id, db: job.db})
  return new HookError(code, hook.name, point, what, {...options, stored})
}

function closedMeanwhile(place: Place): HookError | ClosedError {
  if (place.point === 'postEnqueue')
    return hookError('HOOK_FAILED', place, 'was not awaited: the queue was closed meanwhile')
  return new ClosedError(
    `the queue was closed while hook ${quoted(place.hook.name)} was running at ${place.point}`,
  )
}

function checkHook(hook: unknown): asserts hook is Hook {
  if (typeof hook !== 'object' || hook === null)
    throw new UsageError(`expected a hook, got ${kindOf(hook)}`, {
      hint: `a hook is an object {name, ${HOOK_POINTS[0]}(call) {…}, …}`,
    })
  const {name} = hook as Partial<Hook>
  if (typeof name !== 'string' || name === '')
    throw new UsageError(`a hook's name: expected text, got ${name === '' ? 'an empty one' : typeof name}`, {
      hint: 'it is what the hook is unregistered by',
    })
  for (const [key, value] of Object.entries(hook)) {
    if (isPoint(key) ? typeof value === 'function' || value === undefined : typeof value !== 'function')
      continue
    if (isPoint(key))
      throw new UsageError(`hook ${quoted(name)}: ${key}: expected a function, got ${typeof value}`)
    throw new UsageError(`hook ${quoted(name)}: unknown point ${key}`, {
      hint: `did you mean ${closest(key, HOOK_POINTS)}? ${known(HOOK_POINTS)}`,
    })
  }
  if (!HOOK_POINTS.some(point => typeof (hook as Hook)[point] === 'function'))
    throw new UsageError(`hook ${quoted(name)}: expected a function at one of the points, got none`, {
      hint: known(HOOK_POINTS),
    })
}

function isPoint(key: string): key is HookPoint {
  return (HOOK_POINTS as readonly string[]).includes(key)
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : inspected(thrown)
}

function quoted(name: string): string {
  return JSON.stringify(name)
}

function known(names: readonly string[]): string {
  return names.length === 0 ? 'there are none' : `known are ${names.join(', ')}`
}
