/** What a form asks for, as a plan: the same calls of the queue that the commands make. */
import type {CancelChoice, CancelOutcome} from '../../client/cancel.ts'
import {portions} from '../../client/portions.ts'
import type {JobQueue} from '../../client/queue.ts'
import type {RetryOutcome} from '../../client/retry.ts'
import {EXIT, JobqError, StillTriedError, UsageError} from '../../jobs/errors.ts'
import {idOf, type JobState, type ListedJob, type RowRef, rowRef} from '../../jobs/job.ts'
import {checkFunc, parseRef, parseWhole} from '../../jobs/names.ts'
import {exceptionsOf, type Filters, filtersOf, fitsJob, fitsRetry, jobsOf} from '../filters.ts'
import {ofGroup} from '../groups.ts'
import {messageOf} from '../refusal.ts'
import type {Site} from '../site.ts'
import type {Plan, Step} from './runs.ts'

type Steps = Plan['steps']

/** So many at a time are looked for, and then done. */
const PORTION = 500

/** @throws UsageError for what is no action */
export async function planOf(site: Site, form: URLSearchParams): Promise<Plan> {
  const what = form.get('do') ?? ''
  const plan = Object.hasOwn(PLANS, what) ? PLANS[what as keyof typeof PLANS] : undefined
  if (!plan)
    throw new UsageError(`do: expected one of ${Object.keys(PLANS).join(', ')}, got ${JSON.stringify(what)}`)
  return plan(site, form)
}

const PLANS = {cancel, priority, retry, pause, resume, run: runSchedule}

async function cancel(site: Site, form: URLSearchParams): Promise<Plan> {
  const {queue} = site
  const jobs = refsIn(form, 'job')
  const cancelled =
    (choice: CancelChoice): Steps =>
    signal =>
      cancels(queue, choice, signal)
  if (jobs) return named('cancel', 'job', jobs, cancelled({jobs}))
  const filters = allOf(form, 'jobs')
  const {func, uniqkey, state, q, since} = filters
  // The store itself knows how to meet each of them once, whatever becomes of them meanwhile
  if (!q && !since) {
    const its = state ? {state: state as JobState} : {}
    const choice =
      func || uniqkey
        ? {func: func || undefined, uniqkey: uniqkey || undefined, ...its}
        : {all: true as const, ...its}
    return many('cancel', filters, cancelled(choice))
  }
  return many('cancel', filters, async function* (signal) {
    for await (const jobs of portions(chosenJobs(site, filters), PORTION)) {
      yield* cancels(queue, {jobs: jobs.map(rowRef)}, signal)
      if (signal.aborted) return
    }
  })
}

async function* cancels(queue: JobQueue, choice: CancelChoice, signal: AbortSignal): AsyncGenerator<Step> {
  const isNamed = 'jobs' in choice
  for await (const outcome of queue.cancelMany(choice, {signal})) yield cancelStep(outcome, isNamed)
}

function cancelStep(outcome: CancelOutcome, isNamed: boolean): Step {
  if (outcome.refused) return {refused: messageOf(outcome.refused)}
  const id = isNamed ? idOf(outcome.job) : ''
  return {done: outcome.result === 'stopping' ? `Job ${id} was told to stop.` : `Job ${id} is cancelled.`}
}

async function priority(site: Site, form: URLSearchParams): Promise<Plan> {
  const priority = parseWhole(form.get('priority')?.trim() ?? '', 'priority')
  const {queue} = site
  const edit = (ref: RowRef) =>
    orRefused(async () => {
      await queue.edit(ref, {priority})
      return `Job ${idOf(ref)} has priority ${priority}.`
    })
  const what = `priority ${priority} for`
  const jobs = refsIn(form, 'job')
  if (jobs)
    return named(what, 'job', jobs, async function* () {
      for (const ref of jobs) yield await edit(ref)
    })
  const filters = allOf(form, 'jobs')
  return many(what, filters, async function* () {
    // One that is behind its old place now is met again
    for await (const jobs of portions(chosenJobs(site, filters), PORTION))
      for (const job of jobs)
        if (job.state !== 'running' && job.priority !== priority) yield await edit(rowRef(job))
  })
}

async function retry(site: Site, form: URLSearchParams): Promise<Plan> {
  const {queue} = site
  const ids = refsIn(form, 'exception')
  if (ids) return named('retry', 'exception', ids, () => retries(queue.retryMany({ids})))
  const jobs = refsIn(form, 'job')
  if (jobs) return named('retry', 'job', jobs, () => retries(queue.retryMany({jobs})))
  const filters = allOf(form, 'exceptions')
  const {func, group, q, since, uniqkey} = filters
  if (!group && !q && !since && !uniqkey)
    return many('retry', filters, () => retries(given(queue.retryMany({func: func || undefined}))))
  const steps: Steps = async function* (signal) {
    const found =
      group && func && !q && !since && !uniqkey
        ? ofGroup(queue, func, group)
        : chosenExceptions(site, filters)
    for await (const rows of portions(found, PORTION)) {
      yield* retries(queue.retryMany({ids: rows.map(rowRef)}))
      if (signal.aborted) return
    }
  }
  return many('retry', filters, steps, await lineOf(site, group))
}

/** What is tried again by itself was not asked for. */
async function* given(outcomes: AsyncIterable<RetryOutcome>): AsyncGenerator<RetryOutcome> {
  for await (const outcome of outcomes) if (!(outcome.refused instanceof StillTriedError)) yield outcome
}

