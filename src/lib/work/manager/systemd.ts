/**
 * What a supervisor expects of `jobq work`: systemd's readiness, reload and watchdog messages, and PID 1's duties in a
 * container.
 */
import {execFile} from 'node:child_process'
import type {JobLog} from '../log/log.ts'

/** Tells systemd, through its own systemd-notify: Node has no datagram sockets of the kind that it listens on. */
export class SystemdNotifier {
  readonly #log: JobLog
  #watchdog: NodeJS.Timeout | undefined

  constructor(log: JobLog) {
    this.#log = log
  }

  /** READY=1; from now on the watchdog is fed, if the unit has one. */
  ready(): void {
    this.#send('--ready', `--status=working`)
    const micros = Number(process.env.WATCHDOG_USEC)
    if (micros > 0 && !this.#watchdog)
      this.#watchdog = setInterval(() => this.#send('WATCHDOG=1'), micros / 2000)
    this.#watchdog?.unref()
  }

  reloading(): void {
    // systemd wants to know when, by the clock that never jumps
    this.#send('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
  }

  stopping(): void {
    this.#send('STOPPING=1')
  }

  close(): void {
    clearInterval(this.#watchdog)
  }

  #send(...words: string[]): void {
    if (!process.env.NOTIFY_SOCKET) return
    execFile('systemd-notify', [`--pid=${process.pid}`, ...words], error => {
      if (error)
        this.#log.trouble(`systemd could not be told ${words.join(' ')} (${error.message.split('\n')[0]})`)
    })
  }
}

/**
 * The shell that is PID 1 in jobq's place: collects every process that lost its parent (Node collects only its own
 * children), passes signals on, and ends as jobq ends.
 */
const INIT = `for signal in TERM INT HUP USR1 TTIN TTOU; do trap "kill -$signal \\$pid 2>/dev/null" $signal; done
"$@" &
pid=$!
while :; do
  wait $pid; status=$?
  kill -0 $pid 2>/dev/null || exit $status
done`

/** As PID 1 of a container: becomes a small init that starts this very command again below it. */
export function becomeInit(): void {
  if (process.pid !== 1 || !process.execve) return
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  process.execve('/bin/sh', ['sh', '-c', INIT, 'sh', ...command], process.env)
}
