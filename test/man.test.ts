/** The man pages that the build has made, as man, groff and mandoc read them. */
import assert from 'node:assert/strict'
import {execFileSync, spawnSync} from 'node:child_process'
import {readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import {escaped, manPages} from '../build/man.ts'
import {EXIT} from '../src/lib/jobs/errors.ts'
import {RUN_JS} from './support/jobq.ts'

const root = join(RUN_JS, '../..')
const folder = join(root, 'dist/man')
const pages = readdirSync(folder).sort()
const manifest = JSON.parse(readFileSync(join(root, 'oclif.manifest.json'), 'utf8')) as Parameters<
  typeof manPages
>[0]

describe('the man pages', {concurrency: 2}, () => {
  test('are one for all, and one for each command; package.json names them for npm', () => {
    const expected = ['jobq.1', ...Object.keys(manifest.commands).map(id => `jobq-${id}.1`)].sort()
    assert.deepEqual(pages, expected)
    const {man} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {man: string[]}
    assert.deepEqual(
      man.toSorted(),
      pages.map(page => `dist/man/${page}`),
    )
  })

  for (const page of pages)
    test(`${page} is read without a warning`, () => {
      const file = join(folder, page)
      const env = {...process.env, MANROFFOPT: '-ww', MANWIDTH: '80'}
      const {stdout, stderr, status} = spawnSync('man', ['--warnings=w', '-E', 'UTF-8', '-l', file], {
        encoding: 'utf8',
        env,
      })
      assert.deepEqual([stderr, status], ['', 0])
      assert.match(stdout, /^NAME\n {7}jobq(-[a-z]+)? - \S/m)
      const {stdout: said} = spawnSync('mandoc', ['-Tlint', '-Wwarning', file], {encoding: 'utf8'})
      // A version that is not released has no date
      assert.deepEqual(
        said.split('\n').filter(line => line !== '' && !line.endsWith('missing date, using "": TH')),
        [],
      )
    })

  for (const [id, {flags, examples = []}] of Object.entries(manifest.commands))
    test(`jobq-${id}.1 has each flag, and each example as it is typed`, () => {
      const shown = rendered(join(folder, `jobq-${id}.1`))
      for (const {name, env = '', hidden = false} of Object.values(flags))
        assert.ok(hidden || (shown.includes(`--${name}`) && shown.includes(env)), name)
      for (const {command} of examples)
        assert.ok(shown.includes(command.replaceAll('<%= config.bin %>', 'jobq')), command)
    })

  test('jobq.1 has every exit status', () => {
    const [, statuses = ''] = /^EXIT STATUS\n(.*?)^\S/ms.exec(rendered(join(folder, 'jobq.1')))!
    assert.deepEqual(
      statuses
        .match(/^ {7}\d[\d, ]*/gm)!
        .join(',')
        .split(',')
        .map(Number),
      Object.values(EXIT),
    )
  })
})

test('text is shown as it was written, whatever roff would make of it', () => {
  const nasty = [
    '.PP is no request, nor is',
    `'this, or`,
    'a .TH in a line',
    `\\fB \\e \\\\ \\n(.x ''quoted'' "twice" \`so\``,
    'a-b --flag=-1 ^x ~y … é │ 漢',
    '  indented',
  ]
  const page = `.TH X 1 "" "" ""\n.SH NAME\nx \\- y\n.SH TEXT\n.nf\n${escaped(nasty.join('\n'))}\n.fi\n`
  const options = {input: page, encoding: 'utf8', env: {...process.env, MANWIDTH: '200'}} as const
  for (const [command, ...words] of [
    ['man', '-E', 'UTF-8', '-l', '-'],
    ['mandoc', '-Tutf8', '-Owidth=200'],
  ] as const) {
    const shown = plainText(execFileSync(command, words, options))
    assert.ok(shown.includes(nasty.map(line => `       ${line}`).join('\n')), `${command}: ${shown}`)
  }
})

test('a page is of its version: two builds make the same', () => {
  const its = {version: '1.2.3', date: '2026-11-01', exitStatuses: [['0', 'done']]} as const
  const made = manPages(manifest, its)
  assert.deepEqual(manPages(manifest, its), made)
  assert.match(made['jobq-work.1']!, /^\.TH JOBQ\\-WORK 1 "2026-11-01" "jobq 1\.2\.3" "jobq"$/m)
})

function rendered(file: string): string {
  const env = {...process.env, MANWIDTH: '400'}
  return plainText(execFileSync('man', ['-E', 'UTF-8', '-l', file], {encoding: 'utf8', env}))
}

/** Without what a terminal would show as bold. */
function plainText(text: string): string {
  return text.replace(/.\x08/g, '').replace(/\x1b\[\d*m/g, '')
}
