import {defineWorker} from 'jobq'
import sharp from 'sharp'

interface Thumbnail {
  from: string
  to: string
  width: number
}

/** Makes a picture smaller. */
export default defineWorker<Thumbnail>({
  setJobStatus: true,
  async work({arg: {from, to, width}}) {
    const made = await sharp(from).resize({width}).toFile(to)
    console.log(`${made.width}x${made.height}`)
  },
})
