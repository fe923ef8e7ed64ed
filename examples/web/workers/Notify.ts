import {appendFile} from 'node:fs/promises'
import {join} from 'node:path'
import {defineWorker} from 'jobq'
import type {Notify} from '../functions.ts'

const folder = process.env.WEB_DATA ?? join(import.meta.dirname, '../data')

/** Where a mail or a push message would be sent, a line is written. */
export default defineWorker<Notify>({
  async work({arg: {message}}) {
    await appendFile(join(folder, 'notified.log'), `${message}\n`)
  },
})
