import assert from 'node:assert/strict'
import {setTimeout as sleep} from 'node:timers/promises'
import {patient} from './random.ts'

/** What is long in coming is looked at less often: a look may cost a statement, or a page. */
const MAX_PAUSE_MS = 50

/** Waits until something is so, looking again and again; the deadline is for what will never be so, or never tells. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  deadlineMs = patient(20_000),
): Promise<void> {
  let isOver = false
  const look = async () => {
    for (let pauseMs = 5; !isOver && !(await isSo()); pauseMs = Math.min(pauseMs * 1.1, MAX_PAUSE_MS))
      await sleep(pauseMs)
  }
  try {
    await soon(what, look(), deadlineMs)
  } finally {
    isOver = true
  }
}

/** What comes, if it does before the deadline. */
export async function soon<T>(what: string, coming: Promise<T>, deadlineMs = patient(20_000)): Promise<T> {
  let giveUp: NodeJS.Timeout | undefined
  const never = new Promise<never>((_, reject) => {
    const why = new assert.AssertionError({message: `waited ${deadlineMs} ms in vain until ${what}`})
    giveUp = setTimeout(reject, deadlineMs, why)
  })
  try {
    return await Promise.race([coming, never])
  } finally {
    clearTimeout(giveUp)
  }
}
