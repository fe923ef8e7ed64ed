/**
 * Which of an address's hosts a store uses: the first that takes writes, for all of its connections, until it must be
 * left; then the next. So a store has one writer, and where hosts copy each other no two of them meet in conflicts.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {StoreError} from '../../jobs/errors.ts'

/** A host that answers nothing for so long is not waited for before the next is asked, too: one that hangs costs a start that. */
const NEXT_MS = 1000
/** So long the others are waited for, where each has to be heard. */
const ALL_MS = 1000

export interface Host<Config> {
  /** `host:port`, for messages. */
  readonly name: string
  readonly config: Config
}

export interface HostsOptions<Link> {
  /** The address as a message may name it. */
  name: string
  /** Is this of a host that is away or may not be written to, rather than of the address or the user? */
  isAway(error: unknown): boolean
  /** Closes what was not taken. */
  end(link: Link): void
  /**
   * Where several take writes though only one should, the greatest is the one: what was cut off while another was
   * promoted has an older history. Then all are asked at once. Default: the first that takes writes.
   */
  historyOf?(link: Link): Promise<string>
}

/** Its server answers, but takes no writes. */
export class PassedOver extends Error {}

export class Hosts<Config, Link> {
  readonly #all: readonly Host<Config>[]
  readonly #options: HostsOptions<Link>
  /** Null: it is to be looked for. */
  #current: Host<Config> | null
  #used: Host<Config> | null = null
  #looking: Promise<unknown> | null = null
  readonly #onMove = new Set<() => void>()

  /** @param all at least one */
  constructor(all: readonly Host<Config>[], options: HostsOptions<Link>) {
    this.#all = all
    this.#options = options
    this.#current = this.areSeveral ? null : all[0]!
    this.#used = this.#current
  }

  get areSeveral(): boolean {
    return this.#all.length > 1
  }

  /** How often something may be begun again elsewhere. */
  get moves(): number {
    return this.areSeveral ? this.#all.length : 0
  }

  /** Is a connection to it still good? */
  isInUse(host: Host<Config> | null): boolean {
    return host !== null && this.#current === host
  }

  /** The last that was; null before the first. */
  get used(): Host<Config> | null {
    return this.#used
  }

  /** Called when all connections are to go to another than before. */
  onMove(moved: () => void): void {
    this.#onMove.add(moved)
  }

  /**
   * A connection to the host in use, or if that is away to the next that takes writes.
   * @param dial its errors are thrown as they are where there is one host, or where they are not of a host that is away
   * @throws StoreError UNREACHABLE if no host takes writes, with what each has said
   */
  async connect(dial: (host: Host<Config>) => Promise<Link>): Promise<Link> {
    const host = this.#current
    if (!host) return this.#look(dial)
    try {
      return await dial(host)
    } catch (error) {
      if (!this.areSeveral || !this.#options.isAway(error)) throw error
      this.leave(host)
      return this.#look(dial)
    }
  }

  /** It hangs, or takes no writes any more: the next connection is to another, if another can be had. */
  leave(host: Host<Config>): void {
    if (this.areSeveral && this.#current === host) this.#current = null
  }

  /** One looks for all who want to know; who is told nothing by that looks for itself. */
  async #look(dial: (host: Host<Config>) => Promise<Link>): Promise<Link> {
    await this.#looking
    if (this.#current) return this.connect(dial)
    const found = this.#find(dial)
    const told = found.then(
      () => {},
      () => {},
    )
    this.#looking ??= told
    try {
      const {host, link} = await found
      this.#current = host
      if (this.#used !== host) {
        this.#used = host
        for (const moved of this.#onMove) moved()
      }
      return link
    } finally {
      if (this.#looking === told) this.#looking = null
    }
  }

  async #find(dial: (host: Host<Config>) => Promise<Link>): Promise<Found<Config, Link>> {
    const {end, historyOf} = this.#options
    const left = this.#inOrder()
    const found: Found<Config, Link>[] = []
    const failures: Failure<Config>[] = []
    const underWay = new Set<Promise<void>>()
    let isOver = false
    const ask = (host: Host<Config>) => {
      const asked: Promise<void> = dial(host).then(
        link => {
          underWay.delete(asked)
          if (isOver) end(link)
          else found.push({host, link})
        },
        error => {
          underWay.delete(asked)
          failures.push({host, error})
        },
      )
      underWay.add(asked)
    }
    while (found.length === 0 && (left.length > 0 || underWay.size > 0)) {
      for (const host of left.splice(0, historyOf ? left.length : 1)) ask(host)
      await within(left.length > 0 ? NEXT_MS : null, Promise.race(underWay))
    }
    if (historyOf && found.length > 0) await within(ALL_MS, Promise.all(underWay))
    isOver = true
    const best = await this.#best(found)
    for (const other of found) if (other !== best) end(other.link)
    if (best) return best
    throw this.#none(failures)
  }

  /** As the address has them; the one that was left comes last. */
  #inOrder(): Host<Config>[] {
    const left = this.#used
    return [...this.#all.filter(host => host !== left), ...(left ? [left] : [])]
  }

  async #best(found: readonly Found<Config, Link>[]): Promise<Found<Config, Link> | undefined> {
    const inOrder = this.#inOrder().flatMap(host => found.find(each => each.host === host) ?? [])
    const {historyOf} = this.#options
    if (!historyOf || inOrder.length < 2) return inOrder[0]
    const histories = await Promise.all(inOrder.map(({link}) => historyOf(link).catch(() => '')))
    const greatest = histories.toSorted().at(-1)!
    return inOrder[histories.indexOf(greatest)]
  }

  /** What is wrong with the address, or with the user, is told as with one host. */
  #none(failures: readonly Failure<Config>[]): unknown {
    const {name, isAway} = this.#options
    const other = failures.find(({error}) => !isAway(error))
    if (other) return other.error
    const inOrder = failures.toSorted((a, b) => this.#all.indexOf(a.host) - this.#all.indexOf(b.host))
    const said = inOrder.map(({host, error}) => `${host.name}: ${reasonOf(error)}`)
    return new StoreError('UNREACHABLE', `no host of ${name} takes writes (${said.join('; ')})`, {
      hint: 'start one of them, or see which one is meant to take writes',
      cause: failures.at(-1)!.error,
    })
  }
}

interface Found<Config, Link> {
  host: Host<Config>
  link: Link
}

interface Failure<Config> {
  host: Host<Config>
  error: unknown
}

/** @param ms null: however long it takes */
async function within(ms: number | null, work: Promise<unknown>): Promise<void> {
  if (ms === null) return void (await work)
  const timer = new AbortController()
  await Promise.race([work, sleep(ms, undefined, {signal: timer.signal}).catch(() => {})])
  timer.abort()
}

/** Of several addresses of one host, as localhost has, Node.js tells none. */
function reasonOf(error: unknown): string {
  const {message, code} = error as {message: string; code?: unknown}
  return message || String(code)
}
