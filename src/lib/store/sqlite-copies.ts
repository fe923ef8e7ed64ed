/**
 * Another copy of SQLite in this process (node:sqlite, another better-sqlite3) that has the same file open. POSIX locks are
 * the process's: whichever copy closes the file first, the locks of the other are gone with it, and it does not know. Then
 * other processes take the file for one that nobody has open, and write over what is committed here. Whoever only reads
 * the file, to copy it say, does the same.
 *
 * Linux tells of it. A copy has the -shm open once, however many connections it has: a second descriptor on it is another
 * copy's, and is warned of. When the locks are gone, nothing is written any more.
 */
import {readdirSync, readFileSync, readlinkSync, statSync} from 'node:fs'
import {monotonic} from '../clock.ts'
import {StoreError} from '../errors.ts'
import type {KnownFile} from './sqlite-known-file.ts'
import {allLocks, usersOf} from './sqlite-locks.ts'

/** How often the descriptors are looked at. With thousands of them that takes milliseconds: one in SHARE, at most. */
const LOOK_MS = 1000
const SHARE = 1000

const warnedOf = new Set<string>()

export class Copies {
  readonly #file: KnownFile
  readonly #hadLocks: boolean
  #nextAt = monotonic() + LOOK_MS

  /** To be made when the connection has read something, and so has its locks. */
  constructor(file: KnownFile) {
    this.#file = file
    this.#hadLocks = hasLocks(file.place.path) === true // else they can't be seen here
  }

  /** Now and then: 15 µs, and more once a second. @throws StoreError when the locks are gone */
  check(): void {
    const {name, path} = this.#file.place
    if (this.#hadLocks && hasLocks(path) === false) this.#file.refuse(unlockedError(name))
    const now = monotonic()
    if (now < this.#nextAt) return
    this.look()
    this.#nextAt = now + Math.max(LOOK_MS, (monotonic() - now) * SHARE)
  }

  look(): void {
    const {name, path} = this.#file.place
    if (warnedOf.has(path) || !isOpenTwice(path)) return
    warnedOf.add(path)
    process.emitWarning(
      `${name} is open in this process by two copies of SQLite (${copiesHere().join(', ')})`,
      {
        code: 'JOBQ_TWO_SQLITES',
        detail:
          'As soon as one of them closes it, the other has lost its locks, and jobs get lost: see docs/library.md',
      },
    )
  }
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

/** Null where it can't be told. */
function hasLocks(path: string): boolean | null {
  const locks = allLocks()
  const [database, shm] = ['', '-shm'].map(end => statSync(path + end, {throwIfNoEntry: false}))
  if (locks === null || !database || !shm) return null
  const isIn = (users: Set<number> | null) => users!.has(process.pid)
  return isIn(usersOf(database, 'database', locks)) && isIn(usersOf(shm, 'shm', locks))
}

function isOpenTwice(path: string): boolean {
  let count = 0
  for (const fd of descriptors()) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) === `${path}-shm`) count++
    } catch {
      // closed by now
    }
  }
  return count > 1
}

function descriptors(): string[] {
  try {
    return readdirSync('/proc/self/fd')
  } catch {
    return []
  }
}

/** All that are loaded in this process, jobq's own among them. */
function copiesHere(): string[] {
  const {moduleLoadList = []} = process as {moduleLoadList?: readonly string[]}
  const builtIn = moduleLoadList.includes('NativeModule sqlite') ? ['node:sqlite'] : []
  let maps = ''
  try {
    maps = readFileSync('/proc/self/maps', 'utf8')
  } catch {}
  const addons = maps.match(/\/[^\n]*sqlite[^\n]*\.node$/gm) ?? []
  return [...new Set(addons), ...builtIn]
}
