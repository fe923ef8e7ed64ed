/** Before a SQLite file is opened: is this its only name, and is the -wal beside it its own? */
import {readFileSync, realpathSync, type Stats, statSync} from 'node:fs'
import {resolve} from 'node:path'
import {StoreError} from '../../../jobs/errors.ts'
import type {FilePlace} from './known-file.ts'
import {allLocks, usersOf} from './locks.ts'

/** How long a process may take to notice that its file was replaced. */
const PATIENCE_MS = 8000
/** At first what is seen may be one that opens it or ends at this very moment (measured: 3 of 1,000 where many do). */
const PAUSES_MS = [1, 20] as const

/**
 * The place of the file, which is there. SQLite finds a -wal by the name of its database: a file with two names (a hard
 * link, or mounted by itself elsewhere, as containers do it) has two of them, and one that was put in another's place has
 * that one's. Both give ids twice and lose jobs, and SQLite itself looks for neither. To look costs three stats and
 * /proc/self/mountinfo: 50 µs, 0.2 ms in a process that has just begun.
 * @throws StoreError
 */
export async function claim(name: string): Promise<FilePlace> {
  const path = realpathSync.native(name)
  if (isMountPoint(path)) throw mountedError(name)
  const giveUpAt = Date.now() + PATIENCE_MS
  for (let pause: number = PAUSES_MS[0]; ; pause = Math.min(2 * pause, PAUSES_MS[1])) {
    const stats = statSync(path)
    if (stats.nlink > 1) throw linkedError(name, path, stats.nlink)
    const stranger = strangerAt(path, stats)
    if (stranger === null) return {name, at: resolve(name), path, dev: stats.dev, ino: stats.ino}
    if (Date.now() > giveUpAt) throw strangerError(name, stranger)
    await new Promise(resolve => setTimeout(resolve, pause))
  }
}

function isMountPoint(path: string): boolean {
  let mounts: string
  try {
    mounts = readFileSync('/proc/self/mountinfo', 'utf8')
  } catch {
    return false // a system without: there only folders are mounted
  }
  const escaped = path.replace(/[ \t\n\\]/g, c => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`)
  return mounts.includes(` ${escaped} `) && mounts.split('\n').some(line => line.split(' ', 5)[4] === escaped)
}

/** A process that has the -wal beside the file open, but not the file; null if there is none, or none can be seen. */
function strangerAt(path: string, stats: Stats): number | null {
  const shm = statSync(`${path}-shm`, {throwIfNoEntry: false})
  const locks = shm && mayBeNewer(stats, shm) ? allLocks() : null
  if (!shm || locks === null) return null
  const users = usersOf(stats, 'database', locks)
  const strangers = [...usersOf(shm, 'shm', locks)].filter(pid => !users.has(pid))
  return strangers[0] ?? null
}

/** Has the file come to its place when the -shm was there? It was made later, or something else than its content has changed. */
function mayBeNewer(file: Stats, shm: Stats): boolean {
  const isMovedLater = file.ctimeMs > shm.birthtimeMs && file.ctimeMs !== file.mtimeMs
  return file.birthtimeMs > shm.birthtimeMs || isMovedLater
}

function linkedError(name: string, path: string, names: number): StoreError {
  return new StoreError(
    'UNSAFE',
    `expected a file with one name, got one with ${names} (hard links): ${name}`,
    {
      hint: `under each it would have another -wal, and jobs get lost: keep one of them (find DIR -samefile ${path})`,
    },
  )
}

function mountedError(name: string): StoreError {
  return new StoreError(
    'UNSAFE',
    `expected a file in its folder, got one that is mounted by itself: ${name}`,
    {
      hint: 'others that have the file would not see its -wal, and jobs get lost: mount the folder instead',
    },
  )
}

function strangerError(name: string, pid: number): StoreError {
  return new StoreError('UNSAFE', `process ${pid} has the -wal of ${name} open, and not the file`, {
    hint: 'the file was replaced under it, or it has lost its locks (docs/library.md): end it, and try again',
  })
}
