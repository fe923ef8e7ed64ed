/**
 * The quick lane: `jobq enqueue` without oclif. Scripts call it in loops, and evaluating oclif costs more than all the
 * rest together (about 35 ms of 75). It reads the flags' names and kinds from oclif.manifest.json, which the build
 * makes from the command itself, so that there is one definition of them; whatever is not a plain
 * `enqueue FUNC --flag value …` (help, a mistake, a bulk) is left to oclif.
 */
import {readFileSync} from 'node:fs'
import {type EnqueueFlags, runEnqueue} from './enqueue-run.ts'

interface ManifestFlag {
  type: 'boolean' | 'option'
  multiple?: boolean
  env?: string
  options?: string[]
}

/** @returns whether it was done here */
export async function quickEnqueue(argv: readonly string[], manifest: URL): Promise<boolean> {
  const known = enqueueFlags(manifest)
  const flags = known && parse(argv, known)
  if (!flags) return false
  const {line, document} = await runEnqueue(flags)
  process.stdout.write(flags.json ? `${JSON.stringify(document)}\n` : `${line}\n`)
  return true
}

function enqueueFlags(manifest: URL): Record<string, ManifestFlag> | null {
  try {
    return JSON.parse(readFileSync(manifest, 'utf8')).commands.enqueue.flags
  } catch {
    return null // run from the sources: there is no manifest
  }
}

function parse(
  argv: readonly string[],
  known: Record<string, ManifestFlag>,
): (EnqueueFlags & {json?: boolean}) | null {
  const flags: Record<string, string | boolean | string[]> = {}
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (!word.startsWith('-')) {
      if (flags.func !== undefined) return null
      flags.func = word
      continue
    }
    const [, name = '', inline] = /^--([a-z-]+)(?:=(.*))?$/s.exec(word) ?? []
    const flag = Object.hasOwn(known, name) ? known[name]! : null
    if (!flag) return null
    if (flag.type === 'boolean') {
      if (inline !== undefined) return null
      flags[name] = true
      continue
    }
    const value = inline ?? argv[++i]
    if (value === undefined || (value.startsWith('-') && value !== '-')) return null
    if (flag.options && !flag.options.includes(value)) return null
    if (flag.multiple) flags[name] = [...((flags[name] as string[] | undefined) ?? []), value]
    else if (flags[name] === undefined) flags[name] = value
    else return null
  }
  return flags.func === undefined ? null : (flags as EnqueueFlags & {json?: boolean})
}
