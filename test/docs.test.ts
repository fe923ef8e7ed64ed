/** What README.md and docs/ name is there: files, commands, flags, keys, environment variables. */
import assert from 'node:assert/strict'
import {existsSync, readdirSync, readFileSync} from 'node:fs'
import {dirname, join, relative} from 'node:path'
import {before, describe, test} from 'node:test'
import {validateConfig} from '../src/lib/config/schema.ts'
import {EXIT, type JobqError} from '../src/lib/jobs/errors.ts'

const root = join(import.meta.dirname, '..')
const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'examples/photo/README.md']
for (const name of readdirSync(join(root, 'docs'))) if (name.endsWith('.md')) documents.push(`docs/${name}`)

interface Manifest {
  commands: Record<string, {flags: Record<string, {env?: string; options?: string[]}>}>
}
let manifest: Manifest

before(() => {
  manifest = JSON.parse(readFileSync(join(root, 'oclif.manifest.json'), 'utf8'))
})

describe('links', () => {
  for (const document of documents)
    test(document, () => {
      const text = read(document)
      const headings = new Map<string, string[]>()
      for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue
        const [path = '', anchor] = target.split('#')
        const file = path === '' ? document : relative(root, join(root, dirname(document), path))
        assert.ok(existsSync(join(root, file)), `${target} is not there`)
        if (anchor === undefined) continue
        if (!headings.has(file)) headings.set(file, anchorsOf(read(file)))
        assert.ok(headings.get(file)!.includes(anchor), `${target}: no such heading`)
      }
    })
})

describe('command lines', () => {
  for (const document of documents)
    test(document, () => {
      for (const words of commandLines(read(document))) assert.equal(complaint(words), null, words.join(' '))
    })

  test('every command has its place in docs/commands.md', () => {
    const named = commandLines(read('docs/commands.md')).map(([command]) => command)
    for (const command of Object.keys(manifest.commands)) assert.ok(named.includes(command), command)
  })

  test('what does not exist is found', () => {
    const found = (text: string) => commandLines(text).map(complaint)
    assert.deepEqual(found('see `jobq wrk`'), ['no command wrk'])
    assert.deepEqual(found('    $ jobq work --drian | jobq list --all'), ['no flag --drian'])
    assert.deepEqual(found('```console\n$ JOBQ_DB=x jobq list --state late\njobq nothing\n```'), [
      '--state: no late',
    ])
    assert.deepEqual(found(`    jq -c . | jobq enqueue X --arg '{"a": "--b"}' > --out`), [null])
  })
})

describe('settings', () => {
  const text = read('docs/configuration.md')
  const [settings = '', ofFunctions = ''] = text.split('## Settings of a function')

  test('every key of the configuration is there, and no other', () => {
    assert.deepEqual(keysIn(settings).sort(), knownKeys({unknown: 1}).sort())
    assert.deepEqual(keysIn(ofFunctions).sort(), knownKeys({funcs: {Notify: {unknown: 1}}}).sort())
  })

  test('flags and environment variables stand beside the key that they set', () => {
    for (const [key = '', , , flag, variable] of rows(settings)) {
      if (flag === '') continue
      const known = manifest.commands.work!.flags[flag!.slice(2)]
      assert.ok(known, `${flag}, for ${key}`)
      assert.equal(variable, known.env ?? (key === 'db' ? 'JOBQ_DB' : ''), key)
    }
  })

  test('every environment variable of a flag is there, and no other', () => {
    const ofFlags = Object.values(manifest.commands).flatMap(({flags}) =>
      Object.values(flags).flatMap(({env}) => env ?? []),
    )
    const named = text.match(/\bJOBQ_[A-Z_]+\b/g)!
    // What the base command and the start read by themselves
    assert.deepEqual(
      sorted(named),
      sorted([...ofFlags, 'JOBQ_DB', 'JOBQ_CONFIG', 'JOBQ_DEBUG', 'JOBQ_WEB_TOKEN']),
    )
  })

  test('exit statuses are those of the errors', () => {
    for (const document of ['README.md', 'docs/commands.md']) {
      const statuses = read(document).match(/(?<=\n\| )[\d, ]+(?= \|)/g)!
      assert.deepEqual(statuses.join(', ').split(', ').map(Number), Object.values(EXIT), document)
    }
  })
})

test("docs/commands.md lists every error's code", () => {
  const codes = read('src/lib/jobs/errors.ts').match(/(?<=')[A-Z][A-Z_]+(?=')/g)!
  const [, listed = ''] = /The error's `code`: (.*?)\.\n/s.exec(read('docs/commands.md'))!
  assert.deepEqual(sorted(listed.match(/[A-Z_]+/g)!), sorted([...codes, 'INTERNAL']))
})

