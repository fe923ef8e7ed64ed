/**
 * Reads plain words, those that mean the same whoever reads them: `WORD… --flag value --switch …`. The flags' names and
 * kinds are in oclif.manifest.json, which the build makes from the commands. What is not plain (help, a mistake, `--`)
 * is left to oclif.
 */

/** A command as the manifest describes it. */
export interface KnownCommand {
  args: Readonly<Record<string, {multiple?: boolean; options?: string[]}>>
  flags: Readonly<Record<string, KnownFlag>>
  /** Flags whose value may be left out, and what they mean then. */
  bare: Readonly<Record<string, string>>
}

/** What the build lets through: a flag with more to it than that, it refuses. */
interface KnownFlag {
  type: 'boolean' | 'option'
  multiple?: boolean
  options?: string[]
  /** The variable that gives its value where the words don't. */
  env?: string
  exclusive?: string[]
  dependsOn?: string[]
}

export type PlainFlags = Record<string, string | boolean | string[]>

/** @returns the flags, and the words that are none under their argument's name; null if the words are not plain */
export function plainWords(
  words: readonly string[],
  {args, flags: known, bare}: KnownCommand,
): PlainFlags | null {
  const [[argument, {multiple: many = false, options}] = [undefined, {}], ...more] = Object.entries(args)
  if (more.length > 0) return null
  const flags: PlainFlags = {}
  const add = (name: string, value: string, isMany = false) => {
    if (isMany) flags[name] = [...((flags[name] as string[] | undefined) ?? []), value]
    else if (flags[name] === undefined) flags[name] = value
    else return false
    return true
  }
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    if (!word.startsWith('-')) {
      if (argument === undefined || !(options?.includes(word) ?? true)) return null
      if (!add(argument, word, many)) return null
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
    const value = inline ?? (Object.hasOwn(bare, name) && isBare(words[i + 1]) ? bare[name] : words[++i])
    if (value === undefined || (value.startsWith('-') && value !== '-')) return null
    if (!add(name, value, flag.multiple)) return null
  }
  return addEnvironment(flags, known) && isAllowed(flags, known) ? flags : null
}

/** Is a flag bare before this word? -5 is none. */
export function isBare(next: string | undefined): boolean {
  return next === undefined || /^-(?!\d)/.test(next)
}

/** @returns whether that is plain: what oclif takes for true is its affair */
function addEnvironment(flags: PlainFlags, known: KnownCommand['flags']): boolean {
  for (const [name, {type, env}] of Object.entries(known)) {
    const value = env === undefined ? '' : process.env[env]
    if (!value || flags[name] !== undefined) continue
    if (type === 'boolean') return false
    flags[name] = value
  }
  return true
}

function isAllowed(flags: PlainFlags, known: KnownCommand['flags']): boolean {
  return Object.entries(known).every(([name, {options, exclusive = [], dependsOn = []}]) => {
    const value = flags[name]
    if (value === undefined) return true
    if (options && !options.includes(value as string)) return false
    return (
      !exclusive.some(other => flags[other] !== undefined) &&
      dependsOn.every(other => flags[other] !== undefined)
    )
  })
}
