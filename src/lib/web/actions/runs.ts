/**
 * Actions while they run, and what became of the last ones. Each is kept in the log of actions before it begins, and counted there
 * as it goes on: what is cut short is known, too.
 */
import {randomBytes} from 'node:crypto'
import {setImmediate as nextTurn} from 'node:timers/promises'
import type {JobQueue} from '../../client/queue.ts'
import {monotonic} from '../../jobs/clock.ts'
import {JobqError} from '../../jobs/errors.ts'
import type {RowRef} from '../../jobs/job.ts'
import {printable} from '../../jobs/printable.ts'
import {MAX_ACTION_LENGTH} from '../../jobs/side-tables/actions.ts'
import {messageOf, Refusal} from '../refusal.ts'

/** What is to be done. */
export interface Plan {
  /** For the log: `cancel job 7`. */
  what: string
  /** Does it concern more than one job? Then it is asked for twice. */
  isMany: boolean
  /** Is it done to jobs? A pause is to none. */
  isOfJobs: boolean
  /** How many jobs; null: not known. `isMore`: more than that. */
  total: {jobs: number; isMore: boolean} | null
  /** Does it: a step for each job. */
  steps(signal: AbortSignal): AsyncIterable<Step>
}

/** A job to which it was done, or why it was not. */
export type Step = {done: string} | {refused: string}

/** So many are remembered, and so many run at once. */
const KEPT_RUNS = 100
const MAX_RUNNING = 4
/** So many refusals are told one by one. */
const TOLD_REFUSALS = 10
const COUNT_MS = 2000

export class Run {
  readonly id = randomBytes(12).toString('base64url')
  readonly what: string
  readonly isMany: boolean
  readonly total: Plan['total']
  done = 0
  refused = 0
  readonly refusals: string[] = []
  /** What was done to the only one. */
  last = ''
  state: 'running' | 'done' | 'stopped' | 'failed' = 'running'
  failure = ''
  readonly stop = new AbortController()
  ended: Promise<void> = Promise.resolve()

  constructor({what, isMany, total}: Plan) {
    this.what = what
    this.isMany = isMany
    this.total = total
  }

  /** One line. */
  get summary(): string {
    const {what, done, refused, state, failure} = this
    if (!this.isMany && state === 'done')
      return this.last || this.refusals[0] || `${what}: there was nothing to do.`
    const counts = `${done.toLocaleString('en')} done${refused > 0 ? `, ${refused.toLocaleString('en')} refused` : ''}`
    const end = {running: 'running', done: 'done', stopped: 'stopped', failed: `failed: ${failure}`}[state]
    return `${what}: ${state === 'done' ? counts : `${end}, ${counts}`}.`
  }
}

export class Runs {
  readonly #queue: JobQueue
  readonly #onChange: () => void
  readonly #onTrouble: (message: string) => void
  readonly #runs = new Map<string, Run>()

  constructor(queue: JobQueue, onChange: () => void, onTrouble: (message: string) => void) {
    this.#queue = queue
    this.#onChange = onChange
    this.#onTrouble = onTrouble
  }

  get(id: string | null): Run | null {
    return (id !== null && this.#runs.get(id)) || null
  }

  /** Begins it. @throws Refusal if too many run, StoreError if it can't be logged: then nothing is done */
  async start(plan: Plan, who: string): Promise<Run> {
    const running = [...this.#runs.values()].filter(({state}) => state === 'running')
    if (running.length >= MAX_RUNNING)
      throw new Refusal(429, 'TOO_MANY_ACTIONS', `expected fewer than ${MAX_RUNNING} actions at once`, {
        hint: 'wait for one of them',
      })
    const run = new Run(plan)
    this.#runs.set(run.id, run)
    try {
      const action = await this.#queue.logAction({who: cut(who), what: cut(plan.what)})
      run.ended = this.#go(run, plan, action)
    } catch (error) {
      this.#runs.delete(run.id)
      throw error
    }
    for (const [id, {state}] of this.#runs)
      if (this.#runs.size > KEPT_RUNS && state !== 'running') this.#runs.delete(id)
    return run
  }

  /** What runs is stopped between two jobs. */
  async close(): Promise<void> {
    const runs = [...this.#runs.values()]
    for (const run of runs) run.stop.abort()
    await Promise.all(runs.map(({ended}) => ended))
  }

  async #go(run: Run, plan: Plan, action: RowRef): Promise<void> {
    const {signal} = run.stop
    let countedAt = monotonic()
    const count = () => this.#queue.countAction(action, plan.isOfJobs ? run.done : 0)
    try {
      for await (const step of plan.steps(signal)) {
        if ('done' in step) {
          run.done++
          run.last = step.done
        } else if (++run.refused <= TOLD_REFUSALS) run.refusals.push(step.refused)
        if (signal.aborted) break
        if (monotonic() - countedAt < COUNT_MS) continue
        await count()
        await nextTurn()
        countedAt = monotonic()
      }
      run.state = signal.aborted ? 'stopped' : 'done'
    } catch (error) {
      run.state = 'failed'
      run.failure = error instanceof JobqError ? messageOf(error) : 'this is a defect in jobq'
      if (!(error instanceof JobqError)) this.#onTrouble(`unexpected: ${(error as Error).message}`)
    }
    this.#onChange()
    await count().catch((error: unknown) => this.#onTrouble((error as Error).message))
  }
}

/** As the columns hold it. */
function cut(text: string): string {
  const shown = [...printable(text).replaceAll('\0', '')]
  return shown.length <= MAX_ACTION_LENGTH
    ? shown.join('')
    : `${shown.slice(0, MAX_ACTION_LENGTH - 1).join('')}…`
}
