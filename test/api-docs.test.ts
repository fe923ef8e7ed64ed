/** The API's documentation: everything that the package exports says what it is, and typedoc has nothing to complain of. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import {tempFolder} from './support/temp.ts'

const root = join(import.meta.dirname, '..')
const lib = join(root, 'src/lib')

describe('docstrings', () => {
  for (const part of Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports)) {
    if (part === './package.json') continue
    test(part, () => {
      const exported = exportsOf(`${part.slice(2) || 'index'}.ts`)
      assert.ok(exported.length > 0)
      assert.deepEqual(
        exported.filter(({file, name}) => !isDocumented(read(file), name)),
        [],
      )
    })
  }

  test('one that is missing is found', () => {
    const source = `/** The file. */
import x from 'y'

export const plain = 1
/** What it is. */
export const good = 1
/** Marked. */
// biome-ignore lint/x: why
export interface Open {}
// a remark
export type Remark = 1
/** Over two. */
export async function two(
): Promise<void> {}
export abstract class Bare {}`
    const documented = ['plain', 'good', 'Open', 'Remark', 'two', 'Bare'].filter(name =>
      isDocumented(source, name),
    )
    assert.deepEqual(documented, ['good', 'Open', 'two'])
  })
})

test('typedoc writes it, without a warning', t => {
  if (!existsSync(join(root, 'typedoc/node_modules'))) {
    const {status, stderr} = npm(
      'ci',
      '--prefix',
      join(root, 'typedoc'),
      '--prefer-offline',
      '--no-audit',
      '--no-fund',
    )
    if (status !== 0) return t.skip(`typedoc can't be installed: ${stderr.trim().split('\n')[0]}`)
  }
  const site = tempFolder(t)
  const typedoc = join(root, 'typedoc/node_modules/typedoc/bin/typedoc')
  const {status, stdout, stderr} = spawnSync(
    process.execPath,
    [typedoc, '--options', join(root, 'typedoc'), '--out', site],
    {encoding: 'utf8'},
  )
  assert.equal(status, 0, stdout + stderr)
  assert.match(readFileSync(join(site, 'classes/jobq.JobQueue.html'), 'utf8'), /Stores a job/)
})

interface Exported {
  file: string
  name: string
}

/** What a file exports, itself or from another one, with the file that it is from. */
function exportsOf(file: string): Exported[] {
  const source = read(file)
  const own = [
    ...source.matchAll(
      /^export (?!type \{)(?:abstract |async )*(?:class|interface|type|function|const) (\w+)/gm,
    ),
  ]
  const all = [...source.matchAll(/^export \* from '\.\/(.*)'/gm)].flatMap(([, from = '']) => exportsOf(from))
  const named = [...source.matchAll(/^export (?:type )?\{([^}]*)\} from '\.\/(.*)'/gm)].flatMap(
    ([, names = '', from = '']) =>
      names
        .split(',')
        .map(
          name =>
            name
              .trim()
              .replace(/^type /, '')
              .split(' as ')[0]!,
        )
        .filter(name => name !== '')
        .map(name => ({file: from, name})),
  )
  return [...own.map(([, name = '']) => ({file, name})), ...all, ...named]
}

/** Does a docstring end on the line before it is declared? Remarks to the linter may stand between. */
function isDocumented(source: string, name: string): boolean {
  const lines = source.split('\n')
  const declared = new RegExp(
    `^export (?:abstract |async )*(?:class|interface|type|function|const) ${name}\\b`,
  )
  const at = lines.findIndex(line => declared.test(line))
  const before = lines.slice(0, at).findLast(line => !line.startsWith('// biome-ignore'))
  return at >= 0 && (before?.trimEnd().endsWith('*/') ?? false)
}

function read(file: string): string {
  return readFileSync(join(lib, file), 'utf8')
}

function npm(...args: string[]) {
  return spawnSync('npm', [...args], {cwd: root, encoding: 'utf8'})
}
