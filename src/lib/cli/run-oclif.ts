/** oclif, with its parser's complaints in jobq's words: what was expected, what was got, what to do. */
import {fileURLToPath} from 'node:url'
import {Config} from '@oclif/core/config'
import {run} from '@oclif/core/run'
import {closest, distance} from 'fastest-levenshtein'
import {JobqError, UsageError} from '../errors.ts'

export async function runOclif(argv: string[], root: URL): Promise<void> {
  const config = await Config.load({root: fileURLToPath(root)})
  const [id = ''] = argv
  if (id !== '' && id !== 'help' && !id.startsWith('-') && !config.findCommand(id))
    throw new UsageError(`expected a command, got ${JSON.stringify(id)}`, {
      hint: `${suggestion(id, config.commandIDs)}see \`jobq --help\``,
    })
  try {
    await run(id === 'help' ? helpFor(argv) : argv, config)
  } catch (error) {
    const exit = (error as OclifError).oclif?.exit
    if ((error as OclifError).code === 'EEXIT') process.exitCode = exit ?? 0
    else throw inOurWords(error, config, id)
  }
}

interface OclifError extends Error {
  code?: string
  oclif?: {exit?: number}
  flags?: unknown
}

/** `jobq help work` is `jobq work --help`: oclif's own help command is a plugin of its own. */
function helpFor([, ...topic]: string[]): string[] {
  return [...topic, '--help']
}

function inOurWords(error: unknown, config: Config, id: string): unknown {
  if (error instanceof JobqError || !(error instanceof Error)) return error
  const {oclif, flags, message} = error as OclifError
  if (oclif?.exit !== 2) return error
  const see = `see \`jobq ${id} --help\``
  const unknown = Array.isArray(flags) && /^Nonexistent flag/.test(message) ? String(flags[0]) : null
  if (unknown === null) {
    const [first = '', ...more] = inOneSentence(message)
      .split('\n')
      .filter(line => line && !line.startsWith('See more help'))
    return new UsageError([lowerFirst(first), ...more.map(line => line.trim())].join(' '), {
      hint: see,
      cause: error,
    })
  }
  const known = Object.keys(config.findCommand(id)?.flags ?? {}).map(name => `--${name}`)
  return new UsageError(`unknown flag ${unknown}`, {hint: suggestion(unknown, known) + see, cause: error})
}

/** What oclif says of flags that go together, or do not. */
function inOneSentence(message: string): string {
  const [, one, other] =
    /(--[\w-]+)(?:=.*)? cannot also be provided when using (--[\w-]+)/.exec(message) ?? []
  if (one) return `expected one of ${one}, ${other}, got both`
  const [, flag, needed] = /must be provided when using (--[\w-]+): (--[\w-]+)/.exec(message) ?? []
  return flag ? `${flag}: expected ${needed} with it` : message
}

function suggestion(word: string, known: readonly string[]): string {
  if (known.length === 0) return ''
  const best = known.find(name => word.length > 2 && name.startsWith(word)) ?? closest(word, known)
  return best.startsWith(word) || distance(word, best) <= Math.max(2, best.length / 3)
    ? `did you mean ${best}? `
    : ''
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}
