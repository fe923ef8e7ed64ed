/** The thread that makes a long -wal short again (sqlite-long-wal.ts): it ends when that is done, or when it is told to. */
import {parentPort, workerData} from 'node:worker_threads'
import {connectTo} from '../connection.ts'
import type {FilePlace} from '../file/known-file.ts'
import type {Held} from './long-wal.ts'

const PAUSE_MS = 500
/** So many tries that move nothing, and so many pages that wait: who reads for less does not count. */
const TRIES = 4
const MANY_PAGES = 1000

type Wal = [isBusy: number, pages: number, moved: number]

const db = connectTo(workerData as FilePlace)
const checkpoint = (mode: string) => db.prepare(`PRAGMA wal_checkpoint(${mode})`).raw().get() as Wal
let movedBefore = -1
let inVain = 0
let timer: NodeJS.Timeout | undefined

parentPort!.on('message', end)
shorten()

function shorten(): void {
  // Moving takes no lock that others want; cutting does, but nearly nothing is left to be moved by then
  const [, pages, moved] = checkpoint('PASSIVE')
  if (pages === moved && checkpoint('TRUNCATE')[0] === 0) {
    end()
    return
  }
  inVain = moved === movedBefore && pages - moved > MANY_PAGES ? inVain + 1 : 0
  movedBefore = moved
  if (inVain === TRIES) parentPort!.postMessage('held' satisfies Held)
  timer = setTimeout(shorten, PAUSE_MS)
}

function end(): void {
  clearTimeout(timer)
  db.close()
  parentPort!.close()
}
