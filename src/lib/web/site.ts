/** What all pages have at hand: the queue, what is read of it for all, and how links are written. */
import type {JobQueue} from '../client/queue.ts'
import {Runs} from './actions/runs.ts'
import {Facts} from './facts.ts'
import type {Html} from './html.ts'
import {Masks} from './masks.ts'
import type {Settings} from './options.ts'
import {Streams} from './streams.ts'

export interface Site {
  queue: JobQueue
  settings: Settings
  facts: Facts
  masks: Masks
  runs: Runs
  streams: Streams
}

export function siteOf(queue: JobQueue, settings: Settings): Site {
  const facts = new Facts(queue, settings.onTrouble)
  return {
    queue,
    settings,
    facts,
    masks: new Masks(queue.settings.config.maskArguments),
    runs: new Runs(queue, () => facts.forget(), settings.onTrouble),
    streams: new Streams(),
  }
}

/** What is asked for. */
export interface Asked {
  request: Request
  /** Below the base path, with the query: where to come back to. */
  here: string
  query: URLSearchParams
  /** What stood in the variable parts of the path. */
  params: readonly string[]
  /** Who asks, for the log of actions. */
  who: string
  /** Did it show the token itself? */
  isProgram: boolean
  /** Is there a session that can be ended? */
  hasCookie: boolean
  /** Whence, for the number of tries. */
  place: string
}

/** A page: for people, or as a document. */
export interface View {
  title: string
  body: Html
  /** As the command that shows the same has it under --json. */
  document: unknown
  status?: number
  /** Below the base path: the same of what comes behind. */
  next?: string | null
  /** It changes soon: without a script it is asked for anew. */
  isBusy?: boolean
}

/** A link below the base path; what is undefined or empty is left out of its query. */
export function pathTo(
  path: string,
  query: Readonly<Record<string, string | number | null | undefined>> = {},
): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value))
  return search.size > 0 ? `${path}?${search}` : path
}
