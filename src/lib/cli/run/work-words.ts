/** What `jobq work` says of itself: at its start, when it is told to end, and at the end. */

import {relative} from 'node:path'
import type {JobQueue} from '../../client/queue.ts'
import {isPausedIn} from '../../jobs/job.ts'
import {printable} from '../../jobs/printable.ts'
import type {FuncCounts} from '../../jobs/stats.ts'
import type {Handler} from '../../work/handlers.ts'
import type {WorkResult} from '../../work/manager/manager.ts'
import type {WorkStart} from '../../work/manager/options.ts'
import {isTerminal} from '../output.ts'

/** How many functions are named; whoever has more knows them. */
const MAX_NAMED = 8

/** What it works, from where, with what. */
export function startWords({database, handlers, places}: WorkStart): string {
  const with_ = handlers.map(handler => `${handler.func} (${placeOf(handler)})`)
  const most = places === 1 ? 'one job at once' : `${places} jobs at once`
  return `works ${listed(with_)} from ${database}, ${most}`
}

function placeOf(handler: Handler): string {
  const file = handler.kind === 'module' ? handler.file : handler.argv[0]
  if (handler.kind === 'command' && handler.argv.length > 1) return 'a command'
  const here = relative('.', file)
  return here.startsWith('..') ? file : here
}

export function endingWords(signal: NodeJS.Signals, running: number, seconds: number): string {
  const how = signal === 'SIGINT' ? 'Ctrl-C' : signal.slice(3)
  const them = running === 1 ? 'it' : 'them'
  return `finishing ${count(running, 'job')}, for at most ${seconds} s; a second ${how} stops ${them}`
}

/** Under --json. */
export function summaryLine({taken, ...result}: WorkResult): string {
  const fields = {event: 'summary', taken, ...countsOf(result)}
  return `${JSON.stringify({time: new Date().toISOString(), ...fields})}\n`
}

export function summaryWords(result: WorkResult): string {
  const parts = Object.entries(countsOf(result)).filter(([, count]) => count > 0)
  return parts.map(([word, count]) => `${count} ${word}`).join(', ')
}

function countsOf({completed, failed, aborted, released, declined, died, lost}: Omit<WorkResult, 'taken'>) {
  return {completed, failed, aborted, released, declined, died, lost}
}

/** The functions that were worked. */
export interface Worked {
  handled: readonly string[]
  /** Of those the ones with limits. */
  limited: readonly string[]
}

/**
 * What is to be said where nothing was ready to be worked here.
 * @param isChosen the functions were named: the others are left to others on purpose
 * @param isAsked whether something is said in any case
 * @returns null if there was nothing to do and no one looks: cron would mail each line
 */
export async function whyNothing(
  queue: JobQueue,
  worked: Worked,
  isChosen: boolean,
  isAsked: boolean,
): Promise<string | null> {
  const isLookedAt = isTerminal()
  const {held, limited, foreign} = await readyOf(queue, worked)
  const parts: string[] = []
  if (held.length > 0) parts.push(`${jobsOf(held)}, paused`)
  if (limited.length > 0) parts.push(`${jobsOf(limited)}, which may not start now by their limits`)
  if (foreign.length > 0 && (isLookedAt || !isChosen))
    parts.push(`${jobsOf(foreign)}, for which this process has no worker`)
  if (parts.length > 0) return printable(`nothing was ready but ${parts.join('; and ')}`)
  return isAsked || isLookedAt ? 'nothing was ready' : null
}

/** What a drain that has worked something leaves to the next one. @returns null: nothing */
export async function whatIsLeft(queue: JobQueue, worked: Worked): Promise<string | null> {
  const {limited} = await readyOf(queue, worked)
  return limited.length === 0 ? null : printable(`${jobsOf(limited)} may not start now by their limits`)
}

/** Since the last look more may have become ready: of that nothing is known, unless its function has limits. */
async function readyOf(queue: JobQueue, {handled, limited}: Worked) {
  const ready = (await queue.counts()).filter(({ready}) => ready > 0)
  const paused = await queue.paused()
  const isPaused = ({func}: FuncCounts) => isPausedIn(paused, func)
  const own = ready.filter(({func}) => handled.includes(func))
  return {
    held: own.filter(isPaused),
    limited: own.filter(counts => !isPaused(counts) && limited.includes(counts.func)),
    foreign: ready.filter(({func}) => !handled.includes(func)),
  }
}

/** `3 jobs of Notify, Thumbnail` */
function jobsOf(counts: readonly FuncCounts[]): string {
  const sum = counts.reduce((sum, {ready}) => sum + ready, 0)
  return `${count(sum, 'job')} of ${listed(counts.map(({func}) => func))}`
}

function listed(names: readonly string[]): string {
  const more = names.length - MAX_NAMED
  if (more <= 1) return names.join(', ')
  return `${names.slice(0, MAX_NAMED).join(', ')} and ${more} more`
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
