/**
 * A kill storm: two dispatchers, applications and whole commands that enqueue, and a killer that SIGKILLs them, their
 * children and the server, as a seed has it: the same seed chooses the same kinds of victims in the same order, with the
 * same pauses. In the end all is drained in good order, and judged by what the processes wrote outside the database.
 */
import {type ChildProcess, type SpawnOptions, spawn} from 'node:child_process'
import {once} from 'node:events'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {fileURLToPath} from 'node:url'
import {monotonic} from '../../../src/lib/jobs/clock.ts'
import {childrenOf, commandLineOf, isAlive, processesWith} from '../../support/alive.ts'
import {COMPILE_CACHE} from '../../support/compile-cache.ts'
import {RUN_JS} from '../../support/jobq.ts'
import {patient, Random} from '../../support/random.ts'
import {Started} from '../../support/started.ts'
import {until} from '../../support/until.ts'
import {Journal, type Victim} from './journal.ts'
import {judge, type Verdict} from './judge.ts'
import type {Place} from './place.ts'
import {isRunner, writeWorkers} from './workers.ts'

const ENQUEUER = fileURLToPath(new URL('./enqueuer.ts', import.meta.url))
const TICK_MS = 50
/** How long to wait for a child that is at a job, to kill that one. */
const CHILD_MS = 1000

/** How often which is chosen. `blackout`: all dispatchers, and a minute passes in which their leases run out. */
const CHOICES: Record<Victim | 'blackout', number> = {
  child: 60,
  command: 14,
  enqueuer: 6,
  dispatcher: 10,
  server: 6,
  blackout: 4,
}

export interface StormOptions {
  seed: number
  /** It ends with so many, or when the time is over. */
  kills: number
  seconds: number
  /** The flags of each `jobq work`. With --durable for all of them a killed server excuses nothing. */
  dispatchers: readonly (readonly string[])[]
}

/** @param folder of its own, for all that it writes. @throws AssertionError for a broken promise */
export async function storm(folder: string, place: Place, options: StormOptions): Promise<Verdict> {
  const scene = new Scene(folder, place, options)
  try {
    await scene.rage()
    await scene.calm()
  } finally {
    await scene.end()
  }
  const isDurable = options.dispatchers.every(flags => flags.includes('--durable'))
  return judge(scene.journal.read(), place, isDurable)
}

class Scene {
  readonly journal: Journal
  readonly #folder: string
  readonly #place: Place
  readonly #options: StormOptions
  readonly #env: NodeJS.ProcessEnv
  readonly #workFlags: string[]
  /** Who is to be started again when it is gone, by its slot. */
  readonly #dispatchers: ChildProcess[] = []
  readonly #enqueuers: ChildProcess[] = []
  #command: Started | undefined
  #isEnding = false
  #isDark = false
  #kills = 0
  readonly #ticker: NodeJS.Timeout
  #loops: Promise<void>[] = []

