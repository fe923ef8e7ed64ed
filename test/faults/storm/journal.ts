/**
 * The storm's memory outside of every database: one file to which all processes append whole lines (O_APPEND), so that a
 * line's place in it says what was before what. A line is one of
 *
 *   offer OFFER FUNC KEY|- TOKEN…          before these jobs are enqueued, all or none
 *   stored OFFER [ID]                      it was acknowledged: an id printed, or a promise resolved
 *   refused OFFER CODE                     it was said that nothing is stored; UNCERTAIN: that it is not known
 *   begin TOKEN ID PID PARENT              a job's run begins, in the process PID that the dispatcher PARENT has started
 *   end TOKEN ID PID completed|failed|replaced   the last that the run does
 *   start dispatcher PID
 *   kill WHAT PID, killed WHAT PID         before and after a SIGKILL
 *   tick MS                                the time, by the clock that is never set
 *   {…}                                    the log of a `jobq work`
 *
 * A job's argument is the text "TOKEN MS FAILS THEN": it naps for MS, fails while its retry_cnt is below FAILS, and is
 * replaced by a job with the token THEN, unless that is -.
 */
import {appendFileSync, closeSync, openSync, readFileSync} from 'node:fs'

export type Victim = 'child' | 'dispatcher' | 'enqueuer' | 'command' | 'server'

export interface Offer {
  func: string
  key: string | null
  tokens: string[]
  /** `stored`, a code, or null: its process did not live to tell. */
  fate: string | null
  id: number | null
}

export interface Run {
  id: number
  pid: number
  parent: number
  at: number
  end: number | null
  outcome: string | null
}

export interface Kill {
  what: Victim
  pid: number
  from: number
  to: number
}

/** What a `jobq work` has written about a job's end. */
export interface Told {
  at: number
  outcome: string
}

/** Places are the numbers of lines. */
export interface Story {
  offers: Map<string, Offer>
  /** By token, in their order. */
  runs: Map<string, Run[]>
  kills: Kill[]
  /** By id. */
  told: Map<number, Told[]>
  dispatchers: {at: number; pid: number}[]
  ticks: {at: number; ms: number}[]
  /** What no one should have written. */
  strange: string[]
}

export class Journal {
  readonly path: string
  readonly fd: number

  constructor(path: string) {
    this.path = path
    this.fd = openSync(path, 'a')
  }

  write(...words: (string | number)[]): void {
    appendFileSync(this.fd, `${words.join(' ')}\n`)
  }

  /** The processes that are at a job now. */
  get atWork(): Set<number> {
    const pids = new Set<number>()
    for (const [, word, pid] of readFileSync(this.path, 'utf8').matchAll(/^(begin|end) \S+ \d+ (\d+) /gm))
      if (word === 'begin') pids.add(Number(pid))
      else pids.delete(Number(pid))
    return pids
  }

  close(): void {
    closeSync(this.fd)
  }

  read(): Story {
    const story: Story = {
      offers: new Map(),
      runs: new Map(),
      kills: [],
      told: new Map(),
      dispatchers: [],
      ticks: [],
      strange: [],
    }
    const lines = readFileSync(this.path, 'utf8').split('\n')
    for (const [at, line] of lines.entries()) if (line !== '') add(story, at, line)
    const kills = story.kills.filter(({to}) => to < Number.POSITIVE_INFINITY) // others were gone before
    return {...story, kills}
  }
}

function add(story: Story, at: number, line: string): void {
  if (line.startsWith('{')) {
    const {event, id, outcome} = JSON.parse(line) as {event: string; id: number; outcome: string}
    if (event === 'job') grouped(story.told, id).push({at, outcome})
    return
  }
  const [word, first = '', second = '', third = '', ...rest] = line.split(' ')
  const offer = story.offers.get(first)
  switch (word) {
    case 'offer':
      story.offers.set(first, {
        func: second,
        key: third === '-' ? null : third,
        tokens: rest,
        fate: null,
        id: null,
      })
      return
    case 'stored':
      Object.assign(offer!, {fate: 'stored', id: second === '' ? null : Number(second)})
      return
    case 'refused':
      offer!.fate = second
      return
    case 'begin':
      grouped(story.runs, first).push({
        id: Number(second),
        pid: Number(third),
        parent: Number(rest[0]),
        at,
        end: null,
        outcome: null,
      })
      return
    case 'end': {
      const run = story.runs.get(first)?.findLast(({pid}) => pid === Number(third))
      Object.assign(run!, {end: at, outcome: rest[0]})
      return
    }
    case 'start':
      story.dispatchers.push({at, pid: Number(second)})
      return
    case 'kill':
      story.kills.push({what: first as Victim, pid: Number(second), from: at, to: Number.POSITIVE_INFINITY})
      return
    case 'killed':
      story.kills.findLast(({what, pid}) => what === first && pid === Number(second))!.to = at
      return
    case 'tick':
      story.ticks.push({at, ms: Number(first)})
      return
  }
  if (!line.startsWith('jobq: ')) story.strange.push(line)
}

export function grouped<K, V>(map: Map<K, V[]>, key: K): V[] {
  const list = map.get(key) ?? []
  map.set(key, list)
  return list
}
