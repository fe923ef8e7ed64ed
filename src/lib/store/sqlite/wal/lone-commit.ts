/**
 * The commit of a process that stores one job and ends, with nobody else on the file. As the first one there it makes the
 * -wal, as the last one it moves all of it into the database and deletes it: five flushes of the disk where SQLite does
 * each for itself, the header of the -wal, its folder, the commit, and for the checkpoint the -wal again and the
 * database. Here three: nobody is told of the job before the checkpoint is through, whose flushes make it durable.
 * Its folder SQLite flushes with the first flush of any -wal, were it as old as the file. Only a checkpoint without
 * flushes, with ours around it, would do without: a kill in it, and then a power cut, would tear the database.
 *
 * To leave the -wal where it is would take one. But SQLite takes any -wal beside a file for that file's: whoever ends all
 * processes and puts a backup in the file's place would get its pages into that.
 */
import {closeSync, fsyncSync, openSync, statSync} from 'node:fs'
import {dirname} from 'node:path'
import type {SqliteConnection} from '../connection.ts'
import {isBusy, isFull} from '../errors.ts'

/** Has nobody been there before? To be asked before the file is opened. */
export function hasNoWal(path: string): boolean {
  return statSync(`${path}-wal`, {throwIfNoEntry: false}) === undefined
}

/**
 * The header need not be on disk before what follows: that is for a -wal that is written again from its beginning, where
 * frames of before would be taken for new ones.
 * @returns null where someone has written there meanwhile, and then nothing was done
 * @throws what `work` throws, StoreError
 */
export async function commitAlone<T extends object>(
  link: SqliteConnection,
  work: () => T,
): Promise<T | null> {
  const {db, place} = link
  const wal = `${place.path}-wal`
  const isNew = () => statSync(wal, {throwIfNoEntry: false})?.size === 0
  const done = await link.patiently(() => {
    db.pragma('synchronous = OFF')
    try {
      return link.transact(() => (isNew() ? work() : null))
    } finally {
      db.pragma('synchronous = FULL')
    }
  })
  if (done === null) return null
  try {
    if (!isMoved(link)) flush(wal)
  } catch (cause) {
    const {mayBeStored} = await import('../../shared/uncertain.ts')
    throw mayBeStored(link.name, 'the job', cause, `${link.name}-wal could not be flushed to the disk`)
  }
  link.ring() // to who has come meanwhile
  return done
}

/** Moves all of it into the database, which is flushed then. Not while someone reads what was before, or moves it himself. */
function isMoved({db}: SqliteConnection): boolean {
  try {
    const [{busy, log, checkpointed}] = db.pragma('wal_checkpoint(PASSIVE)') as [
      {busy: number; log: number; checkpointed: number},
    ]
    return busy === 0 && log > 0 && log === checkpointed
  } catch (error) {
    if (isFull(error) || isBusy(error)) return false // it stays in the -wal
    throw error
  }
}

/** No lock of SQLite's is on the -wal: it may be opened. */
function flush(wal: string): void {
  for (const path of [wal, dirname(wal)]) {
    const fd = openSync(path, 'r')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  }
}
