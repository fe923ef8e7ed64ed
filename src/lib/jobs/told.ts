/**
 * What is told of a job's output while it runs, a piece at a time: before its bytes a line says of which run it is, and
 * which piece of that, so that who reads it knows when one is missing, is there twice, or a new run has begun.
 */
export interface Piece {
  run: string
  nth: number
  bytes: Uint8Array
}

const NEWLINE = 10

export function framed({run, nth, bytes}: Piece): Uint8Array {
  return Buffer.concat([Buffer.from(`${run} ${nth}\n`), bytes])
}

export function unframed(bytes: Uint8Array): Piece {
  const end = bytes.indexOf(NEWLINE)
  const [run = '', nth] = Buffer.from(bytes.subarray(0, end)).toString('latin1').split(' ')
  return {run, nth: Number(nth), bytes: bytes.subarray(end + 1)}
}
