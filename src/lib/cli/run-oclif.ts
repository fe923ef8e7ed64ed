/** oclif, with its parser's complaints in jobq's words: what was expected, what was got, what to do. */
import {readFile} from 'node:fs/promises'
import {fileURLToPath} from 'node:url'
import type {Command} from '@oclif/core/command'
import {Config} from '@oclif/core/config'
import type {PJSON} from '@oclif/core/interfaces'
import {run} from '@oclif/core/run'
import {suggestion} from '../closest.ts'
import {JobqError, UsageError} from '../errors.ts'
import {unknownCommand} from './unknown-command.ts'

export async function runOclif(argv: string[], root: URL): Promise<void> {
  const config = await Config.load({root: fileURLToPath(root), ...(await sources(root))})
  const words = argv[0] === 'help' ? helpFor(argv) : argv
  const [id] = words
  if (id !== undefined && !isHelpOrVersion(id)) checkFlags(commandOf(id, config), words)
  try {
    await run(words, config)
  } catch (error) {
    const exit = (error as OclifError).oclif?.exit
    if ((error as OclifError).code === 'EEXIT') process.exitCode = exit ?? 0
    else throw inOurWords(error, config, id ?? '')
  }
}

/** From its sources (bin/dev.js) jobq has its commands where they are written, and no manifest that tells of them. */
async function sources(root: URL): Promise<{pjson?: PJSON; ignoreManifest?: boolean}> {
  if (!import.meta.url.endsWith('.ts')) return {}
  const pjson = JSON.parse(await readFile(new URL('package.json', root), 'utf8')) as PJSON
  return {pjson: {...pjson, oclif: {...pjson.oclif, commands: './src/commands'}}, ignoreManifest: true}
}

interface OclifError extends Error {
  code?: string
  oclif?: {exit?: number}
  flags?: unknown
}

/** `jobq help work` is `jobq work --help`: oclif's own help command is a plugin of its own. */
function helpFor([, ...topic]: string[]): string[] {
  return [...topic.filter(word => !word.startsWith('-') && word !== 'help'), '--help']
}

function isHelpOrVersion(word: string): boolean {
  return ['--help', '-h', '--version', '-v'].includes(word)
}

function commandOf(id: string, config: Config): Command.Loadable {
  const command = config.findCommand(id)
  if (command) return command
  if (id.startsWith('-'))
    throw new UsageError(`expected a command, got the flag ${id}`, {
      hint: 'the command comes first, its flags after it; see `jobq --help`',
    })
  throw unknownCommand(id, config.commandIDs)
}

/** What oclif's parser lets pass: it takes the value of `--json=true` for an argument, and --constructor for a flag. */
function checkFlags(command: Command.Loadable, argv: readonly string[]): void {
  const {id, flags} = command
  const end = argv.indexOf('--')
  const words = end < 0 ? argv : argv.slice(0, end)
  const isValue = (i: number) => flags[words[i - 1]?.replace(/^--/, '') ?? '']?.type === 'option'
  for (const [i, word] of words.entries()) {
    const [, name = '', value] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? []
    if (!(name in flags) || isValue(i)) continue
    if (!Object.hasOwn(flags, name)) throw unknownFlag(word, command)
    if (flags[name]?.type === 'boolean' && value !== undefined)
      throw new UsageError(`--${name}: expected no value, got ${JSON.stringify(value)}`, {
        hint: `give it alone or leave it out; see \`jobq ${id} --help\``,
      })
  }
}

function unknownFlag(word: string, command: Command.Loadable | undefined): UsageError {
  const [unknown = ''] = word.split('=')
  const known = Object.keys(command?.flags ?? {}).map(name => `--${name}`)
  return new UsageError(`unknown flag ${unknown}`, {hint: suggestion(unknown, known) + seeHelp(command?.id)})
}

function seeHelp(id: string | undefined): string {
  return `see \`jobq ${id === undefined ? '' : `${id} `}--help\``
}

function inOurWords(error: unknown, config: Config, id: string): unknown {
  if (error instanceof JobqError || !(error instanceof Error)) return error
  const {oclif, flags, message} = error as OclifError
  if (oclif?.exit !== 2) return error
  const command = config.findCommand(id)
  if (Array.isArray(flags) && message.startsWith('Nonexistent flag'))
    return unknownFlag(String(flags[0]), command)
  const lines = inOneSentence(message)
    .split('\n')
    .filter(line => line && !isOclifTalk(line))
  const said = lines.map(line => line.trim()).join(' ')
  return new UsageError(lowerFirst(said), {hint: seeHelp(command?.id), cause: error})
}

function isOclifTalk(line: string): boolean {
  return line.startsWith('See more help') || line.startsWith('The following error')
}

/** What oclif says of flags that go together, or do not. */
function inOneSentence(message: string): string {
  const [, one, other] =
    /(--[\w-]+)(?:=.*)? cannot also be provided when using (--[\w-]+)/.exec(message) ?? []
  if (one) return `expected one of ${one}, ${other}, got both`
  const [, flag, needed] = /must be provided when using (--[\w-]+): (--[\w-]+)/.exec(message) ?? []
  return flag ? `${flag}: expected ${needed} with it` : message
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}
