/**
 * A picture on a terminal's other screen: of each new one only the lines that are not as they were are written, so that
 * nothing flickers. The terminal gets its own screen back however the process ends, but by SIGKILL.
 */
import {emitKeypressEvents, type Key} from 'node:readline'

/** Without a cursor, and with long lines cut instead of wrapped. */
const OTHER_SCREEN = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const MAIN_SCREEN = '\u001b[?7h\u001b[?25h\u001b[?1049l'
const CLEAR_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'
/** A process that is stopped by its terminal goes on with its timers when it is continued. */
const AWAKE_MS = 50

export interface Size {
  columns: number
  rows: number
}

export class Screen {
  readonly #onResize: () => void
  readonly #onKey: ((key: string) => void) | null
  #isOpen = false
  #shown: string[] = []

  /**
   * @param onResize it has to be drawn anew
   * @param onKey called with `q`, `up`, `return` …; Ctrl-C stays INT and Ctrl-Z the shell's. Not there: keys are left to the
   * terminal, whose standard input is not read
   */
  constructor(onResize: () => void, onKey: ((key: string) => void) | null = null) {
    this.#onResize = onResize
    this.#onKey = onKey
    process.on('exit', this.#leave)
    process.once('SIGHUP', this.#hungUp)
    process.stdout.on('resize', this.#resized)
    this.#enter()
    if (onKey === null) return
    emitKeypressEvents(process.stdin)
    process.stdin.on('keypress', this.#pressed)
  }

  get size(): Size {
    return {columns: process.stdout.columns || 80, rows: process.stdout.rows || 24}
  }

  /** Lines below the last row are not drawn. */
  draw(lines: readonly string[]): void {
    const drawn = lines.slice(0, this.size.rows)
    let text = ''
    for (const [i, line] of drawn.entries()) if (line !== this.#shown[i]) text += at(i) + line + CLEAR_LINE
    if (drawn.length < this.#shown.length) text += at(drawn.length) + CLEAR_BELOW
    this.#shown = drawn
    if (text !== '') process.stdout.write(text)
  }

  /** @param last stays on the terminal's own screen */
  end(last = ''): void {
    process.off('exit', this.#leave)
    process.off('SIGHUP', this.#hungUp)
    process.stdout.off('resize', this.#resized)
    process.stdin.off('keypress', this.#pressed)
    if (!this.#isOpen) return
    this.#leave()
    process.stdout.write(last)
  }

  readonly #resized = () => {
    this.#clear()
    this.#onResize()
  }

  readonly #hungUp = () => {
    this.end()
    process.kill(process.pid, 'SIGHUP') // nobody listens any more: it ends the process
  }

  readonly #pressed = (text: string | undefined, {name, ctrl}: Key) => {
    if (ctrl && name === 'c') process.kill(process.pid, 'SIGINT')
    else if (ctrl && name === 'z') this.#suspend()
    else if (!ctrl) this.#onKey?.(name ?? text ?? '')
  }

  #suspend(): void {
    this.#leave()
    setTimeout(() => {
      this.#enter()
      this.#resized()
    }, AWAKE_MS)
    process.kill(process.pid, 'SIGTSTP')
  }

  #enter(): void {
    this.#isOpen = true
    process.stdout.write(OTHER_SCREEN)
    if (this.#onKey) process.stdin.setRawMode(true).resume()
  }

  readonly #leave = () => {
    this.#isOpen = false
    if (this.#onKey) process.stdin.setRawMode(false).pause()
    process.stdout.write(MAIN_SCREEN)
  }

  /** What the terminal makes of lines when it gets another width, nobody knows. */
  #clear(): void {
    this.#shown = []
    process.stdout.write(at(0) + CLEAR_BELOW)
  }
}

function at(row: number): string {
  return `\u001b[${row + 1};1H`
}
