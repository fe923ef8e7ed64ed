/**
 * What is kept of a job: its context, and how long its result, as it was asked for with the job. That travels in the context,
 * which comes along wherever the job is taken. So whoever runs it knows, and a job whose result nobody keeps costs nothing.
 */
import type {NewJob, TakenJob} from '../job.ts'
import {durationOf} from '../time.ts'

/** Names in a context that begin so are jobq's own. */
export const OWN_CONTEXT = 'jobq.'
const KEEP_RESULT = `${OWN_CONTEXT}keep-result`

type Context = Readonly<Record<string, string>>

/** As options say it: keepResult in seconds, or a duration. */
interface Kept {
  context?: Context | undefined
  tracked?: boolean | undefined
  keepResult?: unknown
}

/** What is kept of a job. A result that is kept is one that someone will wait for. @param what is keepResult, for the message. @throws UsageError */
export function keptOf(
  {context = {}, tracked = false, keepResult}: Kept,
  what: string,
): Pick<NewJob, 'context' | 'tracked'> {
  const seconds = keepResult === undefined ? undefined : durationOf(keepResult, what)
  const all = seconds === undefined ? context : {...context, [KEEP_RESULT]: String(seconds)}
  return {
    ...(Object.keys(all).length > 0 ? {context: JSON.stringify(all)} : {}),
    ...(tracked || seconds !== undefined ? {tracked: true} : {}),
  }
}

/**
 * The context of a job that is given another one while it waits: what jobq keeps there stays, unless it is given anew; so does the
 * application's where only jobq's is given.
 */
export function contextInstead(before: string | undefined, given: string): string {
  if (before === undefined) return given
  const [old, now] = [JSON.parse(before), JSON.parse(given)] as [Context, Context]
  const isOwn = (name: string) => name.startsWith(OWN_CONTEXT)
  const stays = Object.keys(now).every(isOwn) ? () => true : isOwn
  return JSON.stringify({...Object.fromEntries(Object.entries(old).filter(([name]) => stays(name))), ...now})
}

/** How long the result of a job is to be kept, as it was asked for with the job: in seconds; undefined: it was not. */
export function keepResultOf(context: string | undefined): number | undefined {
  if (!context?.includes(KEEP_RESULT)) return undefined
  const seconds = Number((JSON.parse(context) as Context)[KEEP_RESULT])
  return seconds > 0 ? seconds : undefined
}

/** Is the result of a run to be kept, as one of its jobs says? */
export function keepsResult({context, others}: Pick<TakenJob, 'context' | 'others'>): boolean {
  return keepResultOf(context) !== undefined || (others?.some(keepsResult) ?? false)
}

/** What the application has given of a context. */
export function givenContext(context: string): Context {
  const all = JSON.parse(context) as Context
  if (!context.includes(OWN_CONTEXT)) return all
  return Object.fromEntries(Object.entries(all).filter(([name]) => !name.startsWith(OWN_CONTEXT)))
}
