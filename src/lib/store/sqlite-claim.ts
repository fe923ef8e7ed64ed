/**
 * Before a SQLite file is opened: is this its only name, and is the -wal beside it its own?
 *
 * SQLite finds a -wal by the name of its database. A file with two names (a hard link, or mounted by itself elsewhere, as
 * containers do it) has two of them; a file that was put in another's place has that one's. Both give ids twice and lose
 * jobs, and SQLite itself looks for neither. It costs a stat and, where the system has it, /proc/self/mountinfo: 40 µs.
 */
import {readFileSync, realpathSync, type Stats, statSync} from 'node:fs'
import {resolve} from 'node:path'
import {StoreError} from '../errors.ts'
import type {FilePlace} from './sqlite-known-file.ts'
import {allLocks, usersOf} from './sqlite-locks.ts'

/** How long a process may take to notice that its file was replaced. */
const PATIENCE_MS = 8000
const PAUSE_MS = 20

/** The place of the file, which is there. @throws StoreError */
export async function claim(name: string): Promise<FilePlace> {
  const path = realpathSync.native(name)
  if (isMountPoint(path)) throw mountedError(name)
  const giveUpAt = Date.now() + PATIENCE_MS
  for (;;) {
    const stats = statSync(path)
    if (stats.nlink > 1) throw linkedError(name, path, stats.nlink)
    const stranger = strangerAt(path, stats)
    if (stranger === null) return {name, at: resolve(name), path, dev: stats.dev, ino: stats.ino}
    if (Date.now() > giveUpAt) throw strangerError(name, stranger)
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
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
  const locks = shm ? allLocks() : null
  if (!shm || locks === null) return null
  const users = usersOf(stats, 'database', locks)
  const strangers = [...usersOf(shm, 'shm', locks)!].filter(pid => !users!.has(pid))
  return strangers[0] ?? null
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
