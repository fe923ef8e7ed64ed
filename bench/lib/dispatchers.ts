/** Dispatchers as processes of their own, that drain at the same time. */
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {FUNC} from './floor.ts'
import {cleanEnvironment, program} from './jobq.ts'
import {terminate} from './processes.ts'
import type {Bench} from './scenario.ts'

export interface DispatcherOptions {
  prefetch?: number
  /** Of the host that it runs on. */
  prefix?: readonly string[]
}

export class Dispatcher {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Its databases are open when it resolves. */
  static async start(
    {jobq, defer}: Bench,
    db: readonly string[],
    {prefetch = 0, prefix = []}: DispatcherOptions = {},
  ): Promise<Dispatcher> {
    const words = [program('dispatcher.mjs'), jobq.library, FUNC, String(prefetch), ...db]
    const dispatcher = new Dispatcher(startChild([...prefix, process.execPath, ...words]))
    defer(() => dispatcher.stop())
    await heard(dispatcher.#child)
    return dispatcher
  }

  /** @returns how many jobs it has worked until nothing was ready, and when the last was done, in ms since 1970 */
  async drain(): Promise<{done: number; last: number}> {
    this.#child.send('drain')
    return (await heard(this.#child)) as {done: number; last: number}
  }

  stop(): Promise<void> {
    return terminate(this.#child)
  }
}

/** With a channel to this process, whose end ends it. */
export function startChild([command, ...words]: readonly string[]): ChildProcess {
  return spawn(command!, words, {stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: cleanEnvironment()})
}

/** What it says next. @throws if it ends before */
export async function heard(child: ChildProcess): Promise<unknown> {
  const over = new AbortController()
  const {signal} = over
  try {
    return await Promise.race([
      once(child, 'message', {signal}).then(([said]) => said),
      once(child, 'exit', {signal}).then(([code]) => {
        throw new Error(`a process of the measurement ended with ${code}`)
      }),
    ])
  } finally {
    over.abort()
  }
}

/** @returns jobs a second of all together */
export async function drainAll(dispatchers: readonly Dispatcher[], count: number): Promise<number> {
  const start = Date.now()
  const drained = await Promise.all(dispatchers.map(dispatcher => dispatcher.drain()))
  const sum = drained.reduce((sum, {done}) => sum + done, 0)
  if (sum !== count) throw new Error(`expected ${count} jobs, got ${sum}`)
  return count / ((Math.max(...drained.map(({last}) => last)) - start) / 1000)
}
