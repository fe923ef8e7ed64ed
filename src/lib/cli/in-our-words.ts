/**
 * oclif's parser complains in its own words; here they become jobq's: what was expected, what was got, what to do. Its
 * errors of one kind have no more in common than their text, so that is what they are told by.
 */
import type {Command} from '@oclif/core/command'
import {suggestion} from '../jobs/closest.ts'
import {JobqError, UsageError} from '../jobs/errors.ts'

interface OclifError extends Error {
  oclif?: {exit?: number}
  /** The words that are no flags of the command's, or more than it takes. */
  flags?: unknown
  args?: unknown
}

export function inOurWords(error: unknown, command: Command.Loadable): unknown {
  if (error instanceof JobqError || !(error instanceof Error)) return error
  const {oclif, flags, args, message} = error as OclifError
  if (oclif?.exit !== 2) return error
  if (Array.isArray(flags)) return unknownFlag(String(flags[0]), command)
  if (Array.isArray(args) && message.startsWith('Unexpected')) return unexpectedWord(String(args[0]), command)
  const [said, hint = ''] = ofFlags(message, command) ??
    ofArgument(message, command) ?? [lowerFirst(message.split('\n', 1)[0]!)]
  return new UsageError(said, {hint: hint + seeHelp(command), cause: error})
}

export function unknownFlag(word: string, command: Command.Loadable): UsageError {
  const [unknown = ''] = word.split('=')
  const known = Object.keys(command.flags).map(name => `--${name}`)
  return new UsageError(`unknown flag ${unknown}`, {hint: suggestion(unknown, known) + seeHelp(command)})
}

export function seeHelp({id}: Command.Loadable): string {
  return `see \`jobq ${id} --help\``
}

/** Where a word alone is meant for a flag, which one. */
const MEANT_FOR: Readonly<Record<string, (word: string) => string>> = {
  copy: () => 'the other queue is --to URL, the one that is copied --db URL',
  enqueue: () => `the job's argument is --arg JSON, any text is --serializer none --arg TEXT`,
  init: () => 'a database is --db URL',
  list: word => (/^-?\d+$/.test(word) ? 'so many rows are --limit N' : 'those of a function are --func F'),
  stats: () => 'a single function is --func F',
  work: () => 'functions are --abilities A,B without blanks, a folder of workers is --workers DIR',
}

function unexpectedWord(word: string, command: Command.Loadable): UsageError {
  const [argument] = Object.keys(command.args)
  const expected = argument ? `one word that is no flag, ${argument.toUpperCase()}` : 'flags only'
  const meant = Object.hasOwn(MEANT_FOR, command.id) ? `${MEANT_FOR[command.id]!(word)}; ` : ''
  return new UsageError(`expected ${expected}, got ${argument ? 'also ' : ''}${JSON.stringify(word)}`, {
    hint: meant + seeHelp(command),
  })
}

/** @returns the message, and what to do if that is more than to see the help */
function ofFlags(text: string, {flags}: Command.Loadable): [message: string, hint?: string] | null {
  const [, empty, choice] = /^Flag --([\w-]+) expects (?:a value|one of these values: (.*))/.exec(text) ?? []
  if (empty) {
    const {helpValue} = flags[empty] as {helpValue?: string}
    return [`--${empty}: expected ${choice ? `one of ${choice}` : `a value (${helpValue})`}, got none`]
  }
  const [, wrong, got, options] = /^Expected --([\w-]+)=(.*) to be one of: (.*)/s.exec(text) ?? []
  if (wrong) {
    const meant = suggestion(got!, options!.split(/, |\n/))
    return [`--${wrong}: expected one of ${options!.split('\n', 1)[0]}, got ${JSON.stringify(got)}`, meant]
  }
  const [, twice] = /^Flag --([\w-]+) can only be specified once/.exec(text) ?? []
  if (twice) return [`--${twice}: expected it once, got it twice`]
  const [, one, other] = /--([\w-]+)(?:=.*)? cannot also be provided when using --([\w-]+)/.exec(text) ?? []
  if (one) return [`expected one of --${one}, --${other}, got both`]
  const [, flag, needed] = /must be provided when using --([\w-]+): --([\w-]+)/.exec(text) ?? []
  return flag ? [`--${flag}: expected --${needed} with it, got it alone`] : null
}

function ofArgument(text: string, {args}: Command.Loadable): [message: string, hint: string] | null {
  const [, got, options] = /^Expected (.*) to be one of: ([^\n]*)/s.exec(text) ?? []
  const [name = ''] = Object.keys(args)
  if (got === undefined || !options) return null
  const meant = suggestion(got, options.split(', '))
  return [`${name.toUpperCase()}: expected one of ${options}, got ${JSON.stringify(got)}`, meant]
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}
