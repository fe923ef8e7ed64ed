/**
 * Noticing what other processes do to a SQLite file: its folder is watched, and the change counter tells a commit from
 * this connection's own writes.
 */
import {realpathSync, watch as watchFolder} from 'node:fs'
import {basename, dirname} from 'node:path'
import {monotonic} from '../../jobs/clock.ts'
import type {SqliteConnection} from './connection.ts'

/** How long after a change of the files its commit may take to show: a slow disk's fsync. */
const COMMIT_MS = 5000
/** How often the change counter is read where the folder can't be watched. */
const POLL_MS = 50
/** A look comes so late at most, as a part of the time that the commit has taken: 40 looks in all, where no commit comes. */
const LATE = 1 / 10
/**
 * Where one commit follows the other (a worker that waits beside others that are busy), this is told no more often: to
 * hear of each would cost more CPU time than to work.
 */
const PAUSE_MS = 1

/**
 * The file itself is never opened or watched: closing any descriptor on it would drop this process's SQLite locks.
 * @param since the change counter whose next change is to be told.
 * @param onBlind told if the folder can't be watched, and why
 * @returns what ends the watch
 */
export function watchFile(
  link: SqliteConnection,
  since: number | null,
  onChange: () => void,
  onBlind: (message: string) => void,
): () => void {
  let version = since
  let timer: NodeJS.Timeout | undefined
  let lookUntil = 0
  let toldAt = 0
  let telling: NodeJS.Timeout | undefined
  const tell = () => {
    telling = undefined
    toldAt = monotonic()
    onChange()
  }
  const stop = () => {
    clearTimeout(timer)
    clearTimeout(telling)
  }
  const look = (pause: number) => {
    clearTimeout(timer)
    if (isLost(() => link.checkFile())) return
    const now = monotonic()
    const most = Math.max(POLL_MS, LATE * (now - (lookUntil - COMMIT_MS)))
    if (now < lookUntil) timer = setTimeout(look, pause, Math.min(pause * 2, most))
    const seen = link.dataVersion()
    if (seen === version && seen !== null) return
    version = seen
    if (telling) return
    if (now - toldAt >= PAUSE_MS) tell()
    else telling = setTimeout(tell, PAUSE_MS)
  }
  /** Is the file another one now? Who is told of a change asks for something, and gets the error. */
  const isLost = (see: () => void) => {
    try {
      see()
      return false
    } catch {
      stop()
      tell()
      return true
    }
  }
  /**
   * A durable commit's last event comes before there is anything to see. jobq touches the -shm file behind it
   * (connection.ts), others don't: so every event starts a series of looks, which no look ends; and so does the
   * beginning, for what was on its way before the watch stood.
   */
  const lookAWhile = () => {
    lookUntil = Math.max(lookUntil, monotonic() + COMMIT_MS)
    look(1)
  }
  const poll = (error: unknown) => {
    onBlind(blindness(link.name, error as NodeJS.ErrnoException))
    lookUntil = Number.POSITIVE_INFINITY
    look(POLL_MS)
  }
  try {
    const real = realpathSync(link.name) // SQLite keeps the -wal beside the file that a symbolic link leads to
    const watcher = watchFolder(dirname(real), (event, changed) => {
      if (event === 'rename' && changed === basename(real) && isLost(() => link.file?.look())) return
      if (changed === null || changed.startsWith(basename(real))) lookAWhile()
    })
    watcher.on('error', poll) // out of inotify watches, say
    lookAWhile()
    return () => {
      watcher.close()
      stop()
    }
  } catch (error) {
    poll(error)
    return stop
  }
}

function blindness(name: string, {code = '', message}: NodeJS.ErrnoException): string {
  const limit = {
    EMFILE: 'fs.inotify.max_user_instances, or ulimit -n',
    ENOSPC: 'fs.inotify.max_user_watches',
  }[code]
  const hint = limit === undefined ? '' : ` (raise ${limit})`
  return `can't watch the folder of ${name} (${message}): it is looked at every ${POLL_MS} ms instead${hint}`
}
