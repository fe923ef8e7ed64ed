/** A progress bar on standard error, for a person at a terminal. */

export interface Bar {
  update(done: number, words?: Record<string, unknown>): void
  setTotal(total: number): void
  stop(): void
}

/** @param format as cli-progress has it. It is gone when it stops. */
export async function startBar(
  total: number,
  format: string,
  words: Record<string, unknown> = {},
): Promise<Bar> {
  const {default: progress} = await import('cli-progress')
  const bar = new progress.SingleBar({
    format,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: Math.max(10, Math.min(40, (process.stderr.columns || 80) - 45)),
    hideCursor: true,
    linewrap: true, // lines of a log must not be cut
    forceRedraw: true, // it comes back below them
    clearOnComplete: true, // the summary says it all
    stream: process.stderr,
    gracefulExit: false,
  })
  bar.start(total, 0, words)
  return {
    update: (done, words = {}) => bar.update(done, words),
    setTotal: total => bar.setTotal(total),
    stop: () => {
      process.stderr.write('\u001b7') // it goes back to where it saved the cursor last, which is lines above at its start
      bar.stop()
    },
  }
}
