/**
 * `jobq pause`, and what `jobq resume` has in common with it: which functions are meant, and a word about those that
 * nobody knows.
 */

import type {JobQueue} from '../../client/queue.ts'
import {noSuchFunc} from '../../client/reads.ts'
import {UsageError} from '../../jobs/errors.ts'
import {checkFunc} from '../../jobs/names.ts'
import {oneLine} from '../../render/text.ts'
import {withQueueOf} from '../command-queue.ts'
import {complain, printer} from '../output-guard.ts'
import type {QueueFlags} from '../settings.ts'

export interface PauseFlags extends QueueFlags {
  func?: string[] | undefined
  all?: boolean | undefined
  json?: boolean | undefined
}

export async function run(flags: PauseFlags): Promise<{paused: string[]}> {
  const funcs = funcsOrAll('pause', flags)
  return withQueueOf(flags, async queue => {
    await queue.pause(funcs)
    await complainOfUnseen(queue, funcs)
    const paused = await queue.paused()
    printer(flags.json)(`paused: ${paused.map(fieldOf).join(', ')}`)
    return {paused}
  })
}

/** @returns undefined for all. @throws UsageError */
export function funcsOrAll(id: 'pause' | 'resume', {func: funcs = [], all = false}: PauseFlags) {
  if (all !== funcs.length > 0) return all ? undefined : funcs.map(func => checkFunc(func, 'FUNC'))
  throw new UsageError(`expected functions or --all, got ${all ? 'both' : 'neither'}`, {
    hint: `\`jobq ${id} Notify\` is for one function, \`jobq ${id} --all\` for everything on every host`,
  })
}

/** A misspelt name is no error, since a function may be paused before its first job; but it should be seen. */
export async function complainOfUnseen(queue: JobQueue, funcs: readonly string[] = []): Promise<void> {
  const known = await queue.funcs()
  for (const func of funcs.filter(func => !known.includes(func))) {
    const {message, hint} = noSuchFunc(func, known)
    complain(`jobq: ${message} (${hint})`)
  }
}

/** A function as a line shows it. */
export function fieldOf(func: string): string {
  return oneLine(func) || 'everything'
}
