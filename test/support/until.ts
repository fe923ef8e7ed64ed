import assert from 'node:assert/strict'
import {setTimeout as sleep} from 'node:timers/promises'
import {patient} from './random.ts'

/** Waits until something is so, looking again and again; the deadline is for what will never be so, or never tells. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  deadlineMs = patient(20_000),
): Promise<void> {
  let isOver = false
  const look = async () => {
    while (!isOver && !(await isSo())) await sleep(5)
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
