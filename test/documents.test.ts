/**
 * Every code block of README.md and docs/ is compiled or run. A document is a project of its own: its files are written,
 * its TypeScript compiled as an application that has installed jobq would compile it, its sessions and programs run.
 */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {after, describe, type TestContext, test} from 'node:test'
import {validateConfig} from '../src/lib/config/schema.ts'
import {type Block, blocksOf, indentedBlocks, parseBlocks} from './support/blocks.ts'
import {Project, plain} from './support/document-project.ts'
import {runSql} from './support/document-sql.ts'

const root = join(import.meta.dirname, '..')
const documents = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter(isMarkdown)
    .map(name => `docs/${name}`),
]

/** How a block of each language is checked, in the document's project. */
const CHECKS: Record<string, (block: Block, project: Project, t: TestContext) => void | Promise<void>> = {
  ts: () => {}, // compiled all together
  json: ({code, file}) => {
    const value: unknown = JSON.parse(code)
    if (file?.startsWith('jobq.config')) validateConfig(value, file, code)
  },
  sh: ({code}) => compileShell(code),
  bash: ({code}) => compileShell(code, 'bash'),
  perl: ({code}) => compilePerl(code),
  crontab: ({code}) => {
    for (const line of code.trim().split('\n')) {
      const [, command = ''] =
        /^(?:[\d*/,-]+ ){5}(.+)$/.exec(line) ?? assert.fail(`no line of a crontab: ${line}`)
      compileShell(command)
    }
  },
  ini: ({code}) => {
    for (const line of code.trim().split('\n')) assert.match(line, /^(\[\w+\]|\w+=.*|[#;].*|)$/)
  },
  console: ({code}, project) => project.session(code),
  sql: async ({code, words: [system]}, _project, t) => {
    const missing = await runSql(t, system, code)
    if (missing) t.skip(missing)
  },
  text: () => {}, // what the block before it prints
}

for (const document of documents)
  describe(document, () => {
    const blocks = blocksOf(document)
    const project = new Project({after: after as TestContext['after']}, blocks)

    test('says what each block is', () => {
      assert.deepEqual(indentedBlocks(readFileSync(join(root, document), 'utf8')), [])
      for (const {language, line} of blocks)
        assert.ok(language in CHECKS, `line ${line}: ${language || 'nothing'}`)
    })

    if (blocks.some(({language}) => language === 'ts')) test('compiles', () => project.compile())

    for (const [i, block] of blocks.entries())
      test(`line ${block.line}, ${block.language}`, async t => {
        await CHECKS[block.language]!(block, project, t)
        if (!block.words.includes('run')) return
        const output = project.run(block)
        const next = blocks[i + 1]
        if (next?.language === 'text') assert.equal(plain(output), plain(next.code))
      })
  })

test('what does not compile, or prints something else, is told', t => {
  const wrong = parseBlocks("```ts\nimport {JobQueue} from 'jobq'\nawait JobQueue.open(7)\n```\n")
  assert.throws(() => new Project(t, wrong).compile(), /TS2559|TS2345/)
  const [session] = parseBlocks('```console\n$ jobq --version\nno such thing\n```\n')
  assert.throws(() => new Project(t, [session!]).session(session!.code), /no such thing/)
  assert.throws(() => compilePerl('my $x = ;'), /syntax error/)
  assert.deepEqual(indentedBlocks('a\n\n    code\n'), [3])
})

function compileShell(code: string, shell: 'sh' | 'bash' = 'sh'): void {
  const {status, stderr} = spawnSync(shell, ['-n'], {input: code, encoding: 'utf8'})
  assert.equal(status, 0, stderr)
}

/**
 * Checks Perl's syntax, and what strict finds. CPAN's modules need not be there: each counts as an empty class, and Moose
 * as one that knows `extends`.
 */
function compilePerl(code: string): void {
  const {status, stderr} = spawnSync('perl', ['-c', '-'], {
    input: `${ANY_MODULE}\n#line 1\n${code}`,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
}

const ANY_MODULE = `BEGIN {
  push @INC, sub {
    (my $class = $_[1]) =~ s/\\.pm$//;
    $class =~ s{/}{::}g;
    my $moose = 'sub import { no strict "refs"; my $in = caller; *{"$in\\::extends"} = sub { @{"$in\\::ISA"} = @_ } }';
    my $text = "package $class; sub new {} " . ($class eq 'Moose' ? $moose : '') . ' 1;';
    open my $file, '<', \\$text;
    return $file;
  };
  sub UNIVERSAL::MODIFY_CODE_ATTRIBUTES {} # such as Catalyst's Local
}
use strict;`

function isMarkdown(name: string): boolean {
  return name.endsWith('.md')
}