  constructor(folder: string, place: Place, options: StormOptions) {
    this.#folder = folder
    this.#place = place
    this.#options = options
    this.journal = new Journal(join(folder, 'journal'))
    this.#env = {
      PATH: process.env.PATH,
      HOME: folder,
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      JOBQ_DB: place.db,
      JOURNAL: this.journal.path,
    }
    this.#workFlags = writeWorkers(folder)
    this.#ticker = setInterval(() => this.journal.write('tick', Math.round(monotonic())), TICK_MS)
  }

  async rage(): Promise<void> {
    const {seed, dispatchers} = this.#options
    this.#loops = [
      ...dispatchers.map((flags, slot) => this.#keepWorking(slot, flags)),
      ...[0, 1].map(slot => this.#keepEnqueuing(slot, new Random(seed + 1 + slot))),
      this.#keepCommanding(new Random(seed + 3)),
    ]
    await this.#kill(new Random(seed))
  }

  // ---- who is killed

  async #kill(random: Random): Promise<void> {
    const giveUpAt = monotonic() + this.#options.seconds * 1000
    while (this.#kills < this.#options.kills && monotonic() < giveUpAt) {
      const what = random.weighted(CHOICES)
      const which = random.below(1000) / 1000
      const pause = random.between(30, 300)
      await sleep(pause)
      if (what === 'blackout') await this.#blackOut()
      else if (what === 'server') await this.#killServer(which)
      else this.#killProcess(what, await this.#candidates(what, which < 0.2), which)
    }
    if (this.#kills === 0) throw new Error('the storm found no one to kill')
  }

  /** @param any a child that runs no job will do, as when all are just starting */
  async #candidates(what: Victim, any: boolean): Promise<number[]> {
    const alive = (processes: (ChildProcess | undefined)[]) =>
      processes.filter(child => child !== undefined && isRunning(child)).map(child => child!.pid!)
    if (what === 'dispatcher') return alive(this.#dispatchers)
    if (what === 'enqueuer') return alive(this.#enqueuers)
    if (what === 'command') return alive([this.#command?.child])
    const giveUpAt = monotonic() + CHILD_MS
    for (;;) {
      const children = alive(this.#dispatchers).flatMap(childrenOf)
      const runners = children.filter(pid => isRunner(commandLineOf(pid)))
      const {atWork} = this.journal
      const those = any ? runners : runners.filter(pid => atWork.has(pid))
      if (those.length > 0) return those
      if (monotonic() > giveUpAt) return runners
      await sleep(20)
    }
  }

  #killProcess(what: Victim, pids: readonly number[], which: number): void {
    const pid = pids[Math.floor(which * pids.length)]
    if (pid === undefined || !isAlive(pid)) return
    this.journal.write('kill', what, pid)
    if (!slain(pid)) return
    this.journal.write('killed', what, pid)
    this.#kills++
  }

  /** The whole of it, or on PostgreSQL, as often, one of its processes, with which all its memory is gone. */
  async #killServer(which: number): Promise<void> {
    const {server, kind} = this.#place
    if (!server) return
    const {pid} = server
    this.journal.write('kill', 'server', pid)
    const backends = kind === 'PostgreSQL' && which < 0.5 ? backendsOf(pid) : []
    const backend = backends[Math.floor(which * 2 * backends.length)]
    if (backend === undefined || !slain(backend)) {
      await server.kill()
      await sleep(which * 300) // how long it is away is not what is tested
      await server.start()
    }
    this.journal.write('killed', 'server', pid)
    this.#kills++
  }

  async #blackOut(): Promise<void> {
    this.#isDark = true
    for (const {pid} of this.#dispatchers) if (pid) this.#killProcess('dispatcher', [pid], 0)
    await until('those who ran jobs are gone', () => this.#runners().length === 0)
    await this.#lapse()
    this.#isDark = false
  }

  #runners(): number[] {
    const pids = processesWith(`JOURNAL=${this.journal.path}`)
    return pids.filter(pid => isRunner(commandLineOf(pid)) || commandLineOf(pid).includes('\0work\0'))
  }

  /** A minute passes: no one who could renew a lease is there. */
  async #lapse(): Promise<void> {
    const sql = 'UPDATE job SET grabbed_until = 1 WHERE grabbed_until > 0'
    await until('the database can be written', () =>
      this.#place.query(sql).then(
        () => true,
        () => false,
      ),
    )
  }

  // ---- who is there to be killed

  async #keepWorking(slot: number, flags: readonly string[]): Promise<void> {
    while (!this.#isEnding) {
      if (this.#isDark) await until('there is light', () => !this.#isDark)
      if (this.#isEnding) return // who was to end them has been here
      const words = [
        'work',
        '--json',
        '--max-workers',
        '2',
        '--work-delay',
        '1',
        ...this.#workFlags,
        ...flags,
      ]
      const child = this.#spawn([RUN_JS, ...words])
      this.#dispatchers[slot] = child
      if (child.pid) this.journal.write('start', 'dispatcher', child.pid)
      await once(child, 'exit')
    }
  }

  async #keepEnqueuing(slot: number, random: Random): Promise<void> {
    for (let nth = 0; !this.#isEnding; nth++) {
      const seed = random.between(0, 2 ** 31)
      const child = this.#spawn([ENQUEUER, `a${slot}.${nth}`, String(seed)])
      this.#enqueuers[slot] = child
      await once(child, 'exit')
    }
  }

  async #keepCommanding(random: Random): Promise<void> {
    for (let nth = 0; !this.#isEnding; nth++) {
      const offer = `c.${nth}`
      const way = random.weighted({one: 6, many: 2, key: 2})
      const tokens = way === 'many' ? Array.from({length: 10}, (_, i) => `${offer}.${i}`) : [offer]
      const args = tokens.map(token => JSON.stringify(`${token} ${random.between(0, 20)} 0 -`))
      const key = way === 'key' ? `k${random.between(0, 4)}` : '-'
      const words = way === 'many' ? ['--args-from', '-'] : ['--arg', args[0]!]
      if (way === 'key') words.push('--uniqkey', key)
      this.journal.write('offer', offer, 'Mod', key, ...tokens)
      const command = new Started(process.execPath, [RUN_JS, 'enqueue', 'Mod', ...words], {
        cwd: this.#folder,
        env: this.#env,
      })
      command.child.stdin!.end(way === 'many' ? args.map(arg => `${arg}\n`).join('') : '')
      this.#command = command
      const {code, stdout, stderr} = await command.exited
      const [, printed] = /^(\d+)\n/.exec(stdout) ?? []
      if (printed !== undefined) this.journal.write('stored', offer, way === 'many' ? '' : printed)
      else if (code !== null)
        this.journal.write(
          'refused',
          offer,
          stderr.includes('may have been stored') ? 'UNCERTAIN' : `exit-${code}`,
        )
      if (stderr !== '' && !stderr.startsWith('jobq: ')) this.journal.write(stderr)
    }
  }

  #spawn(words: readonly string[]): ChildProcess {
    const options: SpawnOptions = {
      cwd: this.#folder,
      env: this.#env,
      stdio: ['ignore', this.journal.fd, this.journal.fd],
    }
    return spawn(process.execPath, words, options)
  }

  // ---- the end

  /** What enqueues ends in good order, what works as well; then all that is left is worked. */
  async calm(): Promise<void> {
    this.#isEnding = true
    for (const child of [...this.#enqueuers, ...this.#dispatchers]) child.kill('SIGTERM')
    await Promise.all(this.#loops)
    await until('no process is left', () => processesWith(`JOURNAL=${this.journal.path}`).length === 0)
    await this.#lapse()
    await until('all is worked', () => this.#drain(), patient(120_000))
  }

  /** @returns whether nothing is left */
  async #drain(): Promise<boolean> {
    const child = this.#spawn([RUN_JS, 'work', '--drain', '--json', '--max-workers', '8', ...this.#workFlags])
    if (child.pid) this.journal.write('start', 'dispatcher', child.pid)
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0 && code !== 5) throw new Error(`a drain has ended with ${code}`)
    const left = await this.#place.query('SELECT id, grabbed_until FROM job')
    const held = left.filter(({grabbed_until}) => Number(grabbed_until) !== 0)
    if (held.length > 0) throw new Error(`no one is there, and ${held.length} jobs are held`)
    return left.length === 0
  }

  async end(): Promise<void> {
    this.#isEnding = true
    this.#isDark = false
    clearInterval(this.#ticker)
    processesWith(`JOURNAL=${this.journal.path}`).forEach(slain)
    await Promise.allSettled(this.#loops)
    processesWith(`JOURNAL=${this.journal.path}`).forEach(slain) // started in between
    this.journal.close()
  }
}

function isRunning({pid, exitCode, signalCode}: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null
}

/** @returns false if it was gone before */
function slain(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}

/** PostgreSQL's processes for connections. */
function backendsOf(postmaster: number): number[] {
  return childrenOf(postmaster).filter(pid => /^postgres: postgres jobs /.test(commandLineOf(pid)))
}
