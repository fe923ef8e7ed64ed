/**
 * The quick lane: a plain `jobq enqueue` into SQLite, and --version. Scripts call it in loops, and its start is most of
 * what it costs; so the build makes one file of this and all it needs, dist/quick/quick.cjs, and bin/run.js asks here
 * first.
 *
 * It takes only what it can do to the end without running anything of the user's: no configuration file, no hooks. For
 * all else it has done nothing, and dist/lib starts afresh. So in one process there is either this copy of jobq's
 * classes at work or that one.
 */
import {type Settings, settingsWithoutFile} from '../config/settings.ts'
import {Events} from '../hooks/events.ts'
import type {SqliteAddress} from '../store/address.ts'
import {type KnownCommand, plainWords} from './argv.ts'
import {type EnqueueResult, enqueueOne, shown} from './enqueue/one.ts'
import {readJob} from './enqueue/request.ts'
import {guarded, wantsJson} from './guarded.ts'
import {say} from './output-guard.ts'
import type {EnqueueFlags} from './run/enqueue.ts'
import {isVersion, versionText} from './version.ts'

/** `enqueue` in oclif.manifest.json, put here by the build (rolldown.config.js). */
declare const ENQUEUE: KnownCommand

/** @param root the package's folder. @returns null if it is not for this lane */
export function quickly(argv: readonly string[], root: string): Promise<void> | null {
  if (isVersion(argv[0])) return guarded(argv, async () => say(versionText(root, wantsJson(argv))))
  const flags = plainFlags(argv)
  const address = flags && sqliteAddress(flags)
  return address && guarded(argv, () => enqueue(flags, address))
}

function plainFlags([command, ...words]: readonly string[]): EnqueueFlags | null {
  if (command !== 'enqueue' || words.some(word => word.includes('\uFFFD'))) return null
  const flags = plainWords(words, ENQUEUE) as EnqueueFlags | null
  return flags?.['args-from'] === undefined && flags?.batch === undefined ? flags : null
}

function sqliteAddress(flags: EnqueueFlags): SqliteAddress | null {
  let settings: Settings | null
  try {
    settings = settingsWithoutFile(flags)
  } catch {
    return null // a mistake: it is told where all others are
  }
  const [address, ...more] = settings?.databases ?? []
  const isFile = address?.driver === 'sqlite' && address.path !== ':memory:'
  return isFile && more.length === 0 ? address : null
}

async function enqueue(flags: EnqueueFlags, {path, isDefault}: SqliteAddress): Promise<void> {
  const job = await readJob(flags)
  const {openSqlite} = await import('../store/sqlite/store.ts')
  const store = await openSqlite(path, {makeFolder: isDefault, brief: true})
  const events = new Events()
  const target = {
    add: async () => {
      const stored = await store.enqueue(job)
      events.tell('enqueue', () => stored)
      return stored
    },
    find: store.find,
  }
  let result: EnqueueResult
  try {
    result = await enqueueOne(target, job, flags['if-absent'] ?? false)
  } finally {
    await store.close()
  }
  say(shown(result, flags.json))
}
