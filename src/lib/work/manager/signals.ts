/** What the signals order that a `jobq work` hears, as Qudo's manager does. */

export interface SignalOrders {
  end(signal: NodeJS.Signals): void
  reload(): void
  resize(by: 1 | -1): void
  reopenLog(): void
}

export interface Signals {
  /** What has told this process to end. */
  readonly ended: NodeJS.Signals | null
  close(): void
}

/** From here on; what they did before is theirs again when it is closed. */
export function listen(orders: SignalOrders): Signals {
  let ended: NodeJS.Signals | null = null
  const end = (signal: NodeJS.Signals) => {
    ended ??= signal
    orders.end(signal)
  }
  const handlers: [NodeJS.Signals, (signal: NodeJS.Signals) => void][] = [
    ['SIGTERM', end],
    ['SIGINT', end],
    ['SIGHUP', () => orders.reload()],
    ['SIGTTIN', () => orders.resize(1)],
    ['SIGTTOU', () => orders.resize(-1)],
    ['SIGUSR1', () => orders.reopenLog()],
  ]
  for (const [signal, handler] of handlers) process.on(signal, handler)
  return {
    get ended() {
      return ended
    },
    close: () => {
      for (const [signal, handler] of handlers) process.off(signal, handler)
    },
  }
}
