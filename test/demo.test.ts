/** The demo is the first thing that a visitor runs. */
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:http'
import type {AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import {delimiter, join} from 'node:path'
import {text} from 'node:stream/consumers'
import {after, test} from 'node:test'
import sharp from 'sharp'

const example = join(import.meta.dirname, '../examples/photo')
const temp = mkdtempSync(join(tmpdir(), 'jobq-demo-test-'))
after(() => rmSync(temp, {recursive: true, force: true}))

test('the demo runs, and leaves its pictures', async () => {
  const {status, stdout, stderr} = await run(process.execPath, [join(example, 'demo.ts')], {TMPDIR: temp})
  assert.equal(status, 0, stdout + stderr)
  for (const line of ['jobq enqueue', 'jobq work --drain', 'jobq list', 'jobq list --failed', 'jobq stats'])
    assert.match(stdout, new RegExp(`^\\$ ${line}( |$)`, 'm'))
  assert.match(stdout, /exited with status .*503/)
  const [folder = ''] = readdirSync(temp).filter(name => name.startsWith('jobq-demo-'))
  assert.ok(stdout.trimEnd().endsWith(join(temp, folder)))
  for (const [name, width, height] of [
    ['icon', 32, 21],
    ['small', 160, 107],
    ['square', 400, 400],
  ] as const) {
    const picture = await sharp(join(temp, folder, `${name}.jpg`)).metadata()
    assert.deepEqual([picture.width, picture.height], [width, height], name)
  }
})

test('a demo in which something is missing says so and exits 1', async () => {
  const folder = join(temp, 'bin')
  mkdirSync(folder)
  writeFileSync(join(folder, 'curl'), '#!/bin/sh\nexit 0\n', {mode: 0o755}) // posts nothing
  const environment = {TMPDIR: temp, PATH: [folder, process.env.PATH].join(delimiter)}
  const {status, stdout} = await run(process.execPath, [join(example, 'demo.ts')], environment)
  assert.equal(status, 1)
  assert.match(stdout, /^Not as it should be: jobq work exited 0, expected 5$/m)
})

test('Notify posts with node where there is no curl', async () => {
  const bodies: string[] = []
  const server = createServer(async (request, response) => {
    bodies.push(await text(request))
    response.writeHead(bodies.length === 1 ? 503 : 204).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  symlinkSync(process.execPath, join(temp, 'node'))
  const {port} = server.address() as AddressInfo
  const environment = {PATH: temp, NOTIFY_URL: `http://127.0.0.1:${port}/ready`}
  const notify = () => run(join(example, 'workers/Notify'), [], environment, '{"ready":[]}')
  const [first, second] = [await notify(), await notify()]
  server.close()
  assert.equal(first.status, 1)
  assert.match(first.stderr, /the server answered 503/)
  assert.equal(second.status, 0, second.stderr)
  assert.deepEqual(bodies, ['{"ready":[]}', '{"ready":[]}'])
})

/** Runs a program to its end. */
async function run(file: string, args: string[], more: NodeJS.ProcessEnv, stdin = '') {
  const child = spawn(file, args, {env: {...process.env, ...more}, stdio: 'pipe'})
  child.stdin.end(stdin)
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return {status: status as number, stdout, stderr}
}
