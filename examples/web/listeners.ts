/**
 * Pages that listen: a stream of server-sent events to each, for as long as it is open. There is room for so many; a page
 * that does not read what it is sent, or is no longer there, loses its place.
 */
import type {ServerResponse} from 'node:http'

const MOST_LISTENERS = 200
const MOST_UNREAD_BYTES = 1_000_000
const BEAT_MS = 30_000

export class Listeners {
  readonly #listeners = new Set<ServerResponse>()
  /** What is written to a page that is gone without a word fails, and that is how it is noticed. */
  readonly #beat = setInterval(() => this.#write(': still here\n\n'), BEAT_MS).unref()

  get isFull(): boolean {
    return this.#listeners.size >= MOST_LISTENERS
  }

  add(response: ServerResponse): void {
    response.writeHead(200, {'content-type': 'text/event-stream', 'cache-control': 'no-store'})
    response.write(': welcome\n\n')
    this.#listeners.add(response)
    response.on('close', () => this.#listeners.delete(response))
  }

  tell(event: unknown): void {
    this.#write(`data: ${JSON.stringify(event)}\n\n`)
  }

  end(): void {
    clearInterval(this.#beat)
    for (const listener of this.#listeners) listener.end()
  }

  #write(text: string): void {
    for (const listener of this.#listeners) {
      if (listener.writableLength > MOST_UNREAD_BYTES) listener.destroy()
      else listener.write(text)
    }
  }
}
