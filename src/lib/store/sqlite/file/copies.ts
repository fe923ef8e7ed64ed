/**
 * Notices another copy of SQLite in this process (node:sqlite, another better-sqlite3) that has the same file open: if
 * it closes the file, this connection's locks are gone.
 */
import {readdirSync, readFileSync, readlinkSync, statSync} from 'node:fs'
import {monotonic} from '../../../jobs/clock.ts'
import {StoreError} from '../../../jobs/errors.ts'
import type {KnownFile} from './known-file.ts'
import {usersOf} from './locks.ts'

/** How often the descriptors are looked at. That takes 0.5 ms, with thousands of them milliseconds: one in SHARE, at most. */
const LOOK_MS = 1000
const SHARE = 5000

const NODE_SQLITE = 'NativeModule sqlite'
/** Of Node.js's own modules those that this thread has loaded: it grows. */
const MODULES = (process as {moduleLoadList?: readonly string[]}).moduleLoadList ?? []

const warnedOf = new Set<string>()

/**
 * POSIX locks are the process's: whichever copy closes the file first, the locks of the other are gone with it, and it
 * does not know. Then other processes take the file for one that nobody has open, and write over what is committed
 * here. Whoever only reads the file, to copy it say, does the same. Linux tells of it. A copy has the -shm open once,
 * however many connections it has: a second descriptor on it is another copy's, and is warned of. When the locks are
 * gone, nothing is written any more: that is looked for now and then, and before each commit (20 to 100 µs) where
 * another copy is loaded at all.
 */
export class Copies {
  readonly #file: KnownFile
  /** The descriptors that the locks are on; null if they can't be seen here. */
  #locked: string[] | null
  #nextAt = 0
  #areMany = false
  #modules = 0

  /** To be made when the connection has read something, and so has its locks. */
  constructor(file: KnownFile) {
    this.#file = file
    this.#locked = lockedBy(file.place.path)
  }

  /** Is there another, which may open and close the file at any moment? Node.js's own is seen as soon as it is loaded. */
  get areMany(): boolean {
    if (MODULES.length !== this.#modules) {
      this.#modules = MODULES.length
      this.#areMany ||= MODULES.includes(NODE_SQLITE)
    }
    return this.#areMany
  }

  /** Now and then: 20 µs, and more every few seconds. @throws StoreError when the locks are gone */
  check(): void {
    const {name, path} = this.#file.place
    if (this.#locked && !areLocked(path, this.#locked)) {
      this.#locked = lockedBy(path)
      // Of a file that has just come to its place the locks can't be ours: then that is what has happened
      if (this.#locked === null) this.#file.look()
      if (this.#locked === null)
        this.#file.refuse(isShmDeleted(path) ? deletedError(name) : unlockedError(name))
    }
    const now = monotonic()
    if (now < this.#nextAt) return
    this.look()
    this.#nextAt = now + Math.max(LOOK_MS, (monotonic() - now) * SHARE)
  }

  look(): void {
    const {name, path} = this.#file.place
    const copies = copiesHere()
    const isOpenTwice = descriptorsOf(`${path}-shm`).length > 1
    this.#areMany ||= isOpenTwice || copies.length > 1
    if (!isOpenTwice || warnedOf.has(path)) return
    warnedOf.add(path)
    process.emitWarning(`${name} is open in this process by two copies of SQLite (${copies.join(', ')})`, {
      code: 'JOBQ_TWO_SQLITES',
      detail:
        'As soon as one of them closes it, the other has lost its locks, and jobs get lost: see docs/library.md',
    })
  }
}

/** As the only copy here: where another has closed the file, the -shm may have gone with the locks. */
function isShmDeleted(path: string): boolean {
  return descriptorsOf(`${path}-shm (deleted)`).length > 0 && copiesHere().length < 2
}

function deletedError(name: string): StoreError {
  return new StoreError(
    'UNSAFE',
    `${name} has lost its locks, since its -shm was deleted while it was open`,
    {
      hint: 'nothing is written any more, other processes would not see it: leave its -wal and -shm in place, and open it again',
    },
  )
}

function unlockedError(name: string): StoreError {
  return new StoreError(
    'UNSAFE',
    `${name} has lost its locks, since something else in this process has opened and closed it`,
    {
      hint: `nothing is written any more, other processes would write over it: leave the file to one copy of SQLite (here are ${copiesHere().join(', ')}), and open it again`,
    },
  )
}

/** The descriptors of the database and of its -shm that this process's locks are on; null if there are none. */
function lockedBy(path: string): string[] | null {
  const fds = [...descriptorsOf(path), ...descriptorsOf(`${path}-shm`)]
  return areLocked(path, fds) ? fds : null
}

function areLocked(path: string, fds: readonly string[]): boolean {
  const [database, shm] = ['', '-shm'].map(end => statSync(path + end, {throwIfNoEntry: false}))
  if (!database || !shm) return false
  const locks = fds.map(locksOn).join('')
  const isIn = (users: Set<number>) => users.has(process.pid)
  return isIn(usersOf(database, 'database', locks)) && isIn(usersOf(shm, 'shm', locks))
}

/** As in /proc/locks. */
function locksOn(fd: string): string {
  try {
    return readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1').replaceAll('lock:\t', '')
  } catch {
    return '' // closed by now
  }
}

function descriptorsOf(path: string): string[] {
  try {
    return readdirSync('/proc/self/fd').filter(fd => pathOf(fd) === path)
  } catch {
    return [] // not on this system
  }
}

function pathOf(fd: string): string | null {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return null // closed by now
  }
}

/** All that are loaded in this process, jobq's own among them. */
function copiesHere(): string[] {
  let maps = ''
  try {
    maps = readFileSync('/proc/self/maps', 'utf8')
  } catch {}
  const addons = maps.match(/\/[^\n]*sqlite[^\n]*\.node$/gm) ?? []
  return [...new Set(addons), ...(MODULES.includes(NODE_SQLITE) ? ['node:sqlite'] : [])]
}
