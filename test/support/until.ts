import assert from 'node:assert/strict'
import {setTimeout as sleep} from 'node:timers/promises'
import {patient} from './random.ts'

/** What is long in coming is looked at less often: a look may cost a statement, or a page. */
const MAX_PAUSE_MS = 50

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
    for (
      let pauseMs = 5;
      !(await Promise.race([isSo(), never]));
      pauseMs = Math.min(pauseMs * 1.1, MAX_PAUSE_MS)
    )
      await sleep(pauseMs)
  } finally {
    clearTimeout(giveUp)
  }
}
