/** oclif, from the words to the command: which command, help, and its parser's complaints in jobq's words. */
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import type {Command} from '@oclif/core/command'
import {Config} from '@oclif/core/config'
import {Help} from '@oclif/core/help'
import type {PJSON} from '@oclif/core/interfaces'
import {run} from '@oclif/core/run'
import {UsageError} from '../jobs/errors.ts'
import {asSomeone} from './as-someone.ts'
import {COMMANDS} from './command.ts'
import {inOurWords, seeHelp, unknownFlag} from './in-our-words.ts'
import {unknownCommand} from './unknown-command.ts'

export async function runOclif(argv: string[], root: string): Promise<void> {
  const config = await asSomeone(async () => Config.load({root, ...(await sources(root))}))
  const words = argv[0] === 'help' || isHelp(argv[0] ?? '') ? helpFor(argv) : argv
  const [id, ...rest] = words
  if (id === undefined || isHelp(id)) return await ended(asSomeone(() => run(words, config)))
  const command = commandOf(id, config)
  const flags = beforeDashes(rest)
  if (flags.some(isHelp)) return await asSomeone(() => new Help(config).showCommandHelp(command))
  checkFlags(command, flags)
  try {
    // Not `run`: it takes the words behind a command without arguments for more of its name
    await ended(config.runCommand(id, rest, command))
  } catch (error) {
    throw inOurWords(error, command)
  }
}

/** oclif ends with an error where it is done early, having shown the help, say. */
async function ended(running: Promise<unknown>): Promise<void> {
  try {
    await running
  } catch (error) {
    const {code, oclif} = error as {code?: string; oclif?: {exit?: number}}
    if (code !== 'EEXIT') throw error
    process.exitCode = oclif?.exit ?? 0
  }
}

/** From its sources (bin/dev.js) jobq has its commands where they are written, and no manifest that tells of them. */
async function sources(root: string): Promise<{pjson?: PJSON; ignoreManifest?: boolean}> {
  if (COMMANDS) return {}
  const pjson = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as PJSON
  return {pjson: {...pjson, oclif: {...pjson.oclif, commands: './src/commands'}}, ignoreManifest: true}
}

/** `jobq help work`, `jobq --help work` is `jobq work --help`: oclif's own help command is a plugin of its own. */
function helpFor([asked, ...topic]: string[]): string[] {
  const words = topic.filter(word => !word.startsWith('-'))
  const isOfHelp = asked === 'help' && words.length === 0 && topic.some(isHelp)
  return [...(isOfHelp ? ['help'] : words), '--help']
}

function isHelp(word: string): boolean {
  return word === '--help' || word === '-h'
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

function beforeDashes(words: readonly string[]): readonly string[] {
  const end = words.indexOf('--')
  return end < 0 ? words : words.slice(0, end)
}

/** What oclif's parser lets pass: it takes the value of `--json=true` for an argument, and --constructor for a flag. */
function checkFlags(command: Command.Loadable, words: readonly string[]): void {
  const {flags} = command
  const isValue = (i: number) => flags[words[i - 1]?.replace(/^--/, '') ?? '']?.type === 'option'
  for (const [i, word] of words.entries()) {
    const [, name = '', value] = /^--([^=]+)(?:=(.*))?$/s.exec(word) ?? []
    if (!(name in flags) || isValue(i)) continue
    if (!Object.hasOwn(flags, name)) throw unknownFlag(word, command)
    if (flags[name]?.type === 'boolean' && value !== undefined)
      throw new UsageError(`--${name}: expected no value, got ${JSON.stringify(value)}`, {
        hint: `give it alone or leave it out; ${seeHelp(command)}`,
      })
  }
}
