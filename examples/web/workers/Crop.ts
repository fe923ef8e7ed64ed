import {writeFile} from 'node:fs/promises'
import {constants, setPriority} from 'node:os'
import {defineWorker} from 'jobq'
import sharp from 'sharp'
import type {Crop} from '../functions.ts'

sharp.concurrency(1) // a child works one job; the others have the other cores
setPriority(constants.priority.PRIORITY_LOW) // whoever waits for an answer comes first

/** Cuts the square out of a picture's centre. */
export default defineWorker<Crop>({
  async work(job) {
    const {from, to, side} = job.arg
    const square = await sharp(from).resize({width: side, height: side, fit: 'cover'}).jpeg().toBuffer()
    job.progress(0.8, 'cut') // the page has a bar
    await writeFile(to, square)
  },
})
