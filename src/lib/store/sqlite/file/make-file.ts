/**
 * Makes a database's file and its folder, for the user's eyes only. Where a symbolic link leads to a file that is not
 * there yet, that file is made: O_EXCL, which keeps two makers apart, follows no link by itself.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs'
import {dirname, resolve} from 'node:path'
import {StoreError} from '../../../jobs/errors.ts'

export function makeFile(path: string, makeFolder: boolean): void {
  if (existsSync(path)) {
    const found = statSync(path)
    if (found.isDirectory())
      throw new StoreError('UNREACHABLE', `expected a SQLite file, got a folder: ${path}`, {
        hint: `name a file in it, such as --db ${path.replace(/\/$/, '')}/jobq.db`,
      })
    if (!found.isFile())
      throw new StoreError(
        'UNREACHABLE',
        `expected a SQLite file, got a device, a pipe or a socket: ${path}`,
        {
          hint: 'check --db',
        },
      )
    return
  }
  const target = targetOf(path)
  const folder = dirname(target)
  if (!existsSync(folder)) {
    if (!makeFolder) throw noFolderOf(path, target)
    makeFolders(folder)
  }
  try {
    closeSync(openSync(target, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // another process was faster
  }
}

/** One after the other: where none can be made, as in /proc, Node's own mkdir -p tries for ever. */
function makeFolders(folder: string): void {
  const above = dirname(folder)
  if (!existsSync(above)) makeFolders(above)
  try {
    mkdirSync(folder, 0o700)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  syncNames(above)
}

/** A power cut must not take the new folder away, and with it every job: SQLite syncs only what is in that. */
function syncNames(folder: string): void {
  try {
    const fd = openSync(folder, 'r')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  } catch {
    // This user may not read it, or its file system has no such thing
  }
}

/** @throws StoreError where the file is not there and has no folder to be made in */
export function checkFolder(path: string): void {
  const target = targetOf(path)
  if (!existsSync(dirname(target))) throw noFolderOf(path, target)
}

/** Sticky, and everyone may write. */
const EVERYBODYS = 0o1002
/** As many as Linux follows. */
const MAX_LINKS = 40

/** Where the file is to be made: the path itself, or where its links lead to. @throws StoreError */
function targetOf(path: string): string {
  let target = path
  for (let links = 0; links <= MAX_LINKS; links++) {
    const link = linkAt(target)
    if (link === null) return target
    refuseStrangers(target)
    const folder = realpathSync(dirname(target)) // `..` in a link is that of the folder itself
    target = resolve(folder, link)
  }
  throw new StoreError('UNREACHABLE', `expected a SQLite file, got a link that leads in a circle: ${path}`, {
    hint: 'remove the link, or check --db',
  })
}

/**
 * A file is made where a link leads to only if the link is this user's, or of whoever the folder belongs to: in a folder
 * such as /tmp anyone could say where. Linux keeps to that rule (protected_symlinks) for who follows the link, and not for
 * who reads it, as is done here.
 * @throws StoreError
 */
function refuseStrangers(link: string): void {
  const [folder, {uid}] = [statSync(dirname(link)), lstatSync(link)]
  const isEverybodys = (folder.mode & EVERYBODYS) === EVERYBODYS
  if (!isEverybodys || uid === process.geteuid?.() || uid === folder.uid) return
  throw new StoreError('UNSAFE', `${link} is a link that user ${uid} has put into a folder of everybody's`, {
    hint: 'no file is made where it leads to: keep the database in a folder of your own',
  })
}

/** Null where there is no link. */
function linkAt(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null // a file of another kind, or none
  }
}

function noFolderOf(path: string, target: string): StoreError {
  const folder = dirname(target)
  const whose = target === path ? 'the database' : `${target}, where the link ${path} leads to`
  return new StoreError('UNREACHABLE', `expected a folder for ${whose}, but ${folder} does not exist`, {
    hint: `make it (mkdir -p ${folder}) or check --db`,
  })
}
