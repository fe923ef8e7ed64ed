import assert from 'node:assert/strict'
import {setTimeout as sleep} from 'node:timers/promises'
import {patient} from './random.ts'

/** Waits until something is so, looking again and again; the deadline is for what will never be so. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  deadlineMs = patient(20_000),
): Promise<void> {
  const giveUpAt = performance.now() + deadlineMs
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) assert.fail(`waited ${deadlineMs} ms in vain until ${what}`)
    await sleep(5)
  }
}
