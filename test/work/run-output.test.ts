/** What is kept of what an attempt writes: its end, whole lines, in bounded memory. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import type {KeepOutput} from '../../src/lib/jobs/job.ts'
import {RunOutput, type Stream} from '../../src/lib/work/executors/run-output.ts'

type Written = [stream: Stream, line: string, isWhole?: boolean]

function kept(keep: KeepOutput, ...written: Written[]) {
  const output = new RunOutput(keep)
  for (const [stream, line, isWhole = true] of written) output.add(stream, line, isWhole)
  const found = output.kept
  return found && [Buffer.from(found.bytes).toString('utf8'), found.isCut]
}

describe('what is kept of an output', () => {
  const cases: [
    name: string,
    keep: KeepOutput,
    written: Written[],
    kept: [text: string, isCut: boolean] | undefined,
  ][] = [
    ['nothing of nothing', 10, [], undefined],
    ['nothing where none is kept', 0, [['stdout', 'x']], undefined],
    [
      'all that there is room for',
      6,
      [
        ['stdout', 'ab'],
        ['stderr', 'cd'],
      ],
      ['ab\ncd\n', false],
    ],
    [
      'its end, from the beginning of a line',
      5,
      [
        ['stdout', 'ab'],
        ['stderr', 'cd'],
      ],
      ['cd\n', true],
    ],
    [
      'a line that begins just there',
      3,
      [
        ['stdout', 'ab'],
        ['stderr', 'cd'],
      ],
      ['cd\n', true],
    ],
    [
      'the end of a line that is longer',
      4,
      [
        ['stdout', 'ab'],
        ['stdout', 'cdefgh'],
      ],
      ['fgh\n', true],
    ],
    [
      'the same without a newline',
      4,
      [
        ['stdout', 'ab'],
        ['stdout', 'cdefgh', false],
      ],
      ['efgh', true],
    ],
    ['one byte too many', 4, [['stdout', 'abcd']], ['bcd\n', true]],
    ['whole characters', 5, [['stdout', 'ééé', false]], ['éé', true]],
    [
      'a last line without its end',
      10,
      [
        ['stdout', 'ab'],
        ['stdout', 'cd', false],
      ],
      ['ab\ncd', false],
    ],
    [
      'a line that comes in parts is one',
      10,
      [
        ['stdout', 'ab', false],
        ['stdout', 'cd', false],
        ['stdout', ''],
      ],
      ['abcd\n', false],
    ],
    [
      'but another stream begins a line of its own',
      10,
      [
        ['stdout', 'ab', false],
        ['stderr', 'cd'],
        ['stdout', 'ef', false],
      ],
      ['ab\ncd\nef', false],
    ],
    ['of every attempt', 'all', [['stdout', 'x']], ['x\n', false]],
  ]
  for (const [name, keep, written, expected] of cases)
    test(name, () => assert.deepEqual(kept(keep, ...written), expected))

  test('whatever is written, in whatever pieces: as the text as a whole says', () => {
    let seed = 7
    const random = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed % below
    }
    for (let round = 0; round < 300; round++) {
      const limit = 1 + random(70)
      const output = new RunOutput(limit)
      let whole = ''
      for (let i = random(60); i >= 0; i--) {
        const line = 'é'.repeat(random(3)) + 'x'.repeat(random(12) === 0 ? random(200) : random(20))
        whole += `${line}\n`
        output.add('stdout', line, true)
      }
      const bytes = Buffer.from(whole)
      const {bytes: found, isCut} = output.kept!
      assert.equal(isCut, bytes.length > limit)
      assert.ok(found.length <= limit && whole.endsWith(Buffer.from(found).toString('utf8')))
      const lines = whole.split(/(?<=\n)/)
      let [most, size] = ['', 0]
      for (const line of lines.toReversed()) {
        size += Buffer.byteLength(line)
        if (size > limit) break
        most = line + most
      }
      if (most !== '') assert.equal(Buffer.from(found).toString('utf8'), most)
      else assert.ok(found.length > limit - 2)
    }
  })

  test('a gigabyte is none', () => {
    const output = new RunOutput(16 << 10)
    const line = 'x'.repeat(1023)
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 1 << 17; i++) output.add('stdout', line, true)
    assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20)
    assert.deepEqual([output.kept!.bytes.length, output.kept!.isCut], [16 << 10, true])
  })
})