async function* retries(outcomes: AsyncIterable<RetryOutcome>): AsyncGenerator<Step> {
  for await (const outcome of outcomes) {
    if (outcome.refused) yield {refused: messageOf(outcome.refused)}
    else yield {done: outcome.job ? `Retried as job ${idOf(outcome.job)}.` : ''}
  }
}

async function pause({queue}: Site, form: URLSearchParams): Promise<Plan> {
  const funcs = funcsIn(form)
  const names = funcs?.join(', ')
  return one(
    `pause ${names ?? 'everything'}`,
    async () => {
      await queue.pause(funcs)
      return `${names ?? 'Everything'} ${areOrIs(funcs)} paused.`
    },
    false,
  )
}

async function resume({queue}: Site, form: URLSearchParams): Promise<Plan> {
  const funcs = funcsIn(form)
  const names = funcs?.join(', ')
  return one(
    `resume ${names ?? 'everything'}`,
    async () => {
      const resumed = await queue.resume(funcs)
      if (resumed.length === 0)
        return `${names ?? 'Nothing'} ${areOrIs(funcs) === 'are' ? 'were' : 'was'} not paused.`
      return (await queue.paused()).includes('')
        ? `${names} ${areOrIs(funcs)} resumed, but everything is paused.`
        : `${names ?? 'Everything'} ${areOrIs(funcs)} resumed.`
    },
    false,
  )
}

/** @returns undefined for everything. @throws UsageError */
function funcsIn(form: URLSearchParams): string[] | undefined {
  const funcs = form.getAll('func')
  if (form.get('everything') !== '1')
    return (funcs.length > 0 ? funcs : ['']).map(func => checkFunc(func, 'func'))
  if (funcs.length > 0) throw new UsageError('expected func or everything, got both')
  return undefined
}

async function runSchedule({queue}: Site, form: URLSearchParams): Promise<Plan> {
  const name = form.get('schedule') ?? ''
  return one(
    `run schedule ${name}`,
    async () => `Job ${idOf(await queue.runSchedule(name))} is enqueued.`,
    true,
  )
}

function areOrIs(funcs: readonly string[] | undefined): string {
  return (funcs?.length ?? 1) > 1 ? 'are' : 'is'
}

// ---- which ones

/** Those that are named; undefined: none. @throws UsageError */
function refsIn(form: URLSearchParams, name: 'job' | 'exception'): RowRef[] | undefined {
  const refs = form.getAll(name).map(text => parseRef(text, name))
  if (refs.length > 0 && form.get('all'))
    throw new UsageError(`expected some ${name}s, or all that match, got both`, {
      hint: 'untick them, or leave all out',
    })
  return refs.length > 0 ? refs : undefined
}

/** What a form says besides what it is about. */
export const FIELDS = ['do', 'all', 'confirm', 'priority', 'back']

/** All that match. It has to be said: what was forgotten, or misspelt, must not be all. @throws UsageError */
function allOf(form: URLSearchParams, what: 'jobs' | 'exceptions'): Filters {
  if (form.get('all') !== what)
    throw new UsageError('expected some to be chosen, got none', {hint: 'tick them, or take all that match'})
  return {...filtersOf(form, what, FIELDS), all: ''}
}

async function* chosenJobs(site: Site, filters: Filters): AsyncGenerator<ListedJob> {
  const fits = fitsJob(filters)
  for await (const job of jobsOf(site, filters)) if (fits(job)) yield job
}

async function* chosenExceptions(site: Site, filters: Filters): AsyncGenerator<RowRef> {
  const fits = fitsRetry(filters)
  for await (const row of exceptionsOf(site, filters)) if (fits(row)) yield rowRef(row)
}

// ---- plans

/** @param isOfJobs false: it is done to none */
function one(what: string, act: () => Promise<string>, isOfJobs: boolean): Plan {
  return {
    what,
    isMany: false,
    isOfJobs,
    total: null,
    async *steps() {
      yield await orRefused(act)
    },
  }
}

function named(what: string, kind: string, refs: readonly RowRef[], steps: Steps): Plan {
  const isMany = refs.length > 1
  const which = isMany ? `${refs.length} ${kind}s: ${refs.map(idOf).join(', ')}` : `${kind} ${idOf(refs[0]!)}`
  return {what: `${what} ${which}`, isMany, isOfJobs: true, total: {jobs: refs.length, isMore: false}, steps}
}

function many(what: string, filters: Filters, steps: Steps, alike = ''): Plan {
  const said = Object.entries({...filters, group: alike}).flatMap(([name, value]) =>
    value === '' ? [] : [`${WORDS[name] ?? name} ${value}`],
  )
  return {what: `${what} ${said.join(', ') || 'all'}`, isMany: true, isOfJobs: true, total: null, steps}
}

const WORDS: Readonly<Record<string, string>> = {q: 'with', group: 'like'}

/** The line of a group; of one that is not known any more, its id. */
async function lineOf({facts}: Site, id: string): Promise<string> {
  if (id === '') return ''
  const {groups} = await facts.groups.get()
  return groups.find(group => group.id === id)?.message ?? id
}

async function orRefused(act: () => Promise<string>): Promise<Step> {
  try {
    return {done: await act()}
  } catch (error) {
    if (error instanceof JobqError && REFUSALS.includes(error.exitCode)) return {refused: messageOf(error)}
    throw error
  }
}

/** The others are done all the same. */
const REFUSALS: readonly number[] = [EXIT.refused, EXIT.notFound]
