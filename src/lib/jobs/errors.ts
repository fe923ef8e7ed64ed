/** Every error that jobq raises on purpose. Each says what was expected, what was got, and what to do. */

/** The exit statuses of commands, by what they mean: the table in docs/commands.md. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  refused: 3,
  notFound: 4,
  jobFailed: 5,
  nothingReady: 6,
  interrupted: 130,
  terminated: 143,
} as const

/**
 * All that jobq raises on purpose: told in one line, with a code and what to do. Any other error is a defect in jobq,
 * and shows as one.
 */
export abstract class JobqError extends Error {
  /** A stable name in capitals, for programs. */
  abstract readonly code: string
  /** The exit status that a command ends with. */
  abstract readonly exitCode: number
  /** What to do about it, one sentence; empty where the message says it all. */
  readonly hint: string
  /** Of many jobs that were enqueued at once: which one was refused, the first being 1. */
  nth?: number

  constructor(message: string, options: {hint?: string; cause?: unknown} = {}) {
    super(message, 'cause' in options ? {cause: options.cause} : undefined)
    this.name = new.target.name
    this.hint = options.hint ?? ''
  }
}

/** A flag, an argument or an option that can't be what was meant. */
export class UsageError extends JobqError {
  readonly code: string = 'USAGE'
  readonly exitCode = EXIT.usage
}

/** What was stored under a token in one database is not seen in another. @throws UsageError */
export function checkOneDatabase(token: string | undefined, databases: number): void {
  if (token === undefined || databases === 1) return
  throw new UsageError(`token: expected one database with it, got ${databases}`, {
    hint: 'name the one that the job was for: what was stored in another is not seen there',
  })
}

/** An argument that is not what its serializer takes. */
export class ArgumentError extends UsageError {
  override readonly code: string = 'BAD_ARGUMENT'
}

/** @throws what `check` throws, which says that it is of the nth */
export function checkNth<T>(nth: number, check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (error instanceof JobqError) error.nth = nth
    throw error
  }
}

/** A configuration file that can't be read, or says something it may not say. */
export class ConfigError extends UsageError {
  override readonly code: string = 'BAD_CONFIG'
}

/** A function that should be worked has no worker, or one that can't be started. */
export class WorkerError extends UsageError {
  override readonly code: string = 'BAD_WORKER'
}

/** A job with this (func, uniqkey) is in the table already. Qudo refuses it likewise. */
export class DuplicateJobError extends JobqError {
  readonly code = 'DUPLICATE'
  readonly exitCode = EXIT.refused

  readonly func: string
  readonly uniqkey: string
  /** The id of the job that is there; null if it left the table meanwhile. */
  readonly existingId: number | null
  /** Which of several databases it is in. */
  existingDb: number | undefined
  /** The key stays taken until then (Unix seconds), whether that job is there or not; null: as long as the job is. */
  readonly takenUntil: number | null

  /**
   * @param how `place`: of many jobs which one, `line 3` say; `isTwice`: the other one is of the same call; `isRunning`: it was to
   * be replaced, and runs; `takenUntil`: the key stays taken
   */
  constructor(
    func: string,
    uniqkey: string,
    existingId: number | null,
    how: {
      place?: string
      isTwice?: boolean
      isRunning?: boolean
      takenUntil?: number
      db?: number | undefined
    } = {},
  ) {
    const {place, isTwice = false, isRunning = false, takenUntil, db} = how
    const where = place === undefined ? '' : `${place}: uniqkey: `
    const kind = place?.split(' ')[0]
    const which = `a job of ${func} with uniqkey ${JSON.stringify(uniqkey)}`
    const state = isRunning ? 'running' : 'already waiting'
    const until = takenUntil === undefined ? '' : isoTime(takenUntil)
    const free = `it can be enqueued again ${until ? 'then' : 'once that job has left the queue'}`
    const id = existingId === null ? '' : ` (job ${existingId})`
    super(
      isTwice
        ? `${where}refused: ${which} is in an earlier ${kind}`
        : until
          ? `${where}refused: uniqkey ${JSON.stringify(uniqkey)} of ${func} is taken until ${until}${id}`
          : `${where}refused: ${which} is ${state}${id}`,
      {
        hint:
          place !== undefined
            ? `nothing was enqueued; take the ${kind} out and try again`
            : isRunning
              ? `only a job that waits is replaced; ${free}`
              : `${free}; --if-absent takes this for success`,
      },
    )
    this.func = func
    this.uniqkey = uniqkey
    this.existingId = existingId
    this.takenUntil = takenUntil ?? null
    if (db !== undefined) this.in(db)
  }

