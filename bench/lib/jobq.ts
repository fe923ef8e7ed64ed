/**
 * jobq as a user has it: built from src into a folder of its own (nobody's dist is disturbed, and nobody disturbs a
 * measurement by building), started as its own process or imported as a library.
 */
import {type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync} from 'node:child_process'
import {cpSync, mkdirSync, rmSync, symlinkSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const BENCH = join(ROOT, 'bench')
const STAGE = join(BENCH, '.stage')

const BUILT_FROM = [
  'bin',
  'build',
  'docs',
  'src',
  'CHANGELOG.md',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'rolldown.config.js',
]

type QueueModule = typeof import('../../src/lib/index.ts')

export class Jobq {
  readonly #stage: string
  readonly queue: QueueModule

  private constructor(stage: string, queue: QueueModule) {
    this.#stage = stage
    this.queue = queue
  }

  static async build(): Promise<void> {
    rmSync(STAGE, {recursive: true, force: true})
    mkdirSync(STAGE, {recursive: true})
    for (const path of BUILT_FROM) cpSync(join(ROOT, path), join(STAGE, path), {recursive: true})
    symlinkSync(join(ROOT, 'node_modules'), join(STAGE, 'node_modules'))
    execFileSync('npm', ['run', '--silent', 'build'], {
      cwd: STAGE,
      env: cleanEnvironment(),
      stdio: ['ignore', 2, 'inherit'],
    })
  }

  /** As build() has made it. */
  static async built(): Promise<Jobq> {
    return new Jobq(STAGE, await import(pathToFileURL(join(STAGE, 'dist/lib/index.cjs')).href))
  }

  /** The library, for a program that imports it. */
  get library(): string {
    return pathToFileURL(join(this.#stage, 'dist/lib/index.cjs')).href
  }

  get command(): string[] {
    return [process.execPath, join(this.#stage, 'bin/run.js')]
  }

  /** Runs it to its end, and says how long that took, in ms. @throws if it fails */
  time(args: readonly string[], options: SpawnOptions = {}): number {
    return timeProgram([...this.command, ...args], options)
  }

  start(args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [node, ...words] = [...this.command, ...args]
    return spawn(node!, words, {env: cleanEnvironment(), ...options})
  }
}

export function timeProgram([file, ...words]: readonly string[], options: SpawnOptions = {}): number {
  const start = performance.now()
  const {status, error, stderr} = spawnSync(file!, words, {
    env: cleanEnvironment(),
    stdio: 'pipe',
    ...options,
  })
  const time = performance.now() - start
  if (error || status !== 0) throw new Error(`${words.join(' ')} failed: ${error?.message ?? stderr}`)
  return time
}

/** No setting of this machine's user, nor of npm's. */
export function cleanEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const foreign = /^(JOBQ_|XDG_|NODE_|NO_COLOR$|FORCE_COLOR$|npm_)/
  return {...Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name))), ...more}
}

/** One of the small programs that jobq is compared with, or that play a second process. */
export function program(name: string): string {
  return join(BENCH, 'programs', name)
}
