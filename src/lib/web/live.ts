/**
 * What goes on by itself. A page that is seen is told that something has changed, and fetches itself anew: the numbers are
 * read once for all of them, and not at all while nobody looks.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {idOf} from '../jobs/job.ts'
import {parseRef} from '../jobs/names.ts'
import {checkReader} from './safety.ts'
import type {Asked, Site} from './site.ts'
import type {Event} from './streams.ts'

const LOOK_MS = 2000

export function live(site: Site, {request}: Asked): Response {
  checkReader(request.headers)
  return site.streams.of(signal => changes(site, signal))
}

async function* changes({facts, queue}: Site, signal: AbortSignal): AsyncGenerator<Event> {
  let last = ''
  while (!signal.aborted) {
    const [{stats}, paused] = await Promise.all([facts.numbers.get(), queue.paused()])
    const now = JSON.stringify([stats, paused])
    if (now !== last && last !== '') yield {event: 'change', data: null}
    last = now
    await sleep(LOOK_MS, undefined, {signal, ref: false}).catch(() => {})
  }
}

/** What a job writes, as `jobq logs --follow` tells it. */
export function output(site: Site, {params, request}: Asked): Response {
  checkReader(request.headers)
  const ref = parseRef(params[0]!, 'job')
  return site.streams.of(signal => written(site, ref, signal))
}

async function* written(
  {queue}: Site,
  ref: ReturnType<typeof parseRef>,
  signal: AbortSignal,
): AsyncGenerator<Event> {
  const decoder = new TextDecoder()
  for await (const told of queue.follow(ref, {signal})) {
    if (told.kind === 'output')
      yield {event: 'output', data: {text: decoder.decode(told.output, {stream: true}), isCut: told.isCut}}
    else if (told.kind === 'attempt') yield {event: 'attempt', data: {attempt: told.attempt.nth}}
    else if (told.kind === 'end') yield {event: 'end', data: {id: idOf(ref), outcome: told.end.outcome}}
    else yield {event: 'mute', data: null}
  }
}