  /** The same, of one of several databases: an id has its number before it then. */
  in(db: number): this {
    this.existingDb = db
    this.message = this.message.replace(/ \(job (\d+)\)$/, ` (job ${db}:$1)`)
    return this
  }
}

/** No job, exception or function of that id or name. */
export class NotFoundError extends JobqError {
  readonly code = 'NOT_FOUND'
  readonly exitCode = EXIT.notFound
}

/** There is one, whose ids need no number before them. */
export function noDatabase(db: number): NotFoundError {
  return new NotFoundError(`no database ${db}`, {hint: 'there is one, which is 1'})
}

/** A job was to be enqueued after one that has not completed, and never will. */
export class AfterFailedError extends JobqError {
  readonly code = 'AFTER_FAILED'
  readonly exitCode = EXIT.refused

  constructor(id: number | string, outcome: 'failed' | 'aborted') {
    super(`after: refused: job ${id} has ${outcome === 'failed' ? 'failed' : 'been aborted'}`, {
      hint: `retry it, or wait for its end only: --after-end ${id}`,
    })
  }
}

/** The job is being worked: only one that waits can be edited. */
export class JobRunningError extends JobqError {
  readonly code = 'RUNNING'
  readonly exitCode = EXIT.notFound

  /** @param id as people have it: `7`, or with several databases `2:7` */
  constructor(id: number | string) {
    super(`job ${id} is running: only a job that waits can be edited`, {
      hint: `\`jobq cancel ${id}\` stops it`,
    })
  }
}

/** The job was to be worked, and someone else has it, or it waits for others. */
export class JobHeldError extends JobqError {
  readonly code: 'RUNNING' | 'WAITING'
  readonly exitCode = EXIT.notFound

  /**
   * @param id as JobRunningError's
   * @param after what it waits for, likewise; empty: it runs
   */
  constructor(id: number | string, after: readonly (number | string)[] = []) {
    const isWaiting = after.length > 0
    super(isWaiting ? `job ${id} waits for ${after.join(', ')}` : `job ${id} is running already`, {
      hint: isWaiting
        ? 'it can be worked when these have ended'
        : `\`jobq show ${id}\` tells where; a minute after that process is gone it can be worked`,
    })
    this.code = isWaiting ? 'WAITING' : 'RUNNING'
  }
}

/** Who runs the job can't be told to stop. The order was taken back: the job goes on as if nothing had been asked. */
export class NotHeardError extends JobqError {
  readonly code = 'NOT_HEARD'
  readonly exitCode = EXIT.notFound

  /** @param id as JobRunningError's */
  constructor(id: number | string, seconds: number) {
    super(`job ${id} is running, and who runs it has not heard within ${seconds} s: it goes on`, {
      hint: "a Perl worker, or an older jobq, can't be told; a dispatcher that is stopped or gone hears nothing: then its job can be cancelled a minute later",
    })
  }
}

/** Why a job was told to stop: the reason of its signal. */
export type StopReason = 'cancelled' | 'overrun' | 'shutdown'

/** The `reason` of `job.signal` when it aborts: the job is told to stop. */
export class JobStoppedError extends JobqError {
  readonly code = 'STOPPED'
  readonly exitCode = EXIT.failed

  /**
   * - cancelled: someone has cancelled it. It ends as aborted, unless it gets done
   * - overrun: it ran longer than its grabFor. It has failed
   * - shutdown: its dispatcher is ending. It is released, and runs again elsewhere, unless it gets done
   */
  readonly why: StopReason

  constructor(why: StopReason) {
    super(`the job was told to stop: ${STOP_REASONS[why]}`)
    this.why = why
  }
}

const STOP_REASONS: Record<StopReason, string> = {
  cancelled: 'it was cancelled',
  overrun: 'it ran longer than its grabFor',
  shutdown: 'its dispatcher is ending',
}

/** The exception has been retried before; Qudo warns and does nothing, too. */
export class AlreadyRetriedError extends JobqError {
  readonly code = 'ALREADY_RETRIED'
  readonly exitCode = EXIT.notFound

  readonly exceptionId: number

