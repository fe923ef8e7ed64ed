/**
 * Commands whose words are plain, without oclif: evaluating that takes 60 ms, as long as the rest of `jobq list`, and
 * 18 MB, which `jobq work` would keep. The same function does the work that oclif's command calls.
 */
import {readFileSync} from 'node:fs'
import {type KnownCommand, type PlainFlags, plainWords} from '../argv.ts'
import {say} from '../output-guard.ts'

/** Prints for people; what it returns is the document for --json. */
type Run = (flags: PlainFlags) => Promise<unknown>

const RUNS: Readonly<Record<string, () => Promise<Run>>> = {
  enqueue: async () => (await import('./enqueue.ts')).runEnqueue,
  list: async () => (await import('./list.ts')).runList,
  stats: async () => (await import('./stats.ts')).runStats,
  status: async () => (await import('./status.ts')).runStatus,
  work: async () => (await import('./work-flags.ts')).runWork,
}

/** @param root the package's folder. @returns whether the words were plain, and it is done */
export async function runPlainly([command = '', ...words]: readonly string[], root: URL): Promise<boolean> {
  if (!Object.hasOwn(RUNS, command)) return false
  const flags = plainWords(words, commandIn(new URL('oclif.manifest.json', root), command))
  if (!flags) return false
  const run = await RUNS[command]!()
  const document = await run(flags)
  if (!flags.json || document === undefined) return true
  const {toJson} = await import('../../render/json.ts')
  say(`${toJson(document)}\n`)
  return true
}

function commandIn(manifest: URL, command: string): KnownCommand {
  return JSON.parse(readFileSync(manifest, 'utf8')).commands[command]
}
