/** An application's other tools: test runners, loaders, bundlers, Bun; and what is left behind where code is loaded anew. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {tempFolder} from '../support/temp.ts'
import {missingTools, TOOLS} from '../support/tools.ts'

const ROOT = join(import.meta.dirname, '../..')

const APP = `
import {JobQueue, DuplicateJobError, type EnqueuedJob} from 'jobq'

async function main(): Promise<void> {
  const queue = await JobQueue.open({db: 'jobs.db', config: '/dev/null'})
  const job: EnqueuedJob = await queue.enqueue('Notify', {arg: {to: 'ada'}, uniqkey: 'k'})
  const again = await queue.enqueue('Notify', {uniqkey: 'k'}).catch((error: unknown) => error instanceof DuplicateJobError)
  const done: unknown[] = []
  await queue.work({mode: 'drain', workers: {Notify: ({arg}) => void done.push(arg)}})
  await queue.close()
  console.log(JSON.stringify({id: job.id, again, done}))
}

main().catch((error: Error & {hint?: string}) => {
  console.log(\`\${error}; \${error.hint}\`)
  process.exitCode = 1
})
`
const WORKED = '{"id":1,"again":true,"done":[{"to":"ada"}]}\n'

/** As their users write it: with what the runner has as globals. */
const TESTS = `
test('a job is worked', async () => {
  const t = await openTestQueue({workers: {Notify: ({arg}) => { if (!arg.to) throw new TypeError('no one') }}})
  await t.queue.enqueue('Notify', {arg: {to: 'ada'}})
  expect((await t.runOne()).outcome).toBe('completed')
  await t.queue.enqueue('Notify', {arg: {}})
  const failed = await t.runOne()
  expect(failed.outcome).toBe('failed')
  expect(String(failed.error)).toBe('TypeError: no one')
  await expect(t.queue.enqueue('Notify', {uniqkey: ''})).rejects.toThrow(UsageError)
  await t.close()
})

test('in a file, too', async () => {
  const queue = await JobQueue.open({db: 'jobs.db', config: '/dev/null'})
  const done = []
  await queue.enqueue('Notify', {arg: {to: 'grace'}})
  await queue.work({mode: 'drain', workers: {Notify: ({arg}) => void done.push(arg.to)}})
  await queue.close()
  expect(done).toEqual(['grace'])
})
`

describe('beside', {skip: missingTools ?? false, concurrency: 2}, () => {
  test('jest, as it comes', t => {
    const app = application(t, {
      'package.json': '{"name": "app"}',
      'notify.test.js': `const {openTestQueue} = require('jobq/testing')\nconst {JobQueue, UsageError} = require('jobq')\n${TESTS}`,
    })
    const {status, stderr} = app.run([bin('jest/bin/jest.js'), '--ci', '--no-cache', '--detectOpenHandles'])
    assert.equal(status, 0, stderr)
    assert.match(stderr, /Tests: +2 passed/)
    assert.doesNotMatch(stderr, /open handle/)
  })

  test('vitest', t => {
    const app = application(t, {
      'package.json': '{"name": "app", "type": "module"}',
      'notify.test.ts': `import {openTestQueue} from 'jobq/testing'\nimport {JobQueue, UsageError} from 'jobq'\nimport {expect, test} from 'vitest'\n${TESTS}`,
    })
    app.link('vitest')
    const {status, stdout, stderr} = app.run([bin('vitest/vitest.mjs'), 'run', '--no-color'])
    assert.equal(status, 0, stdout + stderr)
    assert.match(stdout, /Tests +2 passed/)
  })

  test('tsx', t => {
    const app = application(t, {'package.json': '{"name": "app"}', 'app.ts': APP})
    assert.equal(app.run([bin('tsx/dist/cli.mjs'), 'app.ts']).stdout, WORKED)
  })

  test('Bun', t => {
    const app = application(t, {'package.json': '{"name": "app"}', 'app.ts': APP})
    const bun = readdirSync(join(TOOLS, 'node_modules/@oven'))[0]!
    const {stdout, stderr} = app.run(['app.ts'], bin(`@oven/${bun}/bin/bun`))
    assert.equal(stdout, WORKED, stderr)
  })

  test('esbuild: jobq stays outside of a bundle; one that has it all needs the addon, and says so', t => {
    const app = application(t, {'package.json': '{"name": "app"}', 'app.ts': APP})
    const bundle = (...flags: string[]) =>
      app.run(
        ['app.ts', '--bundle', '--platform=node', '--log-level=error', ...flags],
        bin('esbuild/bin/esbuild'),
      )
    assert.equal(bundle('--external:jobq', '--outfile=outside.js').status, 0)
    assert.equal(app.run(['outside.js']).stdout, WORKED)
    assert.equal(bundle('--external:better-sqlite3', '--outfile=whole.js').status, 0)
    const alone = tempFolder(t)
    cpSync(app.path('whole.js'), join(alone, 'whole.js'))
    const missing = run(alone, ['whole.js'])
    assert.match(
      missing.stdout,
      /^StoreError: can't open \S+ \(Cannot find module 'better-sqlite3'\); install better-sqlite3 .*--external:jobq/,
    )
    mkdirSync(join(alone, 'node_modules'))
    symlinkSync(join(ROOT, 'node_modules/better-sqlite3'), join(alone, 'node_modules/better-sqlite3'))
    assert.equal(run(alone, ['whole.js']).stdout, WORKED)
  })

  test('webpack: jobq stays outside', t => {
    const app = application(t, {'package.json': '{"name": "app"}', 'app.ts': APP})
    app.run(['app.ts', '--outfile=app.js', '--log-level=error'], bin('esbuild/bin/esbuild'))
    app.write(
      'bundle.js',
      `require(${JSON.stringify(bin('webpack'))})({
        mode: 'production', target: 'node', entry: './app.js', output: {path: __dirname, filename: 'bundled.js'},
        externals: {jobq: 'commonjs jobq'},
      }, (error, stats) => console.log(error ?? stats.toString({all: false, errors: true, warnings: true})))`,
    )
    assert.equal(app.run(['bundle.js']).stdout.trim(), '')
    assert.equal(app.run(['bundled.js']).stdout, WORKED)
  })
})

