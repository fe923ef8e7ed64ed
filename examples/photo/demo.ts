/**
 * A photo is uploaded, the answer comes at once, and the work is done later: by the very commands that are printed.
 * Everything is checked at the end; the exit status is 1 if anything is not as it should be.
 */
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtemp, readFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {delimiter, dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {JobQueue} from 'jobq'
import sharp from 'sharp'
import {startWeb} from './web.ts'

const here = import.meta.dirname
const bin = fileURLToPath(new URL('../../bin/run.js', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'jobq-demo-'))
const db = join(folder, 'jobs.db')

const queue = await JobQueue.open({db})
const web = await startWeb(queue, folder)
try {
  await upload()
  await work()
  await check()
  say(`\nAll is as it should be. The pictures and the queue are in ${folder}`)
} catch (error) {
  say(`\nNot as it should be: ${error instanceof Error ? error.message : error}\nSee ${folder}`)
  process.exitCode = 1
} finally {
  web.close()
  await queue.close()
}

/** A web request must be answered within a second, so it enqueues what can wait. */
async function upload(): Promise<void> {
  const photo = await readFile(join(here, 'photo.jpg'))
  const since = performance.now()
  const answer = await fetch(`${web.url}/photo.jpg`, {method: 'PUT', body: photo})
  const jobs = await answer.text()
  const ms = performance.now() - since
  say(`PUT /photo.jpg: ${answer.status} after ${ms.toFixed(0)} ms, where a web request may take 1000`)
  say(jobs)
  assert.equal(answer.status, 202)
  assert.ok(ms < 1000, `the answer took ${ms} ms`)
}

async function work(): Promise<void> {
  say('\nA shell script wants an icon, and wants it first:')
  say(`$ cd examples/photo\n$ export JOBQ_DB=${db} NOTIFY_URL=${web.url}/ready`)
  const icon = JSON.stringify({from: join(folder, 'photo.jpg'), to: join(folder, 'icon.jpg'), width: 32})
  await jobq(0, 'enqueue', 'Thumbnail', '--priority', '30', '--arg', icon)
  await jobq(0, 'list')

  say('\nWork what is ready. The server that Notify reports to is out of order, so its job fails (exit 5):')
  await jobq(5, 'work', '--drain')

  say('\nWhat went wrong, and the job that waits for its next try:')
  await jobq(0, 'list', '--failed')
  await jobq(0, 'list')

  say('\nIt is due 3 s after it failed:')
  await jobq(0, 'work', '--max-jobs', '1', '--max-time', '30s')
  await jobq(0, 'stats')
}

async function check(): Promise<void> {
  assert.deepEqual(await sizes(), {icon: '32x21', small: '160x107', square: '400x400'})

  const attempts = (await queue.statuses()).reverse().map(({func, status}) => `${func} ${status}`)
  assert.deepEqual(attempts, [
    'Thumbnail completed', // the icon: enqueued last, priority 30
    'Crop completed',
    'Thumbnail completed',
    'Notify failed',
    'Notify completed',
  ])

  const exceptions = await queue.exceptions()
  assert.equal(exceptions.length, 1)
  assert.match(exceptions[0]!.message, /503/)

  const ready = JSON.stringify({ready: [join(folder, 'square.jpg'), join(folder, 'small.jpg')]})
  assert.deepEqual(web.reports, [
    {status: 503, body: ready},
    {status: 204, body: ready},
  ])
  assert.deepEqual(await queue.list(), [])
}

async function sizes(): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const name of ['icon', 'small', 'square']) {
    const {width, height} = await sharp(join(folder, `${name}.jpg`)).metadata()
    found[name] = `${width}x${height}`
  }
  return found
}

/** Runs `jobq …` as it is printed, beside the workers folder. */
async function jobq(status: number, ...args: string[]): Promise<void> {
  say(`$ jobq ${args.map(word => (/[^\w-]/.test(word) ? `'${word}'` : word)).join(' ')}`)
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: here,
    env: environment(),
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [exit] = await once(child, 'exit')
  assert.equal(exit, status, `jobq ${args[0]} exited ${exit}, expected ${status}`)
}

function environment(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('JOBQ_'))
  return {
    ...Object.fromEntries(others),
    JOBQ_DB: db,
    NOTIFY_URL: `${web.url}/ready`,
    // Notify calls node where there is no curl
    PATH: [process.env.PATH, dirname(process.execPath)].join(delimiter),
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
