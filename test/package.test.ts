/** What `npm pack` makes is what people get: it is built from a copy of this checkout, installed and used elsewhere. */
import assert from 'node:assert/strict'
import {execFile, spawnSync} from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import {homedir, tmpdir} from 'node:os'
import {delimiter, dirname, join, posix, relative} from 'node:path'
import {after, before, describe, test} from 'node:test'
import {promisify} from 'node:util'
import {blocksOf} from './support/blocks.ts'

const root = join(import.meta.dirname, '..')
const temp = mkdtempSync(join(tmpdir(), 'jobq-package-'))
const checkout = join(temp, 'checkout')
const NPM_FLAGS = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
const WORKER = `
  import {appendFileSync} from 'node:fs'
  import {defineWorker} from 'jobq'
  export default defineWorker<{line: string}>({
    work: ({arg: {line}}) => appendFileSync(process.env.WRITE_TO!, line),
  })
`

interface Lock {
  packages: Record<
    string,
    {
      version?: string
      dev?: boolean
      hasInstallScript?: boolean
      gypfile?: boolean
      optionalDependencies?: Record<string, string>
    }
  >
}

interface Manifest {
  commands: Record<string, {flags: Record<string, {hidden?: boolean}>; examples?: unknown[]}>
}

const project = join(temp, 'project')
const installed = join(project, 'node_modules/jobq')
const lock: Lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
let tarball = ''
/** The package's files, below its root. */
let files: string[] = []
let manifest: Manifest

before(async () => {
  copyCheckout()
  await npm(checkout, 'pack', '--pack-destination', temp, '--loglevel=error')
  tarball = join(temp, readdirSync(temp).find(name => name.endsWith('.tgz'))!)
  mkdirSync(join(project, 'workers'), {recursive: true})
  writeFileSync(join(project, 'package.json'), '{"private": true}')
  writeFileSync(join(project, 'workers/Write.ts'), WORKER)
  await npm(project, 'install', ...NPM_FLAGS, tarball)
  files = readdirSync(installed, {recursive: true, withFileTypes: true})
    .filter(entry => entry.isFile())
    .map(entry => relative(installed, join(entry.parentPath, entry.name)))
    .filter(file => !file.startsWith('node_modules/'))
  manifest = JSON.parse(readFileSync(join(installed, 'oclif.manifest.json'), 'utf8'))
})
after(() => rmSync(temp, {recursive: true, force: true}))

