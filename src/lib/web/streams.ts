/** Answers that go on: events as they come, to so many pages at once and no more. */
import {setMaxListeners} from 'node:events'
import {Refusal} from './refusal.ts'

/** A browser has one for each page that is seen. */
const MAX_STREAMS = 100
/** A proxy ends what is silent for a minute. */
const PING_MS = 20_000

export type Event = {event: string; data: unknown}

export class Streams {
  #open = 0
  readonly #closing = new AbortController()

  constructor() {
    setMaxListeners(0, this.#closing.signal)
  }

  get isFull(): boolean {
    return this.#open >= MAX_STREAMS
  }

  /**
   * @param events ended by their signal: the reader has gone, or the server is about to end
   * @throws Refusal if there are too many
   */
  of(events: (signal: AbortSignal) => AsyncIterable<Event>): Response {
    if (this.isFull)
      throw new Refusal(503, 'TOO_MANY_STREAMS', 'expected fewer open pages', {headers: {'retry-after': '5'}})
    this.#open++
    const gone = new AbortController()
    const signal = AbortSignal.any([gone.signal, this.#closing.signal])
    const encoder = new TextEncoder()
    let ping: NodeJS.Timeout | undefined
    const end = () => {
      if (ping === undefined) return
      clearInterval(ping)
      ping = undefined
      this.#open--
    }
    const body = new ReadableStream<Uint8Array>({
      start: controller => {
        const send = (text: string) => controller.enqueue(encoder.encode(text))
        ping = setInterval(() => {
          if ((controller.desiredSize ?? 0) > -PENDING) send(': \n\n')
          else gone.abort() // its reader takes nothing any more
        }, PING_MS).unref()
        send('retry: 5000\n\n')
        void pump(events(signal), controller, send, signal).finally(() => {
          end()
          gone.abort()
        })
      },
      cancel: () => {
        end()
        gone.abort()
      },
    })
    return new Response(body, {
      headers: {'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no'},
    })
  }

  close(): void {
    this.#closing.abort()
  }
}

/** So many events may be on their way to one reader. */
const PENDING = 100

async function pump(
  events: AsyncIterable<Event>,
  controller: ReadableStreamDefaultController,
  send: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const {event, data} of events) {
      if (signal.aborted || (controller.desiredSize ?? 0) < -PENDING) break
      send(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    }
  } catch {
    // The page asks again, and is told then
  }
  try {
    controller.close()
  } catch {
    // its reader has closed it
  }
}
