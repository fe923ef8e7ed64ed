/**
 * How fast Node alone can start and reap a process. In a process of its own, as small as it gets: what fork copies is
 * the parent's memory map.
 */
import {execFile, spawn} from 'node:child_process'
import {fileURLToPath} from 'node:url'
import {promisify} from 'node:util'
import {cleanEnvironment} from '../lib/jobq.ts'

/** @returns processes a second */
export async function spawnMany(
  command: string,
  input: string,
  count: number,
  atOnce: number,
): Promise<number> {
  const words = [fileURLToPath(import.meta.url), command, input, String(count), String(atOnce)]
  const {stdout} = await promisify(execFile)(process.execPath, words, {env: cleanEnvironment()})
  return Number(stdout)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [command = '', input = '', count = '', atOnce = ''] = process.argv.slice(2)
  process.stdout.write(String(await measure(command, input, Number(count), Number(atOnce))))
}

async function measure(command: string, input: string, count: number, atOnce: number): Promise<number> {
  for (let i = 0; i < 20; i++) await one(command, input)
  let left = count
  const start = performance.now()
  await Promise.all(
    Array.from({length: atOnce}, async () => {
      while (left-- > 0) await one(command, input)
    }),
  )
  return count / ((performance.now() - start) / 1000)
}

function one(command: string, input: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [], {detached: true, stdio: 'pipe', env: {...process.env, JOBQ_ID: '1'}})
    child.once('error', reject)
    child.once('close', () => resolve())
    child.stdout.resume()
    child.stderr.resume()
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