describe('the packed package', () => {
  test('holds what is run and read, and nothing else', () => {
    for (const file of [
      'bin/run.js',
      'dist/lib/cli/main.cjs',
      'dist/lib/index.cjs',
      'dist/lib/index.d.ts',
      'dist/lib/package.json',
      'oclif.manifest.json',
    ])
      assert.ok(files.includes(file), `${file} is missing`)
    for (const file of [
      ...['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'docs/commands.md'],
      ...['dist/man/jobq.1', 'dist/man/jobq-work.1', 'dist/completion/jobq.bash'],
    ])
      assert.ok(files.includes(file), `${file} is missing`)
    const expected =
      /^(bin\/(run\.js|package\.json)|dist\/.*\.(cjs|d\.ts|d\.ts\.map|LICENSE)|src\/lib\/.*\.ts|dist\/lib\/package\.json|dist\/lib\/web\/assets\/(page\.(css|js)|icon\.svg)|dist\/man\/jobq[a-z-]*\.1|dist\/completion\/(jobq\.bash|_jobq|jobq\.fish)|docs\/.*\.md|docs\/web\/[a-z]+\.png|bench\/(results\.md|plots\/.*\.svg)|examples\/(systemd\/jobq\.service|notices\/(mail|webhook)\.mjs)|oclif\.manifest\.json|package\.json|[A-Z]+(\.md)?)$/
    assert.deepEqual(
      files.filter(file => !expected.test(file)),
      [],
    )
  })

  test('has all that its documents link to', () => {
    for (const document of files.filter(file => file.endsWith('.md'))) {
      const text = readFileSync(join(installed, document), 'utf8')
      for (const [, target = ''] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
        const file = posix.join(posix.dirname(document), target)
        assert.ok(/^https?:/.test(target) || files.includes(file), `${document}: ${target} is not there`)
      }
    }
  })

  test('has the source of every declaration, for an editor to go to', () => {
    const maps = files.filter(file => file.endsWith('.d.ts.map'))
    assert.equal(maps.length, files.filter(file => file.startsWith('dist/') && file.endsWith('.d.ts')).length)
    for (const map of maps) {
      const {sources}: {sources: string[]} = JSON.parse(readFileSync(join(installed, map), 'utf8'))
      for (const source of sources) assert.ok(files.includes(posix.join(posix.dirname(map), source)), source)
    }
  })

  test('has a manifest that lists every command', () => {
    const commands = files.flatMap(
      file => /^dist\/commands\/(.*)\.cjs$/.exec(file)?.[1]?.replaceAll('/', ':') ?? [],
    )
    const sources = readdirSync(join(root, 'src/commands'), {recursive: true, encoding: 'utf8'})
      .filter(file => file.endsWith('.ts'))
      .map(file => file.slice(0, -'.ts'.length).replaceAll('/', ':'))
    assert.deepEqual(Object.keys(manifest.commands).sort(), sources.sort())
    assert.deepEqual(commands.sort(), sources.sort())
  })

  test('names no path of the machine that it was made on', () => {
    const machine = [root, temp, homedir()].filter(path => path.length > 1)
    const naming = files.filter(file => {
      const text = readFileSync(join(installed, file), 'utf8')
      return machine.some(path => text.includes(`${path}/`))
    })
    assert.deepEqual(naming, [])
  })

  test('has no dependency that builds or downloads something when it is installed', () => {
    const shipped = Object.entries(lock.packages).filter(([path, {dev}]) => path !== '' && !dev)
    assert.ok(shipped.length > 5)
    const withScript = shipped.filter(([, {hasInstallScript}]) => hasInstallScript)
    assert.deepEqual(
      withScript.map(([path]) => path),
      [],
    )
    const withGyp = shipped.filter(([path]) => existsSync(join(root, path, 'binding.gyp')))
    for (const [path] of withGyp)
      assert.equal(JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')).gypfile, false, path)
  })
})

describe('npx in an empty folder', () => {
  test('runs the packed package, and leaves nothing but what it was asked for', async () => {
    const empty = join(temp, 'empty')
    mkdirSync(empty)
    const line = ['--yes', ...NPM_FLAGS, '--package', tarball, 'jobq', 'enqueue', 'F', '--db', 'jobs.db']
    assert.equal(await run(empty, 'npx', line), '1\n')
    assert.deepEqual(
      readdirSync(empty).filter(name => !name.startsWith('jobs.db')),
      [],
    )
  })
})

describe('npm ci in a checkout', () => {
  /** npm 10 builds what has a binding.gyp, unless the lock file says not to: it does not read the package's own word. */
  test('builds nothing, with an old npm, too', () => {
    const withGyp = Object.entries(lock.packages).filter(([path]) =>
      existsSync(join(root, path, 'binding.gyp')),
    )
    for (const [path, {gypfile}] of withGyp)
      assert.equal(
        gypfile,
        false,
        `package-lock.json: add "gypfile": false to ${path}; npm install has removed it`,
      )
  })

  /** One that npm would take from elsewhere, or that is too old, would come with a release unseen. */
  test('finds the Node.js of each release in the lock file, new enough for jobq', () => {
    const {packages}: Lock = JSON.parse(readFileSync(join(root, 'build/release/package-lock.json'), 'utf8'))
    const versions = ['x64', 'arm64'].map(arch => packages[`node_modules/node-linux-${arch}`]!.version!)
    assert.equal(versions[0], versions[1])
    const [major, minor] = versions[0]!.split('.').map(Number) as [number, number]
    const {engines} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    assert.equal(engines.node, '>=22.18')
    assert.ok(major > 22 || (major === 22 && minor >= 18), versions[0])
  })

  test('finds every platform of its tools in the lock file', () => {
    for (const [path, {optionalDependencies = {}}] of Object.entries(lock.packages))
      for (const name of Object.keys(optionalDependencies))
        assert.ok(isLocked(name, path), `package-lock.json lacks ${name}, which ${path} may need`)
  })
})

describe('installed in a project', () => {
  const jobq = (...args: string[]) =>
    run(project, 'npx', ['--no-install', 'jobq', ...args], {JOBQ_DB: 'jobs.db'})

  test('jobq --version says its version', async () => {
    const {version} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    assert.match(await jobq('--version'), new RegExp(`^jobq/${version} `))
  })

  test('a job is enqueued, and worked in TypeScript', async () => {
    assert.equal(await jobq('enqueue', 'Write', '--arg', '{"line":"worked"}'), '1\n')
    assert.match(await jobq('work', '--drain'), /^1 completed/)
    assert.equal(readFileSync(join(project, 'written'), 'utf8'), 'worked')
  })

  test("an application's own better-sqlite3 raises its own errors, and so does jobq's", async () => {
    const script = `
      import {JobQueue} from 'jobq'
      import Database from 'better-sqlite3'
      await using queue = await JobQueue.open({db: 'errors.db'})
      await queue.enqueue('F', {uniqkey: 'k'})
      const own = new Database('errors.db')
      try { own.exec('INSERT INTO job SELECT * FROM job') }
      catch (error) { console.log(error instanceof Database.SqliteError) }
      await queue.enqueue('F', {uniqkey: 'k'}).catch(error => console.log(error.code))`
    assert.equal(
      await run(project, process.execPath, ['--input-type=module', '-e', script]),
      'true\nDUPLICATE\n',
    )
  })

  test('the library is imported by its name', async () => {
    const script = `
      import {JobQueue} from 'jobq'
      const queue = await JobQueue.open({db: 'library.db'})
      console.log((await queue.enqueue('Write')).id, (await queue.list())[0].func)
      await queue.close()
    `
    const printed = await run(project, process.execPath, ['--input-type=module', '--eval', script])
    assert.equal(printed, '1 Write\n')
  })

  test('every command shows its help, with examples', async () => {
    const bin = join(project, 'node_modules/.bin/jobq') // npx takes longer than jobq
    const stdout = await run(project, bin, ['--help'])
    for (const [id, {examples = []}] of Object.entries(manifest.commands)) {
      assert.match(stdout, new RegExp(`^ +${id} `, 'm'))
      const help = await run(project, bin, [...id.split(':'), '--help'])
      assert.match(help, /^USAGE$/m, id)
      assert.ok(examples.length > 0, `${id} has no examples`)
      assert.match(help, /^EXAMPLES$/m, id)
      for (const [flag, {hidden}] of Object.entries(manifest.commands[id]!.flags))
        if (!hidden) assert.match(help, new RegExp(`--(\\[no-\\])?${flag}\\b`), id)
    }
  })
})

describe('in a strict TypeScript project', {concurrency: 2}, () => {
  /** The first program of docs/library.md, what it prints, and the functions that are declared there. */
  const blocks = blocksOf('docs/library.md')
  const [example, printed] = blocks.slice(blocks.findIndex(({words}) => words.includes('run')))
  const functions = blocks.find(({file}) => file === 'functions.ts')
  /** Each is one mistake. */
  const mistakes = [
    `queue.enqueue('Notify', {arg: {to: 7}})`,
    `queue.enqueue('Notify', {arg: {text: 'to no one'}})`,
    `queue.enqueue('Notify')`,
    `queue.enqueue('Notfiy', {arg: {to: 'ada@example.com'}})`,
    `queue.enqueue('Cleanup', {prioritty: 1})`,
    `queue.work({workers: {Notify: ({arg}) => arg.from}})`,
    `const found: string = await queue.find(1)`,
  ]

  // All of jobq's declarations are read by the compiler; what they need is one of the two: the types of the DOM or Node's
  for (const [what, options] of [
    ['node16', {module: 'node16', moduleResolution: 'node16', target: 'es2022', types: []}],
    ['nodenext', {module: 'nodenext', target: 'es2024', lib: ['es2024'], types: ['node']}],
    ['bundler', {module: 'esnext', moduleResolution: 'bundler', target: 'es2022', types: []}],
  ] as const)
    test(`moduleResolution ${what}: the example of docs/library.md compiles and runs, a wrong type does not`, async () => {
      const code = example!.code.trimEnd()
      const folder = typescriptProject(what, options, {
        'functions.ts': functions!.code,
        'app.ts': code,
        'wrong.ts': [code, ...mistakes].join('\n'),
      })
      const first = code.split('\n').length + 1
      assert.deepEqual(
        compile(folder, 'functions.ts', 'app.ts', 'wrong.ts').map(error => /^.*?\((\d+)/.exec(error)?.[0]),
        mistakes.map((_, i) => `wrong.ts(${first + i}`),
      )
      assert.equal(await run(folder, process.execPath, ['app.js']), printed!.code)
    })

  test('in CommonJS an import and a require have the same types, and run', async () => {
    const code = [
      `import {JobQueue} from 'jobq'`,
      `import jobq = require('jobq')`,
      `async function main() {`,
      `  const queue: jobq.JobQueue = await JobQueue.open({db: 'cjs.db'})`,
      `  console.log((await queue.enqueue('Notify', {arg: {to: 'ada@example.com'}})).id, JobQueue === jobq.JobQueue)`,
      `  await queue.close()`,
      `}`,
      `void main()`,
    ]
    const wrong = code.with(4, `  await queue.enqueue('Cleanup', {prioritty: 1})`)
    const options = {module: 'node16', moduleResolution: 'node16', target: 'es2022', types: ['node']}
    const folder = typescriptProject('commonjs', options, {
      'app.cts': code.join('\n'),
      'wrong.cts': wrong.join('\n'),
    })
    assert.deepEqual(
      compile(folder, 'app.cts', 'wrong.cts').map(error => error.split(',')[0]),
      ['wrong.cts(5'],
    )
    assert.equal(await run(folder, process.execPath, ['app.cjs']), '1 true\n')
  })

  test('every part of the package has its types, and can be imported', async () => {
    const {exports, peerDependencies} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const parts = Object.keys(exports).filter(part => part !== './package.json')
    const text = parts.map((part, i) => `export * as part${i} from '${posix.join('jobq', part)}'\n`).join('')
    const options = {module: 'nodenext', target: 'es2024', lib: ['es2024'], types: ['node']}
    const folder = typescriptProject('parts', options, {'parts.ts': text})
    for (const peer of Object.keys(peerDependencies)) {
      const path = join(project, 'node_modules', peer)
      mkdirSync(dirname(path), {recursive: true})
      symlinkSync(join(root, 'node_modules', peer), path)
    }
    assert.deepEqual(compile(folder, 'parts.ts'), [])
    const script = `import('./parts.js').then(parts => console.log(Object.keys(parts).length))`
    assert.equal(await run(folder, process.execPath, ['--eval', script]), `${parts.length}\n`)
  })

  function typescriptProject(name: string, options: object, files: Record<string, string>): string {
    const folder = join(project, name)
    mkdirSync(folder)
    const strict = {strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true}
    const typeRoots = [join(root, 'node_modules/@types')]
    const compilerOptions = {...strict, skipLibCheck: false, typeRoots, ...options}
    const config = JSON.stringify({compilerOptions, files: []})
    for (const [file, text] of Object.entries({
      ...files,
      'package.json': '{"type":"module"}',
      'base.json': config,
    }))
      writeFileSync(join(folder, file), text)
    return folder
  }

  /** @returns what the compiler complains of, a line each */
  function compile(folder: string, ...files: string[]): string[] {
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({extends: './base.json', files}))
    const {stdout} = spawnSync(join(root, 'node_modules/.bin/tsc'), {cwd: folder, encoding: 'utf8'})
    return stdout.split('\n').filter(line => /^\S/.test(line))
  }
})

describe('installed globally', () => {
  const prefix = join(temp, 'global')
  const elsewhere = join(temp, 'elsewhere')

  before(async () => {
    mkdirSync(join(elsewhere, 'workers'), {recursive: true})
    writeFileSync(join(elsewhere, 'workers/Write.ts'), WORKER)
    await npm(elsewhere, 'install', '--global', '--prefix', prefix, ...NPM_FLAGS, tarball)
  })

  test('a worker in a folder without node_modules imports jobq', async () => {
    const jobq = (...args: string[]) => run(elsewhere, join(prefix, 'bin/jobq'), [...args, '--db', 'jobs.db'])
    assert.equal(await jobq('enqueue', 'Write', '--arg', '{"line":"worked"}'), '1\n')
    assert.match(await jobq('work', '--drain'), /^1 completed/)
    assert.equal(readFileSync(join(elsewhere, 'written'), 'utf8'), 'worked')
  })
})

/** As Node resolves it: beside the package that asks, or further out. */
function isLocked(name: string, from: string): boolean {
  const folders = from
    .split('/node_modules/')
    .map((_, i, parts) => parts.slice(0, i + 1).join('/node_modules/'))
  return ['', ...folders].some(folder => `${folder && `${folder}/`}node_modules/${name}` in lock.packages)
}

/** Packing builds: that must not touch this checkout's own build, which other tests are using. */
function copyCheckout(): void {
  const left = new Set(['.git', '.cache', 'dist', 'oclif.manifest.json', 'release'])
  const isLeft = (path: string) => left.has(relative(root, path)) || path.endsWith('/node_modules')
  cpSync(root, checkout, {recursive: true, filter: path => !isLeft(path)})
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
}

function npm(cwd: string, ...args: string[]): Promise<string> {
  return run(cwd, 'npm', args)
}

/** @returns what it printed. @throws with its stderr if it failed */
async function run(cwd: string, file: string, args: string[], more: NodeJS.ProcessEnv = {}): Promise<string> {
  const {stdout} = await promisify(execFile)(file, args, {
    cwd,
    env: {...environment(cwd), ...more},
    encoding: 'utf8',
  })
  return stdout
}

/** Nothing of the npm or the jobq that may run these tests; the Node that runs them comes first. */
function environment(cwd: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_(package|lifecycle|command|config_.*prefix)|JOBQ_|INIT_CWD|NODE_TEST)/.test(name),
  )
  return {
    ...Object.fromEntries(kept),
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    WRITE_TO: join(cwd, 'written'),
  }
}
