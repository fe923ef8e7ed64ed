import {constants, setPriority} from 'node:os'
import {defineWorker} from 'jobq'
import sharp from 'sharp'
import type {Thumbnail} from '../functions.ts'

sharp.concurrency(1) // a child works one job; the others have the other cores
setPriority(constants.priority.PRIORITY_LOW) // whoever waits for an answer comes first

/** Makes a picture smaller. */
export default defineWorker<Thumbnail>({
  async work({arg: {from, to, width}}) {
    await sharp(from).resize({width}).toFile(to)
  },
})
