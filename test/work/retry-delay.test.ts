/** Failed jobs come back later and later, whichever way that is said. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {JobQueue} from '../../src/lib/index.ts'
import {Workplace} from '../support/workplace.ts'

const FAILS = (settings: string) =>
  `export default {maxRetries: 4, ${settings} work() { throw new Error('no') }}`
const RANGE = {least: [100, 160, 320, 640], most: [120, 240, 480, 960]}

/** Seconds from each failure of the only job to its next try. */
async function delays(site: Workplace, drain: () => Promise<unknown>): Promise<number[]> {
  const found: number[] = []
  for (let retries = 1; retries <= 4; retries++) {
    await drain()
    const [job] = site.rows<{retries: number; delay: number}>(
      `SELECT retry_cnt AS retries, run_after - (SELECT max(exception_time) FROM exception_log) AS delay FROM job`,
    )
    assert.equal(job!.retries, retries)
    found.push(job!.delay)
    site.rows('UPDATE job SET run_after = 0')
  }
  return found
}

function assertGrows(found: readonly number[]): void {
  for (const [i, delay] of found.entries())
    assert.ok(delay >= RANGE.least[i]! && delay <= RANGE.most[i]!, `${found}`)
}

describe('a delay that grows', {concurrency: 3}, () => {
  const ways: [what: string, files: Record<string, string>][] = [
    ['a module', {'workers/F.mjs': FAILS(`retryDelay: '100s..1h',`)}],
    ['an executable', {'workers/F': '#!/bin/sh\n# jobq: max-retries=4 retry-delay=100s..1h\nexit 1'}],
    [
      'the configuration, of a module that says something else',
      {
        'workers/F.mjs': FAILS('retryDelay: job => 7,'),
        'jobq.config.json': '{"funcs": {"F": {"retryDelay": "100s..1h"}}}',
      },
    ],
    [
      'the configuration, of a command',
      {
        'jobq.config.json':
          '{"workers": {"F": "exit 1"}, "funcs": {"F": {"max_retries": 4, "retry_delay": "100s..1h"}}}',
      },
    ],
  ]
  for (const [what, files] of ways)
    test(`is said by ${what}`, async t => {
      const site = new Workplace(t)
      for (const [path, text] of Object.entries(files))
        site.write(path, text, text.startsWith('#!') ? 0o755 : 0o644)
      await site.enqueue(['F'])
      const said: string[] = []
      const found = await delays(site, async () => said.push((await site.drain()).stderr))
      assertGrows(found)
      for (const [i, stderr] of said.entries())
        assert.match(stderr, new RegExp(`\\(again in ${found[i]} s\\)`))
    })

  test('is said within an application', async t => {
    const site = new Workplace(t)
    await site.enqueue(['F'])
    await using queue = await JobQueue.open({db: site.db})
    const work = () => {
      throw new Error('no')
    }
    const workers = {F: {maxRetries: 4, retryDelay: '100s..1h', work}}
    assertGrows(await delays(site, () => queue.work({workers, mode: 'drain'})))
    await assert.rejects(queue.work({workers: {F: {retryDelay: '10s..', work}}, mode: 'drain'}), {
      code: 'BAD_WORKER',
      message: /^workers\.F: retryDelay: expected a duration such as .*, got ""$/,
    })
  })

  test('holds for one that is stopped, too', async t => {
    const site = new Workplace(t, {
      F: `export default {maxRetries: 1, retryDelay: '100s..1h', grabFor: 1, work: () => new Promise(() => setInterval(() => {}, 1000))}`,
    })
    await site.enqueue(['F'])
    await site.drain()
    const [delay] = site.column<number>(
      'SELECT run_after - (SELECT max(exception_time) FROM exception_log) FROM job',
    )
    assert.ok(delay! >= 100 && delay! <= 120, `${delay}`)
  })
})
