/**
 * Runs a command whose words were read, by argv.ts or by oclif: `run` in cli/run/NAME.ts does it, prints for people,
 * and returns the document for --json.
 */
import {checkFunc, checkUniqkey} from '../jobs/names.ts'
import {toJson} from '../render/json.ts'
import {type KnownCommand, type PlainFlags, plainWords} from './argv.ts'
import {say} from './output-guard.ts'

interface Module {
  run(flags: object): Promise<unknown>
}

declare global {
  interface ImportMeta {
    /** Of each command the JSON of a KnownCommand, put here by the build (rolldown.config.js). */
    readonly commands?: Readonly<Record<string, string>>
  }
}

/** Null from the sources (bin/dev.js), where a manifest would tell of the last build's flags. */
export const COMMANDS = import.meta.commands ?? null

/** The flags of a command whose words are plain, else null: then it is oclif's affair. */
export function plainFlags(name: string, words: readonly string[]): PlainFlags | null {
  if (!COMMANDS || !Object.hasOwn(COMMANDS, name)) return null
  return plainWords(words, JSON.parse(COMMANDS[name]!) as KnownCommand)
}

/** What no job can have selects none: `--func "$FUNC"` of a script in which that is not set. @throws UsageError */
function checkSelectors({func, uniqkey}: PlainFlags): void {
  if (typeof func === 'string') checkFunc(func, '--func')
  if (typeof uniqkey === 'string') checkUniqkey(uniqkey, '--uniqkey')
}

/** @param flags and arguments, by their names. @throws UsageError, and what the command throws */
export async function runCommand(name: string, flags: PlainFlags): Promise<void> {
  const {run} = (await import(`./run/${name}.ts`)) as Module
  if (name !== 'enqueue') checkSelectors(flags)
  const document = await run(flags)
  if (flags.json && document !== undefined) say(`${toJson(document)}\n`)
}
