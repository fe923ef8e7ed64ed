/** The file that a connection has open: is it still the one at its path, with the -wal that it has open? */
import {readdirSync, readlinkSync, rmSync, type Stats, statSync, truncateSync} from 'node:fs'
import type {Database} from 'better-sqlite3'
import {StoreError} from '../../../jobs/errors.ts'
import {allLocks, usersOf} from './locks.ts'

/** How often the path is looked at, where something goes on: two stats, 4 µs. */
const LOOK_MS = 100

/** In bytes: a -wal that is longer is made short again when it can be. Twice what it has as a rule. */
export const LONG_WAL = 8 << 20

/** What tells a file from another, for as long as it is open. */
export interface Inode {
  dev: number
  ino: number
}

/** A file to be opened. */
export interface FilePlace extends Inode {
  /** Its path as it was named, for messages. */
  name: string
  /** The same, absolute; a symbolic link may lead to the file. */
  at: string
  /** Where the file and its -wal are. */
  path: string
}

/**
 * Where something else is moved there, or the -wal is taken away, what this process commits goes where nobody looks,
 * and what is in the old -wal gets into the new file when someone opens that. SQLite does not notice. So the path is
 * looked at again and again, but never opened: closing any descriptor on the file would drop this process's locks.
 */
export class KnownFile {
  readonly place: FilePlace
  readonly #db: Database
  #wal: Inode | null = null
  #hasPages = false
  #lookedAt = Date.now()
  #lost: StoreError | null = null
  /** How long the -wal was at the last look. */
  walBytes = 0

  constructor(db: Database, place: FilePlace) {
    this.#db = db
    this.place = place
  }

  /** To be called before what reads or writes. @returns has it looked? @throws StoreError once it is another file */
  check(): boolean {
    if (this.#lost) throw this.#lost
    const sinceLast = Date.now() - this.#lookedAt
    if (sinceLast >= 0 && sinceLast < LOOK_MS) return false
    this.look()
    return true
  }

  /** @throws StoreError once it is another file */
  look(): void {
    if (this.#lost) throw this.#lost
    this.#lookedAt = Date.now()
    const {at, path} = this.place
    const [now, wal] = [statOf(at), statOf(`${path}-wal`)]
    if (now === undefined || wal === undefined) return
    this.walBytes = wal?.size ?? 0
    if (now === null) this.#lose('was deleted', () => this.#forsake())
    else if (!isSame(now, this.place)) this.#lose('was replaced by another file', () => this.#forsake())
    else if (now.size === 0 && this.#hasPages) this.#lose('was emptied', () => this.#discard())
    else if (this.#wal && !(wal && isSame(wal, this.#wal)))
      this.#lose(
        'has lost its -wal (someone has deleted it, or another copy of SQLite in this process has closed the file)',
        () => this.#discard(),
      )
    this.#hasPages ||= (now?.size ?? 0) > 0
    if (wal && !this.#wal && this.#hasWal()) this.#wal = {dev: wal.dev, ino: wal.ino}
  }

  /** Is its -wal by now longer than it is as a rule? */
  isWalLong(): boolean {
    this.walBytes = statOf(`${this.place.path}-wal`)?.size ?? 0
    return this.walBytes > LONG_WAL
  }

  /** Only a connection that has its -wal open keeps others from deleting it. */
  #hasWal(): boolean {
    try {
      return this.#db.pragma('journal_mode', {simple: true}) === 'wal'
    } catch {
      return false // busy: later
    }
  }

  /** From here on it is not used any more. @throws the error, now and at each check */
  refuse(error: StoreError): never {
    this.#lost = error
    throw error
  }

  #lose(how: string, letGo: () => void): never {
    try {
      letGo()
    } catch {
      // Another user's folder, say: what can be done is done
    }
    this.refuse(replacedError(this.place, how))
  }

  /**
   * What is in the -wal goes into the old file, wherever that is now; then the -wal leaves its place, so that it does not
   * get into the new one. SQLite itself leaves all as it is when a file was moved. Who has the new one open by now has
   * that -wal with it.
   */
  #forsake(): void {
    try {
      this.#db.pragma('wal_checkpoint(PASSIVE)')
    } catch {
      // In the middle of something: it is lost with the file
    }
    const [now, locks] = [statOf(this.place.path), allLocks()]
    if (now && locks !== null && usersOf(now, 'database', locks).size > 0) return
    this.#unlinkWal()
  }

  /** What is in the -wal must not get into the file any more, not when this connection is closed either. */
  #discard(): void {
    for (const path of this.#walPaths()) truncateSync(path)
    this.#unlinkWal()
  }

  #unlinkWal(): void {
    const {path} = this.place
    const wal = statOf(`${path}-wal`)
    if (!wal || !this.#wal || !isSame(wal, this.#wal)) return
    rmSync(`${path}-wal`)
    rmSync(`${path}-shm`, {force: true})
  }

  /** Where this connection's -wal can be reached, though it may have no name any more. */
  *#walPaths(): Generator<string> {
    const {path} = this.place
    if (this.#wal && isSame(statOf(`${path}-wal`), this.#wal)) {
      yield `${path}-wal`
      return
    }
    for (const fd of readdirSync('/proc/self/fd')) {
      const link = `/proc/self/fd/${fd}`
      try {
        if (!readlinkSync(link).startsWith(`${path}-wal`)) continue
      } catch {
        continue // closed by now
      }
      if (this.#wal && isSame(statOf(link), this.#wal)) yield link
    }
  }
}

/** Is it still there? */
export function isAt(place: FilePlace): boolean {
  return isSame(statOf(place.at), place)
}

export function replacedError({name}: FilePlace, how = 'was replaced by another file'): StoreError {
  return new StoreError('REPLACED', `${name} ${how} while it was open`, {
    hint: 'nothing is written any more: open it again, if it is the right one',
  })
}

/** Null if there is none; undefined if it can't be looked at, which is no sign of anything. */
function statOf(path: string): Stats | null | undefined {
  try {
    return statSync(path, {throwIfNoEntry: false}) ?? null
  } catch {
    return undefined
  }
}

function isSame(one: Inode | null | undefined, other: Inode): boolean {
  return one?.ino === other.ino && one.dev === other.dev
}
