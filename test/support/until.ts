import assert from 'node:assert/strict'
import {setTimeout as sleep} from 'node:timers/promises'
import {patient} from './random.ts'

/** Waits until something is so, looking again and again; the deadline is for what will never be so. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  deadlineMs = patient(20_000),
): Promise<void> {
  let giveUp: NodeJS.Timeout | undefined
  const never = new Promise<never>((_, reject) => {
    const why = new assert.AssertionError({message: `waited ${deadlineMs} ms in vain until ${what}`})
    giveUp = setTimeout(reject, deadlineMs, why)
  })
  try {
    while (!(await Promise.race([isSo(), never]))) await sleep(5)
  } finally {
    clearTimeout(giveUp)
  }
}
