/**
 * What a document describes, as someone would have it who follows it: a folder with its files, with jobq installed, where
 * what it shows is compiled and run.
 */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {after, type TestContext} from 'node:test'
import {type Block, exchangesOf} from './blocks.ts'
import {tempFolder} from './temp.ts'

const root = join(import.meta.dirname, '../..')

/** What all projects have installed: this checkout's packages, and jobq, which is this checkout. */
const MODULES = tempFolder({after} as Pick<TestContext, 'after'>)
for (const name of readdirSync(join(root, 'node_modules')))
  if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(MODULES, name))
symlinkSync(root, join(MODULES, 'jobq'))

const STRICT = {
  target: 'es2024',
  lib: ['es2024', 'esnext.disposable'],
  module: 'nodenext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  allowImportingTsExtensions: true,
  skipLibCheck: true,
  noEmit: true,
}

export class Project {
  readonly #folder: string
  readonly #blocks: readonly Block[]

  constructor(t: Pick<TestContext, 'after'>, blocks: readonly Block[]) {
    this.#blocks = blocks
    this.#folder = tempFolder(t)
    symlinkSync(MODULES, join(this.#folder, 'node_modules'))
    const bin = join(this.#folder, 'bin')
    mkdirSync(bin)
    symlinkSync(join(root, 'bin/run.js'), join(bin, 'jobq'))
    this.#write('package.json', JSON.stringify({type: 'module'}))
    this.#write('tsconfig.json', JSON.stringify({compilerOptions: STRICT}))
    for (const block of blocks) if (block.language !== 'text') this.#write(nameOf(block), block.code)
  }

  compile(): void {
    const {status, stdout} = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', this.#folder], {
      encoding: 'utf8',
      env: this.#environment(),
    })
    assert.equal(status, 0, stdout)
  }

  run(block: Block): string {
    const {status, stdout, stderr} = spawnSync(process.execPath, [nameOf(block)], {
      cwd: this.#folder,
      encoding: 'utf8',
      env: this.#environment(),
      timeout: 60_000,
    })
    assert.equal(status, 0, stderr)
    return stdout
  }

  session(code: string): void {
    checkSession(code, this.#blocks, shell => {
      const {stdout} = spawnSync('script', ['-qefc', shell, '/dev/null'], {
        cwd: this.#folder,
        encoding: 'utf8',
        env: this.#environment(),
        timeout: 60_000,
      })
      return stdout.replaceAll(this.#folder, PLACE)
    })
  }

  #write(name: string, content: string): void {
    const path = join(this.#folder, name)
    mkdirSync(dirname(path), {recursive: true})
    writeFileSync(path, content)
    if (content.startsWith('#!')) chmodSync(path, 0o755)
  }

  #environment(): NodeJS.ProcessEnv {
    return {
      PATH: `${join(this.#folder, 'bin')}:${dirname(process.execPath)}:${process.env.PATH}`,
      HOME: this.#folder,
      XDG_DATA_HOME: join(this.#folder, 'data'),
      TERM: 'xterm',
      NO_COLOR: '1',
      TZ: 'UTC',
    }
  }
}

/**
 * A session of a document with these blocks: all its commands in one shell, so that what is exported stays.
 * @param show - what a terminal shows of a shell's commands
 * @throws if that is not what the document says
 */
export function checkSession(code: string, blocks: readonly Block[], show: (shell: string) => string): void {
  const exchanges = exchangesOf(code)
  const script = exchanges
    .map(({command}) => `echo '${MARK}'\n(exit $status)\n${command}\nstatus=$?`)
    .join('\n')
  const shown = show(`stty cols 120 rows 40; status=0; ${earlierExports(code, blocks)}\n${script}`)
  const outputs = shown.replaceAll('\r\n', '\n').split(`${MARK}\n`).slice(1)
  assert.deepEqual(
    outputs.map((output, i) => ({command: exchanges[i]!.command, output: plain(output)})),
    exchanges.map(({command, output}) => ({command, output: plain(output)})),
  )
}

function earlierExports(code: string, blocks: readonly Block[]): string {
  const sessions = blocks.filter(({language}) => language === 'console')
  const earlier = sessions.slice(
    0,
    sessions.findIndex(session => session.code === code),
  )
  const commands = earlier.flatMap(session => exchangesOf(session.code).map(({command}) => command))
  return commands.filter(command => command.startsWith('export ')).join('\n')
}

const MARK = '----8<----'
/** Where a document says that its folder is. */
const PLACE = '/srv/app'

function nameOf({file, line, language}: Block): string {
  return file ?? `line-${line}.${language}`
}

/** Without what differs each time: times, durations, the progress bar, how wide a table is. */
export function plain(output: string): string {
  return output
    .replace(/\x1b(\[[0-9;?]*[A-Za-z]|[78])/g, '')
    .replace(/[█░]+ \d+\/\d+ jobs, [^,]*, \d+ running/g, '')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/\b1[789]\d{8}\b/g, 'UNIX')
    .replace(/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b/g, 'LOCAL TIME')
    .replace(/ on \S+, process \d+\b/g, ' on HOST, process PID')
    .replace(/\b\d+(\.\d+)? ?(ms|s|m|h)\b/g, 'DURATION')
    .replace(/\bnow\b|\bDURATION ago|\bin DURATION( DURATION)?/g, 'WHEN')
    .replace(/\b(0\.\d+|-)(?=\s*$)/gm, 'RATE')
    .replace(/\S*…/g, '…')
    .replace(/[ ▁▂▃▄▅▆▇█]+$/gm, '')
    .replace(/[ \t]+/g, ' ')
    .split('\n')
    .map(line => line.split('\r').at(-1)!.trim())
    .filter(line => line !== '')
    .join('\n')
}
