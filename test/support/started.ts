/** A running process: what it has printed so far, and waits that end with what they wait for, never with a time. */
import {type ChildProcess, type SpawnOptions, spawn} from 'node:child_process'
import {patient} from './random.ts'

/** So long that only what never happens takes it. */
const PATIENCE_MS = patient(30_000)

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export class Started {
  readonly child: ChildProcess
  readonly #closed: Promise<Finished>
  stdout = ''
  stderr = ''
  readonly #onChange = new Set<() => void>()

  constructor(command: string, args: readonly string[], options: SpawnOptions) {
    this.child = spawn(command, args, {stdio: 'pipe', ...options})
    this.child.stdin?.on('error', () => {}) // it need not read
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#add('stdout', text))
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#add('stderr', text))
    this.#closed = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code, signal) => {
        resolve({code, signal, stdout: this.stdout, stderr: this.stderr})
        this.#changed()
      })
    })
  }

  /** Rejects, with all it has printed, if it has not ended in a long while. */
  get exited(): Promise<Finished> {
    const {promise, reject} = Promise.withResolvers<never>()
    const giveUp = () => reject(new Error(`expected an end, got none after\n${this.stdout}${this.stderr}`))
    const timer = setTimeout(giveUp, PATIENCE_MS)
    return Promise.race([this.#closed, promise]).finally(() => clearTimeout(timer))
  }

  get pid(): number {
    return this.child.pid!
  }

  get hasExited(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Resolves when its output so far has a match; rejects if it ends without. */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    const match = () => pattern.exec(this.stderr) ?? pattern.exec(this.stdout)
    const deadline = Date.now() + PATIENCE_MS
    for (;;) {
      const found = match()
      if (found) return found
      if (this.hasExited || Date.now() > deadline) {
        if (this.hasExited) await this.#closed // what it said last is read by then
        const late = match()
        if (late) return late
        throw new Error(
          `expected ${pattern}, got ${this.hasExited ? 'an end' : 'nothing'} after\n${this.stdout}${this.stderr}`,
        )
      }
      await new Promise<void>(resolve => {
        const done = () => {
          clearTimeout(timer)
          this.#onChange.delete(done)
          resolve()
        }
        const timer = setTimeout(done, 500)
        this.#onChange.add(done)
      })
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  #add(stream: 'stdout' | 'stderr', text: string): void {
    this[stream] += text
    this.#changed()
  }

  #changed(): void {
    for (const done of this.#onChange) done()
  }
}
