import {constants, setPriority} from 'node:os'
import {defineWorker} from 'jobq'
import sharp from 'sharp'
import type {Crop} from '../functions.ts'

sharp.concurrency(1) // a child works one job; the others have the other cores
setPriority(constants.priority.PRIORITY_LOW) // whoever waits for an answer comes first

/** Cuts the square out of a picture's centre. */
export default defineWorker<Crop>({
  async work({arg: {from, to, side}}) {
    await sharp(from).resize({width: side, height: side, fit: 'cover'}).toFile(to)
  },
})