  constructor(exceptionId: number) {
    super(`exception ${exceptionId} was already retried`, {
      hint: 'see `jobq list --failed`; enqueue the job again with `jobq enqueue` if it is wanted twice',
    })
    this.exceptionId = exceptionId
  }
}

/** The job of this failed attempt is still there: it is tried again without being asked. */
export class StillTriedError extends JobqError {
  readonly code = 'STILL_TRIED'
  readonly exitCode = EXIT.refused

  readonly exceptionId: number
  /** The job that waits for its next try, or is at it. */
  readonly jobId: number

  constructor(exceptionId: number, jobId: number) {
    super(
      `exception ${exceptionId}: its job (${jobId}) waits for its next try; --again (again: true) adds one more`,
      {
        hint: 'it will be tried again by itself',
      },
    )
    this.exceptionId = exceptionId
    this.jobId = jobId
  }
}

/** What kept a database from doing it. */
export type StoreErrorCode =
  | 'UNREACHABLE'
  | 'DAMAGED'
  | 'FULL'
  | 'READ_ONLY'
  | 'LOCKED'
  /** The server has broken off the statement; nothing of it was stored. */
  | 'CANCELLED'
  | 'FOREIGN'
  /** SQLite: the file has two names, or is used in a way that its locks don't survive. */
  | 'UNSAFE'
  /** SQLite: since it was opened, another file has come to its place, or none is there. */
  | 'REPLACED'
  /** The answer to an insert was lost: it may have been stored. */
  | 'UNCERTAIN'
  | 'DATABASE'

/** The database could not do it: out of reach, damaged, full, read-only, locked too long. */
export class StoreError extends JobqError {
  readonly code: StoreErrorCode
  readonly exitCode = EXIT.failed
  /** Of UNCERTAIN: the enqueue's token. With it the same enqueue may be done again, and stores nothing twice. */
  readonly token?: string

  constructor(
    code: StoreErrorCode,
    message: string,
    options: {hint?: string; cause?: unknown; token?: string | undefined} = {},
  ) {
    super(message, options)
    this.code = code
    if (options.token !== undefined) this.token = options.token
  }
}

const PASSING: readonly StoreErrorCode[] = ['LOCKED', 'CANCELLED', 'FULL', 'UNREACHABLE', 'READ_ONLY']

/** Is it the database's, and may it be over in a while? Then who waits for work tries it again. */
export function isPassing(error: unknown): error is StoreError {
  return error instanceof StoreError && PASSING.includes(error.code)
}

/** Of several databases, is it that of this row alone which is out of reach? What is in the others is done all the same. */
export function isElsewhere({db}: {db?: number | undefined}, error: unknown): error is StoreError {
  return db !== undefined && isPassing(error)
}

/** Ids beyond 2^53 - 1 are several to a JavaScript number: a row that has one could be taken for another. */
export function idTooLarge(table: string, digits: string): StoreError {
  const most = Number.MAX_SAFE_INTEGER
  const message = `${table}: expected ids up to ${most}, got ${digits}, which jobq can't tell from others`
  return new StoreError('DATABASE', message, {
    hint: "give such rows smaller ids, and set the table's next id behind those",
  })
}

/** A port that can't be listened on. */
export class ServerError extends JobqError {
  readonly code = 'CANT_LISTEN'
  readonly exitCode = EXIT.failed
}

/** The system has no room for one more process, or one more open file. */
export class ProcessError extends JobqError {
  readonly code = 'NO_PROCESS'
  readonly exitCode = EXIT.failed

  constructor(cause?: unknown, what = "can't start a process for the workers", hint = shortageHint(cause)) {
    super(`${what}${cause instanceof Error ? ` (${cause.message})` : ''}`, {hint, cause})
  }
}

/** Of this process, or of all: descriptors; of the user: processes; memory. */
const SHORT = /^(EMFILE|ENFILE|EAGAIN|ENOMEM|ENOBUFS)$/

/** What is said of that where Node.js looks for a package.json, and where the system loads an addon: with no code, or a wrong one. */
const SHORT_IN_WORDS =
  /(^Cannot read package config .*|cannot open shared object file): (too many open files|file table overflow)/i

/** What Node.js, V8 and better-sqlite3 say where there is no memory for one more value. */
const NO_MEMORY = /^(Failed to allocate memory|Array buffer allocation failed|Out of memory)$/i

