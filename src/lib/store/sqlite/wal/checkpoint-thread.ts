/** The thread that checkpoints (sqlite-checkpoints.ts): told to, it moves what is in the WAL, and answers when it is done. */
import {parentPort, workerData} from 'node:worker_threads'
import {connectTo} from '../connection.ts'
import type {FilePlace} from '../file/known-file.ts'

const db = connectTo(workerData as FilePlace)
const checkpoint = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')

parentPort!.on('message', (order: 'checkpoint' | 'end') => {
  if (order === 'checkpoint') {
    checkpoint.get()
    parentPort!.postMessage('done')
  } else {
    db.close()
    parentPort!.close()
  }
})
