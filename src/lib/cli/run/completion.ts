/**
 * `jobq completion`: prints a script that the build has made (build/completion), or, where such a script asks for them with
 * --values, what there is: a value a line, with a tab and a description behind it. Who presses TAB wants no message, and no
 * database made: whatever goes wrong, there is less to complete.
 */
import {existsSync, readFileSync} from 'node:fs'
import type {JobQueue} from '../../client/queue.ts'
import {UsageError} from '../../jobs/errors.ts'
import {idOf} from '../../jobs/job.ts'
import {printable} from '../../jobs/printable.ts'
import {EXTENSION, LIBRARY} from '../../own-modules.ts'
import {withQueue} from '../command-queue.ts'
import {printer, say} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'
import type {Shell, ValueKind} from './completion-words.ts'

/** A hand on the keyboard waits. */
const PATIENCE_MS = 1000
/** More than that no one looks through. */
const MOST = 50
/** So many rows are looked at for ids that begin as the word does. */
const LOOKED_AT = 1000

const SCRIPTS = new URL(EXTENSION === '.ts' ? '../../dist/completion/' : '../completion/', LIBRARY)
const FILES: Readonly<Record<Shell, string>> = {bash: 'jobq.bash', zsh: '_jobq', fish: 'jobq.fish'}

export interface CompletionFlags extends QueueFlags {
  shell?: Shell | undefined
  values?: ValueKind | undefined
  prefix?: string | undefined
  json?: boolean | undefined
}

export async function run(flags: CompletionFlags): Promise<{shell: Shell; script: string} | undefined> {
  const {shell, values, prefix = ''} = flags
  if (values) return sayValues(values, prefix, flags)
  if (shell === undefined)
    throw new UsageError('expected a shell, got none', {
      hint: 'jobq completion bash, to be kept with `source <(jobq completion bash)` in ~/.bashrc; jobq completion zsh, as ~/.zfunc/_jobq or in another folder of $fpath; jobq completion fish, as ~/.config/fish/completions/jobq.fish',
    })
  const script = readFileSync(new URL(FILES[shell], SCRIPTS), 'utf8')
  printer(flags.json)(script)
  return {shell, script}
}

async function sayValues(kind: ValueKind, prefix: string, flags: QueueFlags): Promise<undefined> {
  const timer = setTimeout(() => process.exit(), PATIENCE_MS)
  try {
    const settings = await commandSettings(flags)
    const isThere = settings.databases.every(
      address => address.driver !== 'sqlite' || existsSync(address.path),
    )
    if (!isThere) return
    await withQueue(settings, null, {onTrouble: () => {}}, async queue => {
      let count = 0
      for await (const [value, about] of VALUES[kind](queue, prefix)) {
        // What a line can't hold, or a terminal would obey, is not offered
        if (!value.startsWith(prefix) || printable(value) !== value || value.includes('\t')) continue
        say(about === '' ? `${value}\n` : `${value}\t${printable(about).replaceAll('\t', ' ')}\n`)
        if (++count === MOST && kind !== 'func') break
      }
    })
  } catch {
  } finally {
    clearTimeout(timer)
  }
}

type Values = AsyncGenerator<readonly [value: string, about: string]>

const VALUES: Readonly<Record<ValueKind, (queue: JobQueue, prefix: string) => Values>> = {
  async *func(queue) {
    for (const func of (await queue.funcs()).sort()) yield [func, '']
  },

  async *'func-list'(queue, prefix) {
    const before = prefix.slice(0, prefix.lastIndexOf(',') + 1)
    const named = before.split(',')
    for (const func of (await queue.funcs()).sort())
      if (!named.includes(func) && !func.includes(',')) yield [before + func, '']
  },

  /** Those in the queue, then those of the last failed attempts: `show`, `logs` and `retry` know them. */
  async *id(queue) {
    const seen = new Set<string>()
    for await (const {func, state, ...job} of queue.eachJob({limit: LOOKED_AT})) {
      seen.add(`${idOf(job)}`)
      yield [`${idOf(job)}`, `${func} ${state}`]
    }
    for await (const {jobId, db, func} of queue.eachException({limit: LOOKED_AT})) {
      if (jobId === null) continue
      const id = `${idOf({id: jobId, db})}`
      if (seen.has(id)) continue
      seen.add(id)
      yield [id, `${func} failed`]
    }
  },

  async *exception(queue) {
    for await (const {func, state, message, ...row} of queue.eachException({limit: LOOKED_AT}))
      if (state !== 'retried' && state !== 'cancelled')
        yield [`${idOf(row)}`, `${func} ${message.split('\n', 1)[0]!.slice(0, 60)}`]
  },
}
