import {defineWorker} from 'jobq'
import sharp from 'sharp'

interface Crop {
  from: string
  to: string
  /** Pixels on each side. */
  side: number
}

/** Cuts the square out of a picture's centre. */
export default defineWorker<Crop>({
  setJobStatus: true,
  async work({arg: {from, to, side}}) {
    const picture = sharp(from)
    const {width, height} = await picture.metadata()
    const left = Math.floor((width - side) / 2)
    const top = Math.floor((height - side) / 2)
    await picture.extract({left, top, width: side, height: side}).toFile(to)
    console.log(`${side}x${side} out of ${width}x${height}`)
  },
})
