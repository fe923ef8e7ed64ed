/** Plain words are read as oclif would read them, by the manifest; what is not plain is left to it. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {afterEach, describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import {Config} from '@oclif/core/config'
import {type KnownCommand, type PlainFlags, plainWords} from '../../src/lib/cli/argv.ts'
import type {BaseCommand} from '../../src/lib/cli/base-command.ts'

const config = await Config.load(fileURLToPath(new URL('../..', import.meta.url)))
const {commands} = JSON.parse(
  readFileSync(new URL('../../oclif.manifest.json', import.meta.url), 'utf8'),
) as {
  commands: Record<string, KnownCommand>
}

describe('plain words', () => {
  const set = new Set<string>()
  afterEach(() => {
    for (const name of set) delete process.env[name]
    set.clear()
  })
  const readBoth = async (line: readonly string[], env: Record<string, string> = {}) => {
    for (const [name, value] of Object.entries(env)) {
      process.env[name] = value
      set.add(name)
    }
    const [name = '', ...words] = line
    return {plain: plainWords(words, commands[name]!), oclif: () => byOclif(name, words)}
  }

  const plain: [words: string[], env?: Record<string, string>][] = [
    [['enqueue']],
    [['enqueue', 'F']],
    [['enqueue', '']],
    [['enqueue', 'F', '--arg', '{"a": 1.0}']],
    [['enqueue', 'F', '--arg={"a":"="}']],
    [['enqueue', 'F', '--arg=a\nb']],
    [['enqueue', '--arg', '1', 'F']],
    [['enqueue', 'F', '--arg', '']],
    [['enqueue', 'F', '--arg=']],
    [['enqueue', 'F', '--arg-file', '-']],
    [['enqueue', 'F', '--arg', '"--json"', '--json']],
    [['enqueue', 'F', '--json', '--json']],
    [['enqueue', '--json', 'F', '--at', '@1798135200', '--priority', '9', '--if-absent', '--tracked']],
    [['enqueue', '--db', 'a.db', '--db', 'b.db', 'F', '--config', '/dev/null']],
    [['enqueue', '--batch', '-', '--serializer', 'xml']],
    [['list']],
    [['list', '--state', 'ready', '--func=F', '--limit', '1', '--offset', '1']],
    [['list', '--limit', 'many', '--json']],
    [['stats', '--func', 'F', '--prometheus']],
    [['stats', '--watch']],
    [['stats', '--watch', '--json']],
    [['stats', '--watch', '5']],
    [['stats', '--watch=5']],
    [['status', '--watch', '--db', 'jobs.db']],
    [['pause', 'F', 'G', '--json']],
    [['resume', '--all']],
    [['wait', '7', '--timeout', '5m', '2:8']],
    [['retry', '3', '4', '--again']],
    [['retry', '--all', '--func', 'F', '--since=2h', '--dry-run']],
    [['init', '--dry-run']],
    [['copy', '--to', 'b.db', '--func', 'F']],
    [['work', '--drain', '--exec', 'F=true', '--exec=G=true']],
    [['work', '--abilities', '--once']],
    [['work', '--abilities']],
    [['work', '--once'], {JOBQ_MAX_WORKERS: 'x', JOBQ_ABILITIES: 'F,G'}],
    [['work', '--max-time', '1h'], {JOBQ_MAX_TIME: 'x', JOBQ_LOG: ''}],
  ]
  for (const [words, env = {}] of plain)
    test(`${JSON.stringify(env)} ${JSON.stringify(words)}: as oclif has them`, async () => {
      const {plain, oclif} = await readBoth(words, env)
      assert.notEqual(plain, null)
      assert.deepEqual(plain, await oclif())
    })

  const others: [words: string[], env?: Record<string, string>][] = [
    [['enqueue', 'F', 'G']],
    [['enqueue', 'F', '--', 'G']],
    [['enqueue', '--', '--json']],
    [['enqueue', 'F', '--arg', '-1']],
    [['enqueue', '-5']],
    [['enqueue', 'F', '-']],
    [['enqueue', 'F', '--at']],
    [['enqueue', 'F', '--at', '--json']],
    [['enqueue', 'F', '--priority', '5', '--priority', '6']],
    [['enqueue', 'F', '--frobnicate']],
    [['enqueue', 'F', '-x']],
    [['enqueue', 'F', '--ARG', '1']],
    [['enqueue', 'F', '--json=true']],
    [['enqueue', 'F', '--no-json']],
    [['enqueue', 'F', '--constructor']],
    [['enqueue', 'F', '--help']],
    [['list', 'F']],
    [['list', '--state', 'late']],
    [['list', '--failed', '--finished']],
    [['list', '--failed', '--state', 'ready']],
    [['stats', '--prometheus', '--watch', '1']],
    [['stats', '--watch', '-5']],
    [['retry', '1', '--func', 'F']],
    [['work', '--once', '--drain']],
    [['work', '--exec', 'F=true', 'G=true']],
    [['work', '--once'], {JOBQ_FAIR: '1'}],
  ]
  for (const [words, env = {}] of others)
    test(`${JSON.stringify(env)} ${JSON.stringify(words)}: left to oclif`, async () => {
      const {plain} = await readBoth(words, env)
      assert.equal(plain, null)
    })
})

async function byOclif(name: string, words: string[]): Promise<PlainFlags> {
  const {default: Command} = (await import(`../../src/commands/${name}.ts`)) as {
    default: new (words: string[], config: Config) => BaseCommand
  }
  const flags = await new Command(words, config).read()
  return JSON.parse(JSON.stringify(flags)) as PlainFlags // without what is undefined
}
