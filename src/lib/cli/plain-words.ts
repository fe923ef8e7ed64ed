/**
 * Plain words are those that mean the same however they are looked at: `FUNC --flag value --switch …`. They are read
 * here, by the flags' names and kinds as oclif.manifest.json has them, which the build makes from the commands
 * themselves. Whatever is not plain (help, a mistake, `--`) is left to oclif.
 */

/** A flag as the manifest describes it. */
export interface KnownFlag {
  type: 'boolean' | 'option'
  multiple?: boolean
  options?: string[]
}

export type KnownFlags = Readonly<Record<string, KnownFlag>>
export type PlainFlags = Record<string, string | boolean | string[]>

/** @returns the one word that is no flag as `func`, and the flags; null if the words are not plain */
export function plainWords(words: readonly string[], known: KnownFlags): PlainFlags | null {
  const flags: PlainFlags = {}
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
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
    const value = inline ?? words[++i]
    if (value === undefined || (value.startsWith('-') && value !== '-')) return null
    if (flag.options && !flag.options.includes(value)) return null
    if (flag.multiple) flags[name] = [...((flags[name] as string[] | undefined) ?? []), value]
    else if (flags[name] === undefined) flags[name] = value
    else return null
  }
  return flags.func === undefined ? null : flags
}
