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
import {delimiter, dirname, join, relative} from 'node:path'
import {after, before, describe, test} from 'node:test'
import {promisify} from 'node:util'

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
      dev?: boolean
      hasInstallScript?: boolean
      gypfile?: boolean
      optionalDependencies?: Record<string, string>
    }
  >
}

interface Manifest {
  commands: Record<string, {flags: Record<string, unknown>; examples?: unknown[]}>
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
      'dist/quick/quick.cjs',
      'dist/lib/index.js',
      'dist/lib/index.d.ts',
      'oclif.manifest.json',
    ])
      assert.ok(files.includes(file), `${file} is missing`)
    for (const file of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'docs/commands.md'])
      assert.ok(files.includes(file), `${file} is missing`)
    const expected =
      /^(bin\/(run\.js|package\.json)|dist\/quick\/.*\.cjs|dist\/.*\.(js|d\.ts)|docs\/.*\.md|oclif\.manifest\.json|package\.json|[A-Z]+(\.md)?)$/
    assert.deepEqual(
      files.filter(file => !expected.test(file)),
      [],
    )
  })

  test('has a manifest that lists every command', () => {
    const commands = files.flatMap(
      file => /^dist\/commands\/(.*)\.js$/.exec(file)?.[1]?.replaceAll('/', ':') ?? [],
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

  test('its types are those of the sources', async () => {
    writeFileSync(
      join(project, 'app.ts'),
      `import {JobQueue} from 'jobq'\nexport const open: () => Promise<JobQueue> = JobQueue.open\n`,
    )
    const tsc = join(root, 'node_modules/.bin/tsc')
    await run(project, tsc, [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2024',
      '--typeRoots',
      join(root, 'node_modules/@types'),
      '--types',
      'node',
      'app.ts',
    ])
  })

  test('every command shows its help, with examples', async () => {
    const {stdout} = spawnSync('npx', ['--no-install', 'jobq', '--help'], {
      cwd: project,
      env: environment(project),
      encoding: 'utf8',
    })
    for (const [id, {examples = []}] of Object.entries(manifest.commands)) {
      assert.match(stdout, new RegExp(`^ +${id} `, 'm'))
      const help = await jobq(...id.split(':'), '--help')
      assert.match(help, /^USAGE$/m, id)
      assert.ok(examples.length > 0, `${id} has no examples`)
      assert.match(help, /^EXAMPLES$/m, id)
      for (const flag of Object.keys(manifest.commands[id]!.flags))
        assert.match(help, new RegExp(`--(\\[no-\\])?${flag}\\b`), id)
    }
  })
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
  const left = new Set(['.git', 'node_modules', 'dist', 'oclif.manifest.json'])
  cpSync(root, checkout, {recursive: true, filter: path => !left.has(relative(root, path))})
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