test('TypeScript that becomes CommonJS', t => {
  const compilerOptions = {
    module: 'node16',
    target: 'es2022',
    strict: true,
    types: ['node'],
    skipLibCheck: false,
  }
  const app = application(t, {
    'package.json': '{"name": "app", "type": "commonjs"}',
    'app.ts': APP,
    'tsconfig.json': JSON.stringify({compilerOptions, files: ['app.ts']}),
  })
  mkdirSync(app.path('node_modules/@types'))
  symlinkSync(join(ROOT, 'node_modules/@types/node'), app.path('node_modules/@types/node'))
  const {status, stdout} = app.run([join(ROOT, 'node_modules/typescript/bin/tsc')])
  assert.equal(status, 0, stdout)
  assert.match(readFileSync(app.path('app.js'), 'utf8'), /require\("jobq"\)/)
  assert.equal(app.run(['app.js']).stdout, WORKED)
})

/** What a server's reload does (Fastify's, Next's): the application's modules are loaded anew, and close what they had. */
test('code that is loaded anew leaves nothing behind: no descriptor, timer or listener', t => {
  const app = application(t, {
    'package.json': '{"name": "app"}',
    'service.js': `
      const {JobQueue} = require('jobq')
      const {prometheus} = require('jobq/prometheus')
      module.exports = async () => {
        const queue = await JobQueue.open({db: 'jobs.db', config: '/dev/null', plugins: {prometheus: prometheus()}})
        const stop = new AbortController()
        const working = queue.work({workers: {Notify: () => {}}, signal: stop.signal})
        const job = await queue.enqueue('Notify', {tracked: true})
        await queue.wait(job)
        const metrics = await require('prom-client').register.metrics()
        return {metrics, close: async () => { stop.abort(); await working; await queue.close() }}
      }`,
    'app.js': `
      const {readdirSync} = require('node:fs')
      const counts = () => ({
        descriptors: readdirSync('/proc/self/fd').length,
        resources: process.getActiveResourcesInfo().filter(name => !/^(FSReqPromise|Immediate)$/.test(name)).length,
        listeners: process.eventNames().map(name => process.listenerCount(name)).reduce((sum, count) => sum + count, 0),
      })
      const reload = async () => {
        delete require.cache[require.resolve('./service.js')]
        const service = await require('./service.js')()
        if (!service.metrics.includes('jobq_jobs')) throw new Error('no metrics')
        await service.close()
        await new Promise(resolve => setImmediate(resolve))
      }
      ;(async () => {
        process.on('warning', warning => console.log(String(warning)))
        for (let i = 0; i < 3; i++) await reload()
        const before = counts()
        for (let i = 0; i < 12; i++) await reload()
        console.log(JSON.stringify([before, counts()]))
      })()`,
  })
  symlinkSync(join(ROOT, 'node_modules/prom-client'), app.path('node_modules/prom-client'))
  const {stdout, stderr} = app.run(['app.js'])
  assert.equal(stderr, '')
  const [before, after] = JSON.parse(stdout)
  assert.deepEqual(after, before)
})

/** A project that has jobq as `npm install` would leave it, but for a link. */
function application(t: TestContext, files: Record<string, string>) {
  const folder = tempFolder(t)
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text)
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(ROOT, join(folder, 'node_modules/jobq'))
  for (const [name, text] of Object.entries(files)) write(name, text)
  return {
    write,
    path: (name: string) => join(folder, name),
    link: (name: string) => symlinkSync(bin(name), join(folder, 'node_modules', name)),
    run: (words: readonly string[], program?: string) => run(folder, words, program),
  }
}

function run(cwd: string, words: readonly string[], program = process.execPath) {
  const {NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env} = process.env
  return spawnSync(program, words, {cwd, env: {...env, NO_COLOR: '1', CI: 'true'}, encoding: 'utf8'})
}

/** In the tools' folder. */
function bin(path: string): string {
  return join(TOOLS, 'node_modules', path)
}
