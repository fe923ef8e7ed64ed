/** What a terminal shows of a process that draws on it: its output goes through a real emulator's parser. */
import xterm from '@xterm/headless'
import type {Started} from './started.ts'
import {until} from './until.ts'

export class Picture {
  readonly #terminal: InstanceType<typeof xterm.Terminal>
  readonly #process: Started
  #read = 0

  constructor(process: Started, columns = 80, rows = 24) {
    this.#process = process
    this.#terminal = new xterm.Terminal({cols: columns, rows, allowProposedApi: true})
  }

  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows)
  }

  /** Its rows as they are now, without the blanks at their ends. */
  async rows(): Promise<string[]> {
    const {stdout} = this.#process
    const news = stdout.slice(this.#read)
    this.#read = stdout.length
    await new Promise<void>(resolve => this.#terminal.write(news, resolve))
    const {active} = this.#terminal.buffer
    const rows = Array.from({length: this.#terminal.rows}, (_, i) => active.getLine(active.viewportY + i))
    return rows.map(row => row?.translateToString(true) ?? '')
  }

  /** Is it the other screen, which the process has to itself? */
  get isOther(): boolean {
    return this.#terminal.buffer.active.type === 'alternate'
  }

  /** Waits until its rows together have a match. @returns these */
  async shows(pattern: RegExp): Promise<string[]> {
    let rows: string[] = []
    await until(
      `the terminal shows ${pattern}`,
      async () => {
        rows = await this.rows()
        return pattern.test(rows.join('\n'))
      },
      20_000,
    ).catch(error => {
      throw new Error(`${(error as Error).message}; it shows\n${rows.join('\n')}`)
    })
    return rows
  }
}
