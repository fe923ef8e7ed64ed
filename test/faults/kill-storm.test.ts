/**
 * Enqueuers, dispatchers, their children and servers killed at random, on each store: no acknowledged job is lost, none
 * runs twice unless who ran it was killed. JOBQ_SEED repeats a storm's choices; JOBQ_SOAK=1 is the long form.
 */
import {copyFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type TestContext, test} from 'node:test'
import {SEED, SOAK} from '../support/random.ts'
import {tempFolder} from '../support/temp.ts'
import {KINDS, type Kind, placeOf} from './storm/place.ts'
import {storm} from './storm/storm.ts'

/** The flags of two `jobq work` each. */
const DISPATCHERS: Record<string, string[][]> = SOAK
  ? {
      'without --prefetch': [[], []],
      'with --prefetch': [
        ['--prefetch', '5'],
        ['--prefetch', '20'],
      ],
      'with --durable': [['--durable'], ['--durable', '--prefetch', '5']],
    }
  : {'with and without --prefetch': [[], ['--prefetch', '5']]}
const LENGTH = SOAK ? {kills: 150, seconds: 120} : {kills: 35, seconds: 8}

for (const kind of KINDS)
  for (const [name, dispatchers] of Object.entries(DISPATCHERS))
    test(`a kill storm on ${kind}, ${name}, with seed ${SEED}`, t => raged(t, kind, name, dispatchers))

async function raged(t: TestContext, kind: Kind, name: string, dispatchers: string[][]): Promise<void> {
  const folder = tempFolder(t)
  const place = await placeOf(kind, folder)
  if ('missing' in place) return t.skip(place.missing)
  t.after(() => place.close())
  try {
    const {kills, ...counts} = await storm(folder, place, {seed: SEED, ...LENGTH, dispatchers})
    const sum = Object.values(kills).reduce((a, b) => a + b, 0)
    const figures = Object.entries({kills: sum, ...kills, ...counts}).map(([key, count]) => `${key}=${count}`)
    t.diagnostic(`kill storm, ${kind}, ${name}: ${figures.join(' ')}`)
  } catch (error) {
    const kept = join(tmpdir(), `jobq-storm-${kind}-${SEED}.journal`)
    copyFileSync(join(folder, 'journal'), kept)
    throw new Error(`${(error as Error).message}\nJOBQ_SEED=${SEED}; what happened is in ${kept}`, {
      cause: error,
    })
  }
}
