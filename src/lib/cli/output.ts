/**
 * Standard output: whether a person looks at it; and for much of it: in blocks, at the reader's pace, and noticing when the
 * reader has gone.
 */
import {once} from 'node:events'
import {fstatSync} from 'node:fs'
import {say} from './output-guard.ts'

const STDOUT = 1
const BLOCK = 1 << 16

/** Node's streams, which take 3 ms to load, are asked only where it can be one: a file or a pipe is none. */
export function isTerminal(): boolean {
  return fstatSync(STDOUT).isCharacterDevice() && process.stdout.isTTY
}

export function columns(): number {
  return process.stdout.columns || 80
}

/**
 * Keeps no more than a block; what is less than one comes out only if all went well, and without Node's streams, which a
 * short listing need not load.
 */
export async function writeAll(pieces: AsyncIterable<string>): Promise<void> {
  let block = ''
  let isShort = true
  for await (const piece of pieces) {
    block += piece
    if (block.length < BLOCK) continue
    isShort = false
    await sayAtPace(block)
    block = ''
  }
  if (isShort) say(block)
  else await sayAtPace(block)
}

/** At the reader's pace, where there is more to be done meanwhile. */
export async function sayAtPace(text: string): Promise<void> {
  if (text === '') return
  if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  await nextTurn() // a broken pipe and a signal are told in a turn of the event loop, which nothing else here needs
}

/** As node:timers/promises has it, which takes a millisecond to load. */
export function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
