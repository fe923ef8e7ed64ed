/**
 * Uploads many pictures at once, and tells how long the answers took.
 *
 *   node examples/web/load.ts http://127.0.0.1:8080 200
 */
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'

export interface Load {
  answers: {status: number; ms: number}[]
  /** Milliseconds. */
  p50: number
  p99: number
  longest: number
}

export async function upload(url: string, count: number): Promise<Load> {
  const photo = new Blob([await readFile(join(import.meta.dirname, '../photo/photo.jpg'))], {
    type: 'image/jpeg',
  })
  const one = async (_: unknown, i: number) => {
    const form = new FormData()
    form.set('picture', photo, `photo-${i + 1}.jpg`)
    const since = performance.now()
    const response = await fetch(`${url}/pictures`, {method: 'POST', body: form})
    await response.arrayBuffer()
    return {status: response.status, ms: performance.now() - since}
  }
  const answers = await Promise.all(Array.from({length: count}, one))
  const times = answers.map(({ms}) => ms).sort((a, b) => a - b)
  const at = (q: number) => times[Math.ceil(q * count) - 1]!
  return {answers, p50: at(0.5), p99: at(0.99), longest: at(1)}
}

if (import.meta.main) {
  const [url = 'http://127.0.0.1:8080', count = '200'] = process.argv.slice(2)
  const {answers, p50, p99, longest} = await upload(url, Number(count))
  const refused = answers.filter(({status}) => status !== 201).length
  const [a, b, c] = [p50, p99, longest].map(ms => Math.round(ms))
  process.stdout.write(
    `${answers.length} uploads: p50 ${a} ms, p99 ${b} ms, longest ${c} ms, ${refused} refused\n`,
  )
  if (refused > 0 || longest >= 1000) process.exitCode = 1
}
