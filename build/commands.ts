/**
 * The commands as oclif.manifest.json has them, for what the build makes of it: man pages and completions. What a word
 * or a flag's value is, is told by the name that help has for it: nothing here knows a command by its name.
 */

export interface Manifest {
  commands: Record<string, Command>
}

export interface Command {
  id: string
  summary: string
  description: string
  usage?: string[]
  examples?: {description: string; command: string}[]
  args: Record<string, Argument>
  flags: Record<string, Flag>
  /** Flags whose value may be left out. */
  bare: Record<string, string>
}

export interface Argument {
  name: string
  description: string
  multiple?: boolean
  options?: string[]
}

export interface Flag {
  name: string
  type: 'boolean' | 'option'
  summary?: string
  description?: string
  helpValue?: string
  helpGroup?: string
  env?: string
  multiple?: boolean
  hidden?: boolean
  options?: string[]
  exclusive?: string[]
}

/** What can stand in a place: one of some words, or what a kind has. `func-list`: functions with commas between. */
export type Values = readonly string[] | Kind | null
export type Kind = 'func' | 'func-list' | 'id' | 'exception' | 'command' | 'file' | 'folder'

const KINDS: Readonly<Record<string, Kind>> = {
  F: 'func',
  FUNC: 'func',
  'A,B…': 'func-list',
  ID: 'id',
  EXCEPTION_ID: 'exception',
  COMMAND: 'command',
  FILE: 'file',
  URL: 'file', // a database is a file, or an address that only its owner knows
  DIR: 'folder',
}

/** A flag that help has for every command, though the manifest does not. */
export const HELP: Flag = {name: 'help', type: 'boolean', summary: 'show help', helpGroup: 'GLOBAL'}

export function shownFlags(command: Command): Flag[] {
  return Object.values(command.flags).filter(({hidden}) => !hidden)
}

/** What help has in the place of its value. */
export function valueName({helpValue, options = []}: Flag): string {
  return helpValue ?? options.join('|')
}

/** Null: any text. */
export function valuesOf({helpValue = '', options}: Flag): Values {
  if (options) return options
  const words = helpValue.split('|')
  return words.length > 1 ? words : (KINDS[helpValue] ?? null)
}

export function valuesOfArgument({name, options}: Argument): Values {
  return options ?? KINDS[name.toUpperCase()] ?? null
}

/** A flag in a line: oclif's own --json has a description only. */
export function summaryOf({summary, description}: Flag): string {
  return plain(summary ?? description ?? '')
}

/** oclif's templates filled in. @throws for one that is not known here */
export function plain(text: string, {id}: Pick<Command, 'id'> = {id: ''}): string {
  const filled = text.replaceAll('<%= config.bin %>', 'jobq').replaceAll('<%= command.id %>', id)
  if (filled.includes('<%')) throw new Error(`expected a template that the build knows, got ${filled}`)
  return filled
}

/** How a completion writes what can stand in a place, in one word: a kind, `=a|b` of some words, `-` for any text. */
export function valuesWord(values: Values): string {
  return values === null ? '-' : typeof values === 'string' ? values : `=${values.join('|')}`
}
