/**
 * Whose output it is that a pool's child prints, and when all of it is read.
 *
 * A child that has one job at a time prints to its pipes, and what comes there is that job's: also for the rest of the
 * round of the event loop in which its end was heard. One that has several says with each piece whose it is
 * (job-context.ts), on the line on which it says all else: so it is there before the job's end. What still comes through
 * the pipes of such a child (what a job's own processes print, native code) is nobody's: it is logged, and not kept.
 */
import type {ChildProcess} from 'node:child_process'
import type {JobRow} from '../../../jobs/job.ts'
import type {JobLog} from '../../log/log.ts'
import {STDERR_TAIL_BYTES} from '../executor.ts'
import {LineReader, Lines, type OnLine, Tail, whenRead} from '../output.ts'
import type {Stream} from '../run-output.ts'
import type {ChildRun} from './child-run.ts'

export interface ChildOutput {
  /** The last that came through stderr. */
  readonly lastWords: string
  /** What comes from now on is this run's. @param start called when what was before is read: at once, mostly */
  begin(run: ChildRun, start: () => void): void
  /** A piece of a run's; null: of none that is here. @returns what the next one is to wait for, if it is to */
  take(run: ChildRun | null, stream: Stream, bytes: Buffer): Promise<void> | null
  /** Calls back, at once if it can, when all has been read that was printed before. */
  whenRead(done: () => void): void
  /** To be called when a run's end is about to be told. */
  end(run: ChildRun): void
  /** What waits for the end of a line waits no longer, nor who waits to begin. */
  flush(): void
}

/** Of a child that has one job at a time. */
export class PipedOutput implements ChildOutput {
  readonly #tail: Tail
  readonly #readers: LineReader[]
  /** Whose output it is: the last job handed out, since what it wrote may be read after the word that it has ended. */
  #speaker: JobRow | null = null
  /** Whose output is read: also for the rest of the round in which its end was heard. */
  #writes: ChildRun | null = null
  /** Begins the next run when that is over. */
  #begin: (() => void) | null = null

  constructor(process: ChildProcess, log: JobLog) {
    this.#tail = new Tail(process.stderr!, STDERR_TAIL_BYTES)
    this.#readers = readersOf(process, stream => (line, isWhole) => {
      this.#writes?.output.add(stream, line, isWhole)
      return log.output(this.#speaker, stream, line)
    })
  }

  get lastWords(): string {
    return this.#tail.text
  }

  begin(run: ChildRun, start: () => void): void {
    const begin = () => {
      this.#tail.clear()
      this.#speaker = run.job
      this.#writes = run
      start()
    }
    if (this.#writes?.output.isUnread) this.#begin = begin
    else begin()
  }

  take(): null {
    return null // it says nothing of the kind
  }

  whenRead(done: () => void): void {
    whenRead(this.#readers, done)
  }

  /** What it printed is in the pipes already: it is read in this round of the event loop, before the next job starts. */
  end(run: ChildRun): void {
    run.output.isUnread = run === this.#writes
    setImmediate(this.flush)
  }

  readonly flush = (): void => {
    const run = this.#writes
    if (!run?.output.isUnread) return
    for (const reader of this.#readers) reader.flush()
    run.output.isUnread = false
    this.#writes = null
    const begin = this.#begin
    this.#begin = null
    begin?.()
  }
}

/** Of a child that has several jobs at once. */
export class ToldOutput implements ChildOutput {
  readonly #tail: Tail
  readonly #readers: LineReader[]
  readonly #log: JobLog
  /** Of runs that have printed something. */
  readonly #lines = new Map<ChildRun, Partial<Record<Stream, Lines>>>()

  constructor(process: ChildProcess, log: JobLog) {
    this.#tail = new Tail(process.stderr!, STDERR_TAIL_BYTES)
    this.#readers = readersOf(process, stream => line => log.output(null, stream, line))
    this.#log = log
  }

  get lastWords(): string {
    return this.#tail.text
  }

  begin(_run: ChildRun, start: () => void): void {
    start()
  }

  take(run: ChildRun | null, stream: Stream, bytes: Buffer): Promise<void> | null {
    const lines = this.#linesOf(run, stream)
    const room = lines.add(bytes)
    if (run === null || run.hasEnded) lines.flush() // nobody will
    return room
  }

  #linesOf(run: ChildRun | null, stream: Stream): Lines {
    const onLine: OnLine = (line, isWhole) => {
      if (run && !run.hasEnded) run.output.add(stream, line, isWhole)
      return this.#log.output(run?.job ?? null, stream, line)
    }
    if (run === null || run.hasEnded) return new Lines(onLine)
    const lines = this.#lines.get(run) ?? {}
    this.#lines.set(run, lines)
    lines[stream] ??= new Lines(onLine)
    return lines[stream]
  }

  whenRead(done: () => void): void {
    whenRead(this.#readers, done)
  }

  end(run: ChildRun): void {
    const lines = this.#lines.get(run)
    if (!lines) return
    this.#lines.delete(run)
    lines.stdout?.flush()
    lines.stderr?.flush()
  }

  flush(): void {}
}

function readersOf(process: ChildProcess, onLine: (stream: Stream) => OnLine): LineReader[] {
  const {stdout, stderr} = process
  return [new LineReader(stdout!, onLine('stdout')), new LineReader(stderr!, onLine('stderr'))]
}
