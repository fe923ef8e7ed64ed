/** Runs command lines one after the other in a process that stays (command-line-child.ts), and judges how they end. */
import assert from 'node:assert/strict'
import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {TestContext} from 'node:test'
import {fileURLToPath} from 'node:url'
import {EXIT} from '../../src/lib/jobs/errors.ts'
import type {Ended, Line} from './command-line-child.ts'
import type {Finished} from './started.ts'
import {tempFolder} from './temp.ts'

const CHILD = fileURLToPath(new URL('command-line-child.ts', import.meta.url))
/** After so many its memory is not told from a short command's any more. */
const LINES_PER_CHILD = 3000
const HANGS_MS = 20_000

export class CommandLines {
  /** Deep enough that no `../..` of an input leads out of the test's own. */
  readonly cwd: string
  readonly db: string
  readonly #folder: string
  readonly #files: {stdin: number; stdout: number; stderr: number}
  #child: ChildProcess | null = null
  #lines = 0
  #heard = (_ended: Ended | string) => {}

  constructor(t: Pick<TestContext, 'after'>) {
    this.#folder = tempFolder(t)
    this.cwd = join(this.#folder, 'a/b/c/d/e')
    this.db = join(this.#folder, 'jobs.db')
    mkdirSync(this.cwd, {recursive: true})
    writeFileSync(this.#path('stdin'), '')
    this.#files = {
      stdin: openSync(this.#path('stdin'), 'r'),
      stdout: openSync(this.#path('stdout'), 'a+'),
      stderr: openSync(this.#path('stderr'), 'a+'),
    }
    t.after(() => {
      this.#child?.kill('SIGKILL')
      for (const fd of Object.values(this.#files)) closeSync(fd)
    })
  }

  /** @param env on top of an environment without settings but JOBQ_DB */
  async run(argv: string[], env: Record<string, string> = {}): Promise<Finished> {
    if (this.#lines++ % LINES_PER_CHILD === 0) await this.#restart()
    const child = this.#child!
    child.send({argv, env: {JOBQ_DB: this.db, ...env}} satisfies Line)
    const timer = setTimeout(() => child.kill('SIGKILL'), HANGS_MS)
    const said = await new Promise<Ended | string>(resolve => {
      this.#heard = resolve
    }).finally(() => clearTimeout(timer))
    if (typeof said === 'string') {
      this.#lines = 0
      assert.fail(`the process ended (${said}): ${JSON.stringify(argv)}\n${this.#taken('stderr')}`)
    }
    return {code: said.code, signal: null, stdout: this.#taken('stdout'), stderr: this.#taken('stderr')}
  }

  async #restart(): Promise<void> {
    this.#child?.removeAllListeners().kill('SIGKILL')
    const {stdin, stdout, stderr} = this.#files
    this.#child = spawn(process.execPath, ['--no-warnings', CHILD], {
      cwd: this.cwd,
      stdio: [stdin, stdout, stderr, 'ipc'],
      env: {
        ...{PATH: process.env.PATH, HOME: this.#folder, XDG_DATA_HOME: join(this.#folder, 'data')},
        ...{TZ: 'Asia/Seoul', NODE_V8_COVERAGE: undefined},
      },
    })
    await once(this.#child, 'message')
    this.#child.on('message', (ended: Ended) => this.#heard(ended))
    this.#child.on('exit', (code, signal) => this.#heard(`${signal ?? code}`))
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }

  #taken(name: 'stdout' | 'stderr'): string {
    const text = readFileSync(this.#path(name), 'utf8')
    if (text !== '') ftruncateSync(this.#files[name])
    return text
  }
}

const STATUSES: readonly number[] = Object.values(EXIT)
/** What a terminal obeys, and what breaks or turns a line. */
const UNPRINTABLE = /[^\P{Cc}\n\t]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u

/** They tell more than one line on standard error: a log, a line an exception. */
const TELLING = ['work', 'retry', 'stats', 'status']

/**
 * However a command line ends: with a status of the table in docs/commands.md, without a stack trace, in printable text; a
 * mistake with one line, and under --json with one document.
 * @returns the status
 */
export function assertHonest({code, signal, stdout, stderr}: Finished, argv: readonly string[]): number {
  const isTelling = TELLING.includes(argv[0] ?? '')
  const all = `${stdout}${stderr}`
  assert.equal(signal, null)
  assert.ok(STATUSES.includes(code!), `exit status ${code}`)
  assert.doesNotMatch(all, /^\s+at .*:\d+:\d+\)?$/m, 'a stack trace')
  assert.doesNotMatch(all, /"INTERNAL"|\bunexpected: |this is a defect/, 'an error that jobq did not foresee')
  assert.doesNotMatch(all, UNPRINTABLE)
  const end = argv.indexOf('--')
  const isJson = argv.slice(0, end < 0 ? argv.length : end).includes('--json')
  if (argv[0] === 'check' && code !== EXIT.done) {
    // It has statuses of its own, and says what is wrong where it says all else
    assert.ok(code! <= 3, `exit status ${code}`)
    if (isJson) assert.ok('status' in JSON.parse(stdout))
    else assert.match(stdout, /^JOBQ (WARNING|CRITICAL|UNKNOWN) - [^\n]+\n$/)
  } else if (isJson && code !== EXIT.done && !isTelling) {
    const {error} = JSON.parse(stdout) as {error?: Record<string, unknown>}
    if (error) assert.deepEqual(Object.keys(error), ['code', 'message', 'hint'])
  } else if (!isTelling && (code === EXIT.usage || code === EXIT.failed)) {
    assert.match(stderr, /^(jobq: [^\n]+\n)+$/)
    // Each database that is out of reach has its line, each job that has not ended, and each line that is wrong by itself
    const databases = argv.filter(word => /^--(db|to)\b/.test(word)).length
    const areSeveral = databases > 1 || code === EXIT.failed || argv.includes('--each')
    assert.ok(areSeveral || /^[^\n]+\n$/.test(stderr), stderr)
  }
  return code!
}
