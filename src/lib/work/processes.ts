/**
 * Processes that run jobs: each leads a process group of its own, so that it can be stopped with all it has started,
 * and so that Ctrl-C on the terminal reaches the dispatcher only.
 *
 * The guardian sees to it that none outlives the dispatcher: a /bin/sh that reads a pipe from it, and kills the groups
 * it was told of when the pipe ends, however the dispatcher has died. A child in a busy loop could not do that itself.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {ProcessError} from '../errors.ts'
import {STOP_GRACE_MS} from './executor.ts'

/**
 * An end is told with the next start, or so much later: each time the shell is woken takes 50 µs. Should the dispatcher die
 * in between, what the ended job has left in the background dies with it.
 */
const ENDED_MS = 20

const GUARDIAN = `trap '' HUP INT TERM
live=' '
while read -r op pid; do
  case $op in
    +) live="$live$pid " ;;
    -) case $live in *" $pid "*) live="\${live%% $pid *} \${live#* $pid }" ;; esac ;;
  esac
done
for pid in $live; do kill -KILL "-$pid" 2>/dev/null; done
rm -f "$1"; rmdir "\${1%/*}" 2>/dev/null`

export class Guardian {
  readonly #shell: ChildProcess
  /** What it has not been told of yet. */
  #ended = ''
  #timer: NodeJS.Timeout | undefined

  /** @param file removed as well, and its folder if that leaves it empty */
  constructor(file: string) {
    const words = ['-c', GUARDIAN, 'jobq-guardian', file]
    this.#shell = spawn('/bin/sh', words, {detached: true, stdio: ['pipe', 'ignore', 'ignore']})
    this.#shell.on('error', () => {})
    if (this.#shell.pid === undefined) throw new ProcessError()
    this.#shell.stdin!.on('error', () => {}) // it can only be gone: then there is no one to tell
    this.#shell.unref()
  }

  watch(child: ChildProcess): void {
    if (child.pid === undefined) return
    this.#tell(`+ ${child.pid}\n`)
    child.once('exit', () => {
      this.#ended += `- ${child.pid}\n`
      this.#timer ??= setTimeout(() => this.#tell(''), ENDED_MS).unref()
    })
  }

  #tell(started: string): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#shell.stdin!.write(this.#ended + started)
    this.#ended = ''
  }

  /** Resolves when it has cleared up. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#shell.ref()
    this.#shell.stdin!.end(this.#ended)
    if (this.#shell.exitCode === null && this.#shell.signalCode === null)
      await new Promise(resolve => this.#shell.once('exit', resolve))
  }
}

/** Sends a signal to a process's whole group. @returns whether any of it is left */
export function signalGroup(child: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  if (child.pid === undefined) return false
  try {
    return process.kill(-child.pid, signal)
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException
    if (code === 'EPERM') return true // it runs as another user by now: `sudo` in a worker
    if (code === 'ESRCH') return false
    throw error
  }
}

/**
 * TERM now, KILL after the grace.
 * @returns to be called when the process has ended: calls the KILL off, unless some of its group is still there
 */
export function stopGroup(child: ChildProcess): () => void {
  signalGroup(child, 'SIGTERM')
  const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), STOP_GRACE_MS)
  return () => {
    if (!signalGroup(child, 0)) clearTimeout(timer)
  }
}
