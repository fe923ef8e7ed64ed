/**
 * What a document describes, as someone would have it who follows it: a folder with its files, with jobq installed, where
 * what it shows is compiled and run.
 */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import type {TestContext} from 'node:test'
import {type Block, exchangesOf} from './blocks.ts'
import {tempFolder} from './temp.ts'

const root = join(import.meta.dirname, '../..')

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
    mkdirSync(join(this.#folder, 'node_modules'))
    const installed = readdirSync(join(root, 'node_modules')).filter(name => !name.startsWith('.'))
    for (const name of installed)
      symlinkSync(join(root, 'node_modules', name), join(this.#folder, 'node_modules', name))
    symlinkSync(root, join(this.#folder, 'node_modules/jobq'))
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

  /** All commands in one shell, so that what is exported stays. */
  session(code: string): void {
    const exchanges = exchangesOf(code)
    const script = exchanges
      .map(({command}) => `echo '${MARK}'\n(exit $status)\n${command}\nstatus=$?`)
      .join('\n')
    const before = this.#earlierExports(code)
    const inner = `stty cols 120 rows 40; status=0; ${before}\n${script}`
    const {stdout} = spawnSync('script', ['-qefc', inner, '/dev/null'], {
      cwd: this.#folder,
      encoding: 'utf8',
      env: this.#environment(),
      timeout: 60_000,
    })
    const outputs = stdout.replaceAll('\r\n', '\n').split(`${MARK}\n`).slice(1)
    assert.deepEqual(
      outputs.map((output, i) => ({
        command: exchanges[i]!.command,
        output: plain(output.replaceAll(this.#folder, PLACE)),
      })),
      exchanges.map(({command, output}) => ({command, output: plain(output)})),
    )
  }

  #earlierExports(code: string): string {
    const sessions = this.#blocks.filter(({language}) => language === 'console')
    const earlier = sessions.slice(
      0,
      sessions.findIndex(session => session.code === code),
    )
    const commands = earlier.flatMap(session => exchangesOf(session.code).map(({command}) => command))
    return commands.filter(command => command.startsWith('export ')).join('\n')
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
