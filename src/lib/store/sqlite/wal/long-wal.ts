/**
 * A -wal that has become long is made short again. SQLite begins it anew only when all of it was moved into the database
 * and nobody reads from it: one who reads for long lets it grow, and it stays as long as it was. Whoever begins it anew cuts
 * it (journal_size_limit); but where nothing is written any more, nobody does.
 *
 * So a thread with a connection of its own (sqlite-long-wal-thread.ts) moves what there is, again and again, and cuts it
 * as soon as it can. It is there only while the -wal is long.
 */
import {statSync, truncateSync} from 'node:fs'
import {Worker} from 'node:worker_threads'
import type {Database} from 'better-sqlite3'
import {EXTENSION, LIBRARY} from '../../../own-modules.ts'
import type {FilePlace, KnownFile} from '../file/known-file.ts'

const THREAD = new URL(`store/sqlite/wal/long-wal-thread${EXTENSION}`, LIBRARY)
/** As a rule the next commit has cut it by then. */
const WAIT_MS = 1000
/** How long a transaction that has just failed waits for those of others, to leave nothing behind. */
const CUT_PATIENCE_MS = 200

/** The thread tries in vain: someone reads. */
export type Held = 'held'

export class LongWal {
  readonly #file: KnownFile
  readonly #onTrouble: (message: string) => void
  readonly #onEnd: () => void
  readonly #timer: NodeJS.Timeout
  #thread: Worker | undefined
  #ended: Promise<void> = Promise.resolve()

  /** @param onEnd called when it is short */
  constructor(file: KnownFile, onTrouble: (message: string) => void, onEnd: () => void) {
    this.#file = file
    this.#onTrouble = onTrouble
    this.#onEnd = onEnd
    this.#timer = setTimeout(() => this.#start(), WAIT_MS).unref()
  }

  async end(): Promise<void> {
    clearTimeout(this.#timer)
    this.#thread?.ref()
    this.#thread?.postMessage('end')
    await this.#ended
  }

  #start(): void {
    if (!this.#file.isWalLong()) {
      this.#onEnd()
      return
    }
    const thread = new Worker(THREAD, {workerData: this.#file.place, execArgv: []})
    this.#thread = thread
    thread.unref()
    thread.once('message', (_: Held) => this.#tell())
    let hasFailed = false
    thread.once('error', () => {
      hasFailed = true // it may not be written, say: it stays as it is
    })
    this.#ended = new Promise(resolve => {
      thread.once('exit', () => {
        resolve()
        if (!hasFailed) this.#onEnd()
      })
    })
  }

  #tell(): void {
    const {name, path} = this.#file.place
    const size = Math.round(bytesOf(this.#file.place) / (1 << 20))
    this.#onTrouble(
      `${name}-wal has grown to ${size} MB, since someone has been reading the database for long: \`fuser ${path}-shm\` names who has it open`,
    )
  }
}

function bytesOf({path}: FilePlace): number {
  return statSync(`${path}-wal`, {throwIfNoEntry: false})?.size ?? 0
}

/**
 * Cuts off what stands in the -wal behind the last commit: what a transaction that was rolled back has written there. Where
 * the file system is full, that may be all that the queue has. A checkpoint would not do: the database may have no room to
 * grow, and readers may be in its way.
 */
export function cutWal(db: Database, place: FilePlace, connect: () => Database): void {
  let other: Database | undefined
  try {
    other = connect()
    other.pragma(`busy_timeout = ${CUT_PATIENCE_MS}`)
    other.exec('BEGIN IMMEDIATE') // from here on nobody writes
    const [, pages] = db.prepare('PRAGMA wal_checkpoint(NOOP)').raw().get() as [number, number, number]
    if (pages < 0) return // in no WAL mode
    const pageSize = db.pragma('page_size', {simple: true}) as number
    const end = pages === 0 ? 0 : WAL_HEADER + pages * (FRAME_HEADER + pageSize)
    // No lock of SQLite's is on the -wal: it may be opened
    if (bytesOf(place) > end) truncateSync(`${place.path}-wal`, end)
  } catch {
    // Someone else writes: over what is there
  } finally {
    other?.close()
  }
}

/** https://www.sqlite.org/fileformat2.html#walformat */
const WAL_HEADER = 32
const FRAME_HEADER = 24
