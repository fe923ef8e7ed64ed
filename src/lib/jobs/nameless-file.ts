/**
 * A file without a name: gone from its folder as soon as it is open. What is in it is no one else's business, and nothing
 * of it stays behind, whatever becomes of this process.
 */
import {closeSync, openSync, unlinkSync} from 'node:fs'
import {join} from 'node:path'

/** @returns descriptors of its own for each, both at its start. @throws the system's errors */
export function openNameless(folder: string): {reading: number; writing: number} {
  const path = join(folder, `jobq-${process.pid}-${Math.random().toString(36).slice(2)}`)
  const writing = openSync(path, 'wx', 0o600)
  try {
    return {reading: openSync(path, 'r'), writing}
  } catch (error) {
    closeSync(writing)
    throw error
  } finally {
    unlinkSync(path)
  }
}
