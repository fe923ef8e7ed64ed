/**
 * `jobq top`: looks, draws, and does what keys ask for. What is asked for goes on beside the looking, one thing at a time, and
 * what became of it is the message below the picture.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import type {JobQueue} from '../../client/queue.ts'
import {monotonic} from '../../jobs/clock.ts'
import {JobqError, UsageError} from '../../jobs/errors.ts'
import {ALL_FUNCS} from '../../jobs/job.ts'
import {parseRef} from '../../jobs/names.ts'
import type {FuncStats} from '../../jobs/stats.ts'
import {
  keysOf,
  markedOf,
  PANES,
  type Pane,
  SORTS,
  type TopFacts,
  type TopView,
  topPicture,
} from '../../render/top.ts'
import {withQueueOf} from '../command-queue.ts'
import {Screen} from '../screen.ts'
import type {QueueFlags} from '../settings.ts'
import {Stop} from '../stop.ts'

const LOOK_MS = 1000
/** What takes long to look at is looked at less often: a rest is so many times as long as the look. */
const RESTS = 4
/** The rate is that of the last so many seconds: managers tell every two. */
const RATE_MS = 10_000
/** So long a message stands where the keys are told. */
const SAID_MS = 10_000
/** More of what runs no screen shows. */
const MAX_RUNNING = 1000

export async function run(flags: QueueFlags): Promise<undefined> {
  if (!process.stdin.isTTY || !process.stdout.isTTY)
    throw new UsageError('expected a terminal, got none', {
      hint: '`jobq stats`, `jobq status` and `jobq list --state running` tell the same to scripts',
    })
  const top = new Top()
  await withQueueOf(flags, queue => top.run(queue), {onTrouble: message => top.say(message)})
}

