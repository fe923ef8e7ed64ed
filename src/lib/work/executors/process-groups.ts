/**
 * Processes that run jobs: each leads a process group of its own, so that it can be stopped with all it has started,
 * and so that Ctrl-C on the terminal reaches the dispatcher only.
 */
import {type ChildProcess, spawn} from 'node:child_process'
import {monotonic} from '../../jobs/clock.ts'
import {ProcessError} from '../../jobs/errors.ts'
import type {JobLog} from '../log/log.ts'
import {describeExit, STOP_GRACE_MS} from './executor.ts'
import {checkDescriptors} from './shortage.ts'

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
for pid in $live; do kill -KILL "-$pid" 2>/dev/null; done`

/** One that has ended is replaced at once, and one that has not lasted so long only after that time. */
const SHORT_LIFE_MS = 1000

/**
 * Sees to it that no job outlives the dispatcher: a /bin/sh that reads a pipe from it, and kills the groups it was told
 * of when the pipe ends, however the dispatcher has died. A child in a busy loop could not do that itself. A shell that
 * is killed is replaced, and told of all that run.
 */
export class Guardian {
  readonly #log: JobLog
  /** Those that are to be killed. */
  readonly #live = new Set<number>()
  #shell: ChildProcess
  #since = monotonic()
  /** What it has not been told of yet. */
  #ended = ''
  #timer: NodeJS.Timeout | undefined
  #restart: NodeJS.Timeout | undefined
  #isClosing = false

  /** @throws ProcessError */
  constructor(log: JobLog) {
    this.#log = log
    this.#shell = this.#start()
  }

  watch(child: ChildProcess): void {
    const {pid} = child
    if (pid === undefined) return
    this.#live.add(pid)
    this.#tell(`+ ${pid}\n`)
    child.once('exit', () => {
      this.#live.delete(pid)
      this.#ended += `- ${pid}\n`
      this.#timer ??= setTimeout(() => this.#tell(''), ENDED_MS).unref()
    })
  }

  #tell(started: string): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#shell.stdin!.write(this.#ended + started)
    this.#ended = ''
  }

  #start(): ChildProcess {
    const shell = startShell()
    this.#since = monotonic()
    shell.once('exit', (code, signal) => this.#hasDied(describeExit(code, signal)))
    return shell
  }

  #hasDied(how: string): void {
    if (this.#isClosing) return
    const hasLasted = monotonic() - this.#since >= SHORT_LIFE_MS
    this.#log.trouble(
      `the process that ends what this one leaves behind (jobq-guardian) ${how}: another takes its place`,
    )
    this.#replace(hasLasted ? 0 : SHORT_LIFE_MS)
  }

  #replace(inMs: number): void {
    this.#restart = setTimeout(() => {
      try {
        this.#shell = this.#start()
      } catch {
        this.#replace(SHORT_LIFE_MS) // for want of processes, say
        return
      }
      this.#ended = ''
      this.#tell([...this.#live].map(pid => `+ ${pid}\n`).join(''))
    }, inMs).unref()
  }

  /** Resolves when it has cleared up. */
  async close(): Promise<void> {
    this.#isClosing = true
    clearTimeout(this.#timer)
    clearTimeout(this.#restart)
    this.#shell.ref()
    this.#shell.stdin!.end(this.#ended)
    if (this.#shell.exitCode === null && this.#shell.signalCode === null)
      await new Promise(resolve => this.#shell.once('exit', resolve))
  }
}

function startShell(): ChildProcess {
  let shell: ChildProcess
  try {
    checkDescriptors()
    shell = spawn('/bin/sh', ['-c', GUARDIAN, 'jobq-guardian'], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
  } catch (cause) {
    throw new ProcessError(cause)
  }
  shell.on('error', () => {})
  if (shell.pid === undefined) throw new ProcessError()
  shell.stdin!.on('error', () => {}) // it can only be gone: then another is told
  shell.unref()
  return shell
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
