/** A thread that makes a long -wal short again. It is there only while the -wal is long. */
import {statSync, truncateSync} from 'node:fs'
import type {Database} from 'better-sqlite3'
import type {FilePlace, KnownFile} from '../file/known-file.ts'
import {Thread} from '../thread.ts'
import type {Shortened} from '../thread-protocol.ts'

/** As a rule the next commit has cut it by then. */
const WAIT_MS = 1000
/** How long a transaction that has just failed waits for those of others, to leave nothing behind. */
const CUT_PATIENCE_MS = 200

const PAUSE_MS = 500
/** So many tries that move nothing, and so many pages that wait: who reads for less does not count. */
const TRIES = 4
const MANY_PAGES = 1000

/**
 * SQLite begins a -wal anew only when all of it was moved into the database and nobody reads from it: one who reads for
 * long lets it grow, and it stays as long as it was. Whoever begins it anew cuts it (journal_size_limit); but where
 * nothing is written any more, nobody does. So the thread moves what there is, again and again, and cuts it as soon as
 * it can.
 */
export class LongWal {
  readonly #file: KnownFile
  readonly #onTrouble: (message: string) => void
  readonly #timer: NodeJS.Timeout
  #isEnding = false
  #goOn = () => {}
  #work: Promise<void> = Promise.resolve()

  /** @param onEnd called when it is short */
  constructor(file: KnownFile, onTrouble: (message: string) => void, onEnd: () => void) {
    this.#file = file
    this.#onTrouble = onTrouble
    const start = () => {
      this.#work = this.#shorten().then(onEnd, () => {}) // it may not be written, say: it stays as it is
    }
    this.#timer = setTimeout(start, WAIT_MS).unref()
  }

  async end(): Promise<void> {
    clearTimeout(this.#timer)
    this.#isEnding = true
    this.#goOn()
    await this.#work
  }

  async #shorten(): Promise<void> {
    if (!this.#file.isWalLong()) return
    const thread = new Thread({task: 'shorten', place: this.#file.place})
    try {
      for (let [inVain, movedBefore] = [0, -1]; !this.#isEnding; ) {
        const {isShort, pages, moved} = (await thread.ask('shorten')) as Shortened
        if (isShort) return
        inVain = moved === movedBefore && pages - moved > MANY_PAGES ? inVain + 1 : 0
        movedBefore = moved
        if (inVain === TRIES) this.#tell()
        await this.#pause()
      }
    } finally {
      await thread.end()
    }
  }

  #pause(): Promise<void> {
    if (this.#isEnding) return Promise.resolve()
    return new Promise(resolve => {
      this.#goOn = resolve
      setTimeout(resolve, PAUSE_MS).unref()
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
