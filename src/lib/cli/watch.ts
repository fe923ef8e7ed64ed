/**
 * `--watch`: draws a frame again and again until INT or TERM. On a terminal each is drawn over the one before, on its
 * other screen, and the last one stays when it ends; elsewhere they follow each other.
 */
import {once} from 'node:events'
import {setTimeout as sleep} from 'node:timers/promises'
import {Stop} from './stop.ts'

/** Without a cursor, and with long lines cut instead of wrapped. */
const OTHER_SCREEN = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const MAIN_SCREEN = '\u001b[?7h\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
const CLEAR_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'

/** Ends in order when it is stopped: there is nothing else that it could be waiting for. */
export async function watch(seconds: number, frame: () => Promise<string>, isDrawn: boolean): Promise<void> {
  using screen = isDrawn ? new Screen(seconds) : null
  using stop = new Stop(() => screen?.[Symbol.dispose]())
  while (!stop.signal.aborted) {
    const text = await frame()
    if (screen) screen.draw(text)
    else process.stdout.write(text)
    await pause(seconds, stop.signal)
  }
}

/** Until it is time, the terminal has another size, or the watch is stopped. */
async function pause(seconds: number, stopped: AbortSignal): Promise<void> {
  const over = new AbortController()
  const signal = AbortSignal.any([stopped, over.signal])
  const waits = [sleep(seconds * 1000, undefined, {signal}), once(process.stdout, 'resize', {signal})]
  await Promise.race(waits.map(wait => wait.catch(() => {})))
  over.abort()
}

class Screen implements Disposable {
  readonly #title: string
  #last = ''

  constructor(seconds: number) {
    this.#title = `every ${seconds} s, Ctrl-C ends`
    process.stdout.write(OTHER_SCREEN)
  }

  draw(text: string): void {
    this.#last = text
    const rows = process.stdout.rows || 24
    const all = [`${new Date().toLocaleTimeString('sv')}  ${this.#title}`, '', ...text.trimEnd().split('\n')]
    const lines =
      all.length <= rows ? all : [...all.slice(0, rows - 1), `… ${all.length - rows + 1} lines more`]
    process.stdout.write(HOME + lines.map(line => line + CLEAR_LINE).join('\n') + CLEAR_BELOW)
  }

  [Symbol.dispose](): void {
    process.stdout.write(MAIN_SCREEN + this.#last)
  }
}
