/** Which path is what. */
import {act, isBelow, noRun, runDocument} from './actions/actions.ts'
import {enqueue} from './enqueue.ts'
import {find} from './find.ts'
import {live, output} from './live.ts'
import {progress} from './pages/confirm.ts'
import {exceptions, failures} from './pages/failures.ts'
import {finished} from './pages/finished.ts'
import {job} from './pages/job.ts'
import {jobs} from './pages/jobs.ts'
import {log, pauses, schedules} from './pages/lists.ts'
import {overview} from './pages/overview.ts'
import {workers} from './pages/workers.ts'
import {Refusal} from './refusal.ts'
import type {Asked, Site, View} from './site.ts'

type Route = (site: Site, asked: Asked) => Response | View | Promise<Response | View>

/** `:` stands for one part of a path. */
const ROUTES: Record<string, Partial<Record<'GET' | 'POST', Route>>> = {
  '/': {GET: overview},
  '/jobs': {GET: jobs, POST: enqueue},
  '/jobs/:': {GET: job},
  '/jobs/:/output': {GET: output},
  '/failures': {GET: failures},
  '/exceptions': {GET: exceptions},
  '/finished': {GET: finished},
  '/workers': {GET: workers},
  '/schedules': {GET: schedules},
  '/pauses': {GET: pauses},
  '/log': {GET: log},
  '/find': {GET: find},
  '/live': {GET: live},
  '/runs/:': {GET: run},
  '/actions': {POST: act},
}
const PATTERNS = Object.entries(ROUTES).map(([path, methods]) => ({parts: path.split('/'), methods}))

/** @returns the route and what stands in its variable parts. @throws Refusal if there is none */
export function routeOf(method: string, path: string): {route: Route; params: string[]} {
  const parts = decoded(path)
  const found = PATTERNS.find(
    pattern =>
      pattern.parts.length === parts.length &&
      pattern.parts.every((part, i) => part === ':' || part === parts[i]),
  )
  if (!found) throw new Refusal(404, 'NOT_FOUND', 'there is no such page')
  const route = found.methods[method as 'GET' | 'POST']
  if (!route) {
    const allow = Object.keys(found.methods).join(', ')
    throw new Refusal(405, 'WRONG_METHOD', `expected ${allow}, got ${method}`, {headers: {allow}})
  }
  return {route, params: parts.filter((_, i) => found.parts[i] === ':')}
}

/** @throws Refusal */
function decoded(path: string): string[] {
  try {
    return path.split('/').map(decodeURIComponent)
  } catch {
    throw new Refusal(400, 'WRONG_PATH', 'expected a path in UTF-8')
  }
}

/** How far an action has come. */
function run(site: Site, {params, query}: Asked): View {
  const run = site.runs.get(params[0]!)
  if (!run) throw noRun()
  const back = query.get('back') ?? '/'
  return progress(site, run, runDocument(run), isBelow(back) ? back : '/')
}
