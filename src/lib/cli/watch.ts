/**
 * `--watch`: draws a frame again and again until INT or TERM. On a terminal it is a screen, and the last one stays when it
 * ends; elsewhere they follow each other.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import {Screen} from './screen.ts'
import {Stop} from './stop.ts'

/** Ends in order when it is stopped: there is nothing else that it could be waiting for. */
export async function watch(seconds: number, frame: () => Promise<string>, isDrawn: boolean): Promise<void> {
  if (isDrawn) await watchDrawn(seconds, frame)
  else {
    using stop = new Stop()
    while (!stop.signal.aborted) {
      process.stdout.write(await frame())
      await pause(seconds, stop.signal)
    }
  }
}

async function watchDrawn(seconds: number, frame: () => Promise<string>): Promise<void> {
  let resized = new AbortController()
  let last = ''
  const screen = new Screen(() => resized.abort())
  const end = () => screen.end(last)
  using stop = new Stop(end)
  try {
    while (!stop.signal.aborted) {
      resized = new AbortController()
      last = await frame()
      screen.draw(titled(last, seconds, screen.size.rows))
      await pause(seconds, AbortSignal.any([stop.signal, resized.signal]))
    }
  } finally {
    end()
  }
}

function titled(frame: string, seconds: number, rows: number): string[] {
  const title = `${new Date().toLocaleTimeString('sv')}  every ${seconds} s, Ctrl-C ends`
  const all = [title, '', ...frame.trimEnd().split('\n')]
  return all.length <= rows ? all : [...all.slice(0, rows - 1), `… ${all.length - rows + 1} lines more`]
}

async function pause(seconds: number, signal: AbortSignal): Promise<void> {
  await sleep(seconds * 1000, undefined, {signal}).catch(() => {})
}
