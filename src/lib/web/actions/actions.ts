/**
 * What changes something. An action on more than one job is asked for twice; it runs on by itself, and its page tells how far
 * it has come. The answer to a form is always another page, so that going back sends nothing again.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {json, redirect, wantsJson} from '../answers.ts'
import {formOf} from '../bodies.ts'
import {confirmation} from '../pages/confirm.ts'
import {Refusal} from '../refusal.ts'
import type {Asked, Site, View} from '../site.ts'
import {countUpToMost} from './counting.ts'
import {planOf} from './plans.ts'
import type {Run} from './runs.ts'

/** What takes no longer is told on the page that it was asked from. */
const QUICK_MS = 1000

export async function act(site: Site, asked: Asked): Promise<Response | View> {
  const form = await formOf(asked.request)
  const back = backOf(form)
  const run = form.get('stop')
  if (run !== null) return stopped(site, run)
  const plan = await planOf(site, form)
  if (plan.isMany && form.get('confirm') !== '1')
    return confirmation(site, plan, form, back, await countUpToMost(site, form))
  const begun = await site.runs.start(plan, asked.who)
  await Promise.race([begun.ended, sleep(QUICK_MS, undefined, {ref: false})])
  if (wantsJson(asked.request)) return json(runDocument(begun), begun.state === 'running' ? 202 : 200)
  if (begun.state === 'running') return redirect(site, `/runs/${begun.id}?back=${encodeURIComponent(back)}`)
  return redirect(site, withRun(back, begun))
}

function stopped(site: Site, id: string): Response {
  const run = site.runs.get(id)
  if (!run) throw noRun()
  run.stop.abort()
  return redirect(site, `/runs/${run.id}`)
}

export function noRun(): Refusal {
  return new Refusal(404, 'NOT_FOUND', 'no such action is known here', {
    hint: 'the last ones are remembered until the server ends; the log keeps them all',
  })
}

export function runDocument({id, what, state, done, refused, refusals, failure}: Run) {
  return {id, what, state, done, refused, refusals, ...(failure ? {failure} : {})}
}

/** Where the form was, below the base path: never elsewhere. */
function backOf(form: URLSearchParams): string {
  const back = form.get('back') ?? ''
  return isBelow(back) ? back : '/'
}

/** A path of ours, with a query or without: `//host` and `/\host` would lead elsewhere. */
export function isBelow(path: string): boolean {
  return /^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(path)
}

/** The page that is come back to tells what was done. */
function withRun(back: string, {id}: Run): string {
  const url = new URL(back, 'http://x')
  url.searchParams.set('run', id)
  return `${url.pathname}${url.search}`
}
