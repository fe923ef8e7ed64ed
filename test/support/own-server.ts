/**
 * A server of a test's own, from the system's binaries: in a folder of its own, on 127.0.0.1 at a port of its own. It may
 * be killed and started again on what it has left; it is gone, with its folder, when this process is.
 */
import {type ChildProcess, type SpawnOptions, spawn} from 'node:child_process'
import {chownSync, mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {freePort, unprivileged} from './machine.ts'
import {makeMysqlData, makePostgresData, REDO} from './server-data.ts'
import type {TestServer} from './servers.ts'

/** A node of a cluster that comes back copies all that the others have, and they are at work meanwhile. */
const START_MS = 240_000

type Answers = (url: string) => Promise<boolean>

/** How it is started, each time. */
export interface Recipe {
  command: string
  args: readonly string[]
  options: SpawnOptions
  folder: string
  url: string
  answers: Answers
  /** Ends it in good order. */
  signal: NodeJS.Signals
}

export class OwnServer implements TestServer {
  readonly url: string
  readonly #recipe: Recipe
  #child: ChildProcess | undefined
  #gone = Promise.resolve()
  readonly #onExit = () => {
    this.#child?.kill('SIGKILL')
    rmSync(this.#recipe.folder, {recursive: true, force: true, maxRetries: 10, retryDelay: 50})
  }

  /** Is not running yet. */
  constructor(recipe: Recipe) {
    this.url = recipe.url
    this.#recipe = recipe
    process.once('exit', this.#onExit)
  }

  /** Where its sockets are. */
  get folder(): string {
    return this.#recipe.folder
  }

  get pid(): number {
    return this.#child!.pid!
  }

  /**
   * Resolves when it answers. After a kill what ends before that is started again: the killed one's memory may be in use
   * for a moment.
   * @param env on top of this process's
   */
  async start(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const {command, args, options, url, answers} = this.#recipe
    const isFirst = this.#child === undefined
    const giveUpAt = performance.now() + START_MS
    for (;;) {
      const child = spawn(command, args, {...options, env: {...process.env, ...env}, stdio: 'ignore'})
      this.#child = child
      this.#gone = new Promise(resolve => child.once('exit', () => resolve()))
      while (!hasExited(child) && performance.now() < giveUpAt) {
        if (await answers(url)) return child.unref() // a test that fails before it stops it does not wait for it
        await sleep(50)
      }
      if (!isFirst && performance.now() < giveUpAt) continue
      this.#onExit()
      throw new Error(`${command} did not start (exit status ${child.exitCode})`)
    }
  }

  /** SIGKILL. Resolves when it is gone; those that it has started may stay a moment longer. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end(this.#recipe.signal)
    process.off('exit', this.#onExit)
    rmSync(this.#recipe.folder, {recursive: true, force: true})
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#child?.ref()
    this.#child?.kill(signal)
    await this.#gone
  }
}

/** @param server the path of mariadbd or mysqld */
export function ownMysql(server: string, answers: Answers): Promise<OwnServer> {
  return inFolder('jobq-mysql-', async folder => {
    const data = join(folder, 'data')
    const user = process.getuid?.() === 0 ? ['--user=root'] : []
    makeMysqlData(server, data)
    const port = await freePort()
    const args = [
      ...['--no-defaults', `--datadir=${data}`, ...user, '--bind-address=127.0.0.1', `--port=${port}`],
      ...[`--socket=${join(folder, 'socket')}`, `--pid-file=${join(folder, 'pid')}`],
      ...[`--tmpdir=${folder}`, REDO],
    ]
    const url = `mysql://root@127.0.0.1:${port}/mysql`
    return {command: server, args, options: {}, folder, url, answers, signal: 'SIGTERM'}
  })
}

/** @param server the path of postgres */
export function ownPostgres(server: string, answers: Answers): Promise<OwnServer> {
  return inFolder('jobq-postgres-', async folder => {
    const data = join(folder, 'data')
    const as = process.getuid?.() === 0 ? unprivileged() : null
    if (as) chownSync(folder, as.uid, as.gid)
    makePostgresData(data, {...as})
    const port = await freePort()
    const args = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder]
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`
    return {command: server, args, options: {cwd: folder, ...as}, folder, url, answers, signal: 'SIGINT'}
  })
}

/** Makes its folder and starts it in there. */
export async function inFolder(
  prefix: string,
  make: (folder: string) => Recipe | Promise<Recipe>,
): Promise<OwnServer> {
  const folder = mkdtempSync(join(tmpdir(), prefix))
  try {
    const server = new OwnServer(await make(folder))
    await server.start()
    return server
  } catch (error) {
    rmSync(folder, {recursive: true, force: true})
    throw error
  }
}

function hasExited({exitCode, signalCode}: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}
