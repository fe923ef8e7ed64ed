/** Standard output for much of it: in blocks, at the reader's pace, and noticing when the reader has gone. */
import {once} from 'node:events'
import {setImmediate as nextTurn} from 'node:timers/promises'

const BLOCK = 1 << 16

/** Keeps no more than a block; what is less than one comes out only if all went well. */
export async function writeAll(pieces: AsyncIterable<string>): Promise<void> {
  let block = ''
  for await (const piece of pieces) {
    block += piece
    if (block.length < BLOCK) continue
    await write(block)
    block = ''
  }
  await write(block)
}

async function write(text: string): Promise<void> {
  if (text === '') return
  if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  await nextTurn() // a broken pipe and a signal are told in a turn of the event loop, which nothing else here needs
}