describe('promises', () => {
  for (const document of ['docs/reliability.md', 'docs/security.md'])
    test(`each test that ${document} names is there`, () => {
      const text = read(document).replace(/\s+/g, ' ')
      // Behind a file's name its tests, in quotes, with commas between
      const named = [...text.matchAll(/`(test\/[\w/.-]+)`: ((?:"[^"]+"(?:, )?)+)/g)]
      assert.equal(
        named.length,
        text.match(/`test\/[\w/.-]+\.ts`/g)!.length,
        'each file has a title behind it',
      )
      for (const [, file = '', titles = ''] of named)
        for (const [, title = ''] of titles.matchAll(/"([^"]+)"/g))
          assert.ok(read(file).includes(title), `${file}: ${title}`)
    })

  test('docs/security.md names what is installed with jobq, and nothing else', () => {
    const {packages} = JSON.parse(read('package-lock.json')) as {packages: Record<string, {dev?: boolean}>}
    const shipped = Object.entries(packages).filter(([path, {dev}]) => path !== '' && !dev)
    // valibot's optional peer: it is in the lock file, and not installed with jobq
    const isOptional = (name: string) => /^(@typescript\/.*|typescript)$/.test(name)
    const names = shipped
      .map(([path]) => path.split('node_modules/').at(-1)!)
      .filter(name => !isOptional(name))
    const [, listed = ''] = read('docs/security.md').split('## What is installed with it')
    assert.deepEqual(sorted(listed.match(/(?<=`)[@a-z][\w@/.-]*(?=`)/g)!), sorted(names))
  })
})

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

function sorted(names: readonly string[]): string[] {
  return [...new Set(names)].sort()
}

/** GitHub's anchors of a document's headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

/** The words after each `jobq` that is run: in code blocks, indented or fenced, and in code within a line. */
function commandLines(text: string): string[][] {
  const fence = /^```(\w*)\n(.*?)^```$/gms
  const fenced = [...text.matchAll(fence)].flatMap(([, kind = '', code = '']) =>
    code.split('\n').filter(line => kind === 'sh' || (kind === 'console' && line.startsWith('$ '))),
  )
  const rest = text.replace(fence, '')
  const inline = [...rest.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
  const indented = rest.match(/^ {4}.*$/gm) ?? []
  return [...fenced, ...indented, ...inline].flatMap(line =>
    [...line.matchAll(/(?:^\s*|[$|;&*(!] )(?:[A-Z_]+=\S+ )*jobq (.*)/g)].map(([, words = '']) =>
      shellWords(words),
    ),
  )
}

/** Up to where the shell begins something else. */
function shellWords(text: string): string[] {
  const words = text.matchAll(/\s*((?:'[^']*'|"[^"]*"|[^\s'"|<>;&)])+|[|<>;&)])/g)
  const all = [...words].map(([, word = '']) => word)
  const end = all.findIndex(word => /^[|<>;&)]$/.test(word))
  return all.slice(0, end < 0 ? undefined : end).map(word => word.replaceAll(/'|"/g, ''))
}

/** What is wrong with the words of a command line; null if nothing is. */
function complaint([command = '', ...words]: string[]): string | null {
  if (['--help', '--version', 'COMMAND', 'help'].includes(command)) return null
  const known = manifest.commands[command]
  if (!known) return `no command ${command}`
  for (const [i, word] of words.entries()) {
    if (!word.startsWith('--') || word === '--help') continue
    const [name = '', value = words[i + 1]] = word.slice(2).split('=', 2)
    const flag = known.flags[name]
    if (!flag) return `no flag --${name}`
    if (flag.options && !flag.options.includes(value ?? '')) return `--${name}: no ${value}`
  }
  return null
}

/** The cells of a document's tables, without the marks of code. */
function rows(text: string): string[][] {
  const lines = text.match(/^\| `.*\|$/gm) ?? []
  return lines.map(line =>
    line
      .slice(1, -1)
      .split('|')
      .map(cell => cell.trim().replaceAll('`', '')),
  )
}

function keysIn(text: string): string[] {
  return rows(text).map(([key = '']) => key)
}

/** An unknown key is answered with those that are known. */
function knownKeys(config: unknown): string[] {
  try {
    validateConfig(config, 'jobq.config.json', '')
  } catch (error) {
    return (error as JobqError).hint.replace(/^.*Known are /, '').split(', ')
  }
  return []
}