class Top {
  #queue!: JobQueue
  readonly #rate = new Rate()
  #facts: TopFacts | null = null
  #view: TopView = {
    pane: 'funcs',
    sort: {funcs: 0, running: 0},
    selected: {funcs: null, running: null},
    message: '',
  }
  /** What y does. */
  #asked: (() => Promise<string>) | null = null
  #isActing = false
  #saidAt = Number.NEGATIVE_INFINITY
  /** Aborted when there is no time to rest: something has changed that is to be seen. */
  #rest = new AbortController()
  #screen!: Screen
  readonly #quit = new AbortController()
  readonly #keys = new Map(
    Object.entries({
      q: () => this.#quit.abort(),
      tab: () => this.#turn(),
      left: () => this.#turn(),
      right: () => this.#turn(),
      s: () => this.#sort(),
      up: () => this.#move(-1),
      k: () => this.#move(-1),
      down: () => this.#move(1),
      j: () => this.#move(1),
      home: () => this.#move(Number.NEGATIVE_INFINITY),
      end: () => this.#move(Number.POSITIVE_INFINITY),
      p: () => this.#pause(),
      r: () => this.#retry(),
      c: () => this.#cancel(),
    }),
  )

  async run(queue: JobQueue): Promise<void> {
    this.#queue = queue
    this.#screen = new Screen(
      () => void this.#draw(),
      key => this.#press(key),
    )
    const end = () => this.#screen.end()
    using stop = new Stop(end)
    const ended = AbortSignal.any([stop.signal, this.#quit.signal])
    try {
      while (!ended.aborted) {
        const since = monotonic()
        this.#rest = new AbortController()
        this.#facts = await this.#look()
        if (monotonic() - this.#saidAt > SAID_MS && !this.#asked && !this.#isActing) this.say('')
        else await this.#draw()
        const rest = Math.max(LOOK_MS, RESTS * (monotonic() - since))
        await sleep(rest, undefined, {signal: AbortSignal.any([ended, this.#rest.signal])}).catch(() => {})
      }
    } finally {
      end()
    }
  }

  async #look(): Promise<TopFacts> {
    const queue = this.#queue
    const [stats, running, managers] = await Promise.all([
      queue.stats(),
      queue.list({state: 'running', limit: MAX_RUNNING}),
      queue.managers(),
    ])
    return {database: queue.name, stats, running, managers, rate: this.#rate.of(managers)}
  }

  async #draw(): Promise<void> {
    if (this.#facts) this.#screen.draw(await topPicture(this.#facts, this.#view, this.#screen.size))
  }

  #press(key: string): void {
    if (this.#asked) {
      const asked = this.#asked
      this.#asked = null
      if (key === 'y') this.#act(asked)
      else this.say('')
      return
    }
    this.#keys.get(key)?.()
  }

  #see(change: Partial<TopView>): void {
    this.#view = {...this.#view, message: '', ...change}
    void this.#draw()
  }

  /** What becomes of a key, or what the queue has to tell. */
  say(message: string): void {
    this.#saidAt = monotonic()
    this.#see({message})
  }

  /** To the other pane. */
  #turn(): void {
    this.#see({pane: PANES[(PANES.indexOf(this.#view.pane) + 1) % PANES.length]!})
  }

  #sort(): void {
    const {pane, sort} = this.#view
    this.#see({sort: {...sort, [pane]: (sort[pane] + 1) % SORTS[pane].length}})
  }

  #rows(pane: Pane): string[] {
    return this.#facts ? keysOf(pane, this.#facts, this.#view) : []
  }

  /** The marked row of a pane; null where it has none. */
  #selected(pane: Pane): string | null {
    const keys = this.#rows(pane)
    return keys[markedOf(keys, this.#view.selected[pane])] ?? null
  }

  #move(by: number): void {
    const {pane, selected} = this.#view
    const keys = this.#rows(pane)
    const to = Math.max(0, Math.min(keys.length - 1, markedOf(keys, selected[pane]) + by))
    this.#see({selected: {...selected, [pane]: keys[to] ?? null}})
  }

  /** What is known of the function that a key is for; in the pane of what runs, there is none, which is said. */
  #func(key: string): FuncStats | null {
    const func = this.#view.pane === 'funcs' ? this.#selected('funcs') : null
    if (func === null) this.say(`${key} is for a function: Tab goes there`)
    return this.#facts?.stats.funcs.find(stats => stats.func === func) ?? null
  }

  #pause(): void {
    const stats = this.#func('p')
    if (!stats) return
    const {func, paused} = stats
    this.#act(async () => {
      if (!paused) {
        await this.#queue.pause([func])
        return `${func} is paused on every host`
      }
      await this.#queue.resume([func])
      const isAll = (await this.#queue.paused()).includes(ALL_FUNCS)
      return isAll ? 'everything is paused: `jobq resume --all` is for that' : `${func} is resumed`
    })
  }

  #retry(): void {
    const stats = this.#func('r')
    if (!stats) return
    const {func, failed} = stats
    if (failed === 0) {
      this.say(`no job of ${func} has failed for good`)
      return
    }
    this.#ask(
      `retry ${failed === 1 ? 'the failed job' : `the ${failed} failed jobs`} of ${func}?`,
      async () => {
        let [retried, refused] = [0, 0]
        for await (const outcome of this.#queue.retryMany({func})) {
          if (outcome.refused) refused++
          else retried++
          if (this.#quit.signal.aborted) break
        }
        return `${retried} of ${func} retried${refused > 0 ? `, ${refused} refused: \`jobq retry --all --func\` says why` : ''}`
      },
    )
  }

  #cancel(): void {
    const id = this.#view.pane === 'running' ? this.#selected('running') : null
    if (id === null) {
      this.say('c is for a job that runs: Tab goes there')
      return
    }
    this.#ask(`cancel job ${id}?`, async () => {
      const {result} = await this.#queue.cancel(parseRef(id, 'ID'))
      return result === 'cancelled' ? `job ${id} is cancelled` : `job ${id} was told to stop`
    })
  }

  #ask(question: string, action: () => Promise<string>): void {
    if (this.#isActing) {
      this.say('the last key is still at it')
      return
    }
    this.#asked = action
    this.say(`${question} y: yes, any other key: no`)
  }

  /** What it can't do is told; it takes no screen away. */
  #act(action: () => Promise<string>): void {
    if (this.#isActing) {
      this.say('the last key is still at it')
      return
    }
    this.#isActing = true
    this.say('…')
    action()
      .catch((error: unknown) => {
        if (!(error instanceof JobqError)) throw error
        return error.hint ? `${error.message} (${error.hint})` : error.message
      })
      .then(message => {
        this.#isActing = false
        this.say(message)
        this.#rest.abort()
      })
  }
}

/** Jobs a second, by how many each manager says that it has done, and when it was seen to say so. */
class Rate {
  readonly #looks: {at: number; jobs: Map<string, number>}[] = []

  of(managers: TopFacts['managers']): number | null {
    const at = monotonic()
    const jobs = new Map(managers.map(({host, pid, started, jobs}) => [`${host} ${pid} ${started}`, jobs]))
    this.#looks.push({at, jobs})
    while (this.#looks.length > 2 && at - this.#looks[1]!.at > RATE_MS) this.#looks.shift()
    const first = this.#looks[0]!
    if (first.at === at) return null
    let done = 0
    for (const [manager, count] of jobs) done += Math.max(0, count - (first.jobs.get(manager) ?? 0))
    return (1000 * done) / (at - first.at)
  }
}