/** Is it that the system has no room for one more? */
export function isShort(error: unknown): boolean {
  const {code = '', message = ''} = (error ?? {}) as NodeJS.ErrnoException
  return SHORT.test(code) || SHORT_IN_WORDS.test(message) || NO_MEMORY.test(message)
}

/** What to do about it. */
export function shortageHint(error: unknown): string {
  const {code = '', message = ''} = (error ?? {}) as NodeJS.ErrnoException
  if (NO_MEMORY.test(message) || /^ENOMEM$/.test(code))
    return 'this process may have too little memory: check ulimit -v, and the limits of its container or unit'
  return 'check the limits of this user: ulimit -n, ulimit -u'
}

/** What should be a transaction of the caller's is none, is elsewhere, or can't go on. */
export class TransactionError extends UsageError {
  override readonly code: string = 'NO_TRANSACTION'
  /** Is it that the connection is not one to this database? Then it may be one to another. */
  readonly isElsewhere: boolean

  constructor(message: string, options: {hint?: string; cause?: unknown; isElsewhere?: boolean} = {}) {
    super(message, options)
    this.isElsewhere = options.isElsewhere ?? false
  }
}

/** A plugin that is none, that can't start or stop, or that there is none of by that name. */
export class PluginError extends UsageError {
  override readonly code: string = 'BAD_PLUGIN'
}

/** A hook threw, or did not end in time. `cause` is what it threw. */
export class HookError extends JobqError {
  readonly code: 'HOOK_FAILED' | 'HOOK_TIMEOUT'
  readonly exitCode = EXIT.failed
  /** The hook's name, and the point at which it was called. */
  readonly hook: string
  readonly point: string
  /** The job, if it was stored all the same: postEnqueue comes after that. */
  readonly stored: {id: number; db?: number} | null

  constructor(
    code: HookError['code'],
    hook: string,
    point: string,
    what: string,
    options: {hint?: string; cause?: unknown; stored?: {id: number; db?: number} | null} = {},
  ) {
    const {stored = null} = options
    const id = stored && (stored.db === undefined ? stored.id : `${stored.db}:${stored.id}`)
    super(
      `hook ${JSON.stringify(hook)} at ${point}: ${what}${stored ? `; job ${id} is stored all the same` : ''}`,
      options,
    )
    this.code = code
    this.hook = hook
    this.point = point
    this.stored = stored
  }
}

/** A job has not ended in the time that was given. */
export class WaitTimeoutError extends JobqError {
  readonly code = 'WAIT_TIMEOUT'
  readonly exitCode = EXIT.failed

  /** @param jobs the one by its id, or how many */
  constructor(jobs: number | string | {left: number}, seconds: number) {
    const isMany = typeof jobs === 'object' && jobs.left !== 1
    const which =
      typeof jobs === 'object' ? (isMany ? `${jobs.left} jobs have` : '1 job has') : `job ${jobs} has`
    const it = isMany ? 'they go on; they' : 'it goes on; it'
    super(`${which} not ended within ${seconds} s`, {hint: `${it} can be waited for again`})
  }
}

/** The Node.js that runs this is too old for it. */
export class NodeVersionError extends JobqError {
  readonly code = 'NODE_TOO_OLD'
  readonly exitCode = EXIT.failed

  constructor(oldest: string, version: string) {
    super(`expected Node.js ${oldest} or later, got ${version}`, {hint: 'install a current Node.js'})
  }
}

/** The JobQueue was closed before this call. */
export class ClosedError extends JobqError {
  readonly code = 'CLOSED'
  readonly exitCode = EXIT.failed
}

/** Nothing is left that could go on, and yet the command is not done: exit status 0 would be a lie. */
export class UnfinishedError extends JobqError {
  readonly code = 'UNFINISHED'
  readonly exitCode = EXIT.failed

  constructor() {
    super('ended before it was done: it awaits something that never comes', {
      hint: 'a configuration file that awaits for ever does this',
    })
  }
}

/** An application's own file has thrown where nobody can catch it: in a timer, in a promise that nobody awaits. */
export class StrayError extends JobqError {
  readonly code = 'STRAY'
  readonly exitCode = EXIT.failed

  constructor(file: string, cause: Error) {
    super(`an error of ${file} that nobody has caught: ${cause.message}`, {
      hint: 'catch it there, or await what throws it; JOBQ_DEBUG=1 shows where',
      cause,
    })
  }
}

/** A whole Unix second as a message says it, in UTC. */
export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000', '')
}
