/** SQLite's codes in a user's words. */
import {closeSync, openSync, statfsSync} from 'node:fs'
import {dirname} from 'node:path'
import {JobqError, StoreError, shortageHint} from '../../jobs/errors.ts'

/** Raised again if repeating the whole transaction may help: nothing of it was written. */
export function isBusy(error: unknown): boolean {
  const code = (error as {code?: unknown}).code
  return typeof code === 'string' && (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED'))
}

/** No room left: on the file system, or for the process. */
export function isFull(error: unknown): boolean {
  const {code} = error as {code?: unknown}
  return code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || code === 'ENOSPC'
}

/** What is not SQLite's or the system's is a defect and stays as it is. */
export function explain(name: string, error: unknown): unknown {
  if (error instanceof JobqError) return error
  const {code, message} = error as {code?: string; message: string}
  const cause = error
  if (typeof code !== 'string') return error
  if (isBusy(error)) return lockedError(name, cause)
  if (code === 'MODULE_NOT_FOUND')
    return new StoreError('UNREACHABLE', `can't open ${name} (${message.split('\n', 1)[0]})`, {
      hint: 'install better-sqlite3 beside this program; leave jobq out of a bundle: esbuild --external:jobq',
      cause,
    })
  if (code === 'SQLITE_NOTADB')
    return new StoreError('DAMAGED', `expected a SQLite database, got something else: ${name}`, {
      hint: 'check --db; the file was not changed',
      cause,
    })
  if (code.startsWith('SQLITE_CORRUPT'))
    return new StoreError('DAMAGED', `${name} is damaged (${message})`, {
      hint: 'restore it from a backup, or save what can be read: sqlite3 FILE .recover',
      cause,
    })
  if (isFull(error))
    return new StoreError('FULL', `no room left on the file system of ${name}; nothing was stored`, {
      hint: 'free some space and try again',
      cause,
    })
  if (code.startsWith('SQLITE_READONLY') || code === 'EROFS')
    return new StoreError('READ_ONLY', `${name} can only be read (${message})`, {
      hint: 'give this user write permission to the file and its folder',
      cause,
    })
  if (code.startsWith('SQLITE_CANTOPEN') && hasNoInode(name))
    return new StoreError(
      'FULL',
      `no room for one more file on the file system of ${name}; nothing was stored`,
      {
        hint: 'it has no inode left (df -i): delete some files and try again',
        cause,
      },
    )
  if (code.startsWith('SQLITE_CANTOPEN') && hasNoDescriptor())
    return new StoreError('UNREACHABLE', `can't open ${name} (too many open files)`, {
      hint: "check this user's limit: ulimit -n",
      cause,
    })
  if (code.startsWith('SQLITE_CANTOPEN') || /^E[A-Z]+$/.test(code))
    return new StoreError('UNREACHABLE', `can't open ${name} (${message})`, {
      hint: 'check that this user may read and write the file and its folder',
      cause,
    })
  if (code === 'SQLITE_NOMEM')
    return new StoreError('DATABASE', `${name}: ${message}; nothing was stored`, {
      hint: shortageHint(error),
      cause,
    })
  if (code.startsWith('SQLITE_')) return new StoreError('DATABASE', `${name}: ${message} (${code})`, {cause})
  return error
}

/** SQLite says nothing of why it could not open a file. Some file systems count no inodes. */
function hasNoInode(name: string): boolean {
  try {
    const {files, ffree} = statfsSync(dirname(name))
    return files > 0 && ffree === 0
  } catch {
    return false
  }
}

function hasNoDescriptor(): boolean {
  try {
    closeSync(openSync('/dev/null', 'r'))
    return false
  } catch (error) {
    return /^E[MN]FILE$/.test((error as NodeJS.ErrnoException).code ?? '')
  }
}

function lockedError(name: string, cause?: unknown): StoreError {
  return new StoreError('LOCKED', `${name} stayed locked by another process`, {
    hint: 'some process holds a transaction open; find it (`fuser` names it) and try again',
    cause,
  })
}
