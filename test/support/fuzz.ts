/**
 * Inputs made up by fast-check from a seed, and how many of them: some thousands in `npm test`, always the same ones, so that
 * what fails there is the change's doing; with JOBQ_SOAK=1 more than a hundred thousand, from a seed of their own.
 *
 * A find is told with its seed and path; it is repeated by JOBQ_SEED=… JOBQ_FUZZ_PATH=… and --test-name-pattern.
 */
import type {TestContext} from 'node:test'
import fc from 'fast-check'
import {patient, SEED, SOAK} from './random.ts'

const PATH = process.env.JOBQ_FUZZ_PATH
/** One input that takes longer hangs. */
const PATIENCE_MS = patient(30_000)

/** How many inputs, in the short form and in the long one. */
export type Counts = readonly [short: number, soak: number]

/** @param check throws for a find; what it returns is counted, so that one sees what the inputs have come to */
export async function fuzz<T>(
  t: TestContext,
  [short, soak]: Counts,
  inputs: fc.Arbitrary<T>,
  check: (input: T) => unknown,
): Promise<void> {
  const numRuns = SOAK ? soak : short
  const came = new Map<unknown, number>()
  const property = fc.asyncProperty(inputs, async input => {
    const to = await check(input)
    came.set(to, (came.get(to) ?? 0) + 1)
  })
  await fc.assert(property, {
    ...{numRuns, seed: SEED, timeout: PATIENCE_MS},
    ...(PATH === undefined ? {} : {path: PATH}),
  })
  const ends = [...came].map(([to, times]) => `${to}: ${times}`).sort()
  t.diagnostic(`JOBQ_SEED=${SEED}; ${ends.join(', ')}`)
  t.diagnostic(`${t.name}: inputs=${numRuns}`) // test/faults/soak.ts sums it up
}

/** What has been trouble to someone: numbers at their edges, names of other things, shells, terminals, paths, URLs. */
const NASTY = [
  ...[
    '',
    ' ',
    '\t',
    '-',
    '--',
    '---',
    '--=',
    '-1',
    '-5',
    '+1',
    '0',
    '-0',
    '1',
    '1.5',
    '1e3',
    '0x10',
    '007',
    '٣',
    '１',
  ],
  ...[
    '4294967294',
    '4294967295',
    '4294967296',
    '9007199254740991',
    '9007199254740992',
    '18446744073709551616',
  ],
  ...[
    '99999999999999999999',
    'NaN',
    'Infinity',
    'null',
    'undefined',
    'true',
    'false',
    '{}',
    '[]',
    '[',
    '{"a":',
    '""',
  ],
  ...[
    '"',
    "'",
    '\\',
    '`',
    '$HOME',
    '$(touch pwned)',
    '`touch pwned`',
    '; touch pwned',
    '| touch pwned',
    '&',
    '*',
    '?',
  ],
  ...[
    '\n',
    'a\nb',
    '\r\n',
    'a\rb',
    '\u001b[31m',
    '\u001b]0;x\u0007',
    '\u009b31m',
    '\u202ea',
    '\u2028',
    '\u00ad',
    '\ufeff',
  ],
  ...[
    '\ufffd',
    'é',
    'e\u0301',
    '😀',
    '\u{10ffff}',
    '\u{e0001}',
    'constructor',
    '__proto__',
    'toString',
    'hasOwnProperty',
  ],
  ...[
    '%',
    '%s',
    '%d%n',
    '%00',
    '%ff',
    '../x',
    '..',
    '.',
    '::',
    'a::b',
    '::..::',
    'a::..::b',
    'a/b',
    'C:\\x',
    '~',
    '#',
    '#3',
  ],
  ...[
    '@',
    '@0',
    '@-1',
    '@4294967295',
    '@4294967296',
    '@1e9',
    '1:1',
    '0:1',
    '1:0',
    '1:',
    ':1',
    '1:1:1',
    '22:00',
    'tomorrow',
  ],
  ...[
    '2026-02-29',
    '2026-12-24T18:00',
    '1969-12-31T23:59:59Z',
    '2106-02-07T06:28:16Z',
    '90',
    '90s',
    '5m',
    '2h',
    '3d',
    '1h30m',
  ],
  ...[
    "'; DROP TABLE job; --",
    '--json',
    '--help',
    '-h',
    '--version',
    'help',
    'NULL',
    ':memory:',
    '=',
    'a=b',
    'F=',
    '=true',
  ],
  ...['a'.repeat(255), 'a'.repeat(256), '😀'.repeat(255), '😀'.repeat(256), 'long '.repeat(2000)],
] as const

/** Text as a command line can hold it: no NUL, and nothing that UTF-8 can't say. */
export const nastyWord: fc.Arbitrary<string> = fc.oneof(
  {weight: 3, arbitrary: fc.constantFrom(...NASTY)},
  {weight: 1, arbitrary: fc.string({unit: 'binary', maxLength: 12}).map(asWord)},
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom(...NASTY), fc.constantFrom(...NASTY)).map(([a, b]) => a + b),
  },
)

function asWord(text: string): string {
  return text.replaceAll('\0', '').toWellFormed()
}

/** Any text that JavaScript can hold: halves of characters and NUL are text, too. */
export const nastyText: fc.Arbitrary<string> = fc.oneof(
  {weight: 4, arbitrary: nastyWord},
  {weight: 2, arbitrary: fc.array(fc.integer({min: 0, max: 0xffff}), {maxLength: 12}).map(fromUnits)},
  {weight: 1, arbitrary: fc.constantFrom('\0', 'a\0b', '\ud800', 'a\udc00', '\udfff\ud800')},
)

function fromUnits(units: number[]): string {
  return String.fromCharCode(...units)
}

/** Any value that JSON can say, with nasty texts and keys in it. */
export const nastyJson: fc.Arbitrary<unknown> = fc.letrec<{value: unknown}>(tie => ({
  value: fc.oneof(
    {maxDepth: 3, withCrossShrink: true},
    nastyText,
    fc.constantFrom(null, true, false, 0, -0, 1, -1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e300, 5e-324),
    fc.integer(),
    fc.array(tie('value'), {maxLength: 4}),
    fc.dictionary(nastyText, tie('value'), {maxKeys: 4}),
  ),
})).value

/** Any value of JavaScript's, what no JSON can say included. */
export const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  {weight: 3, arbitrary: nastyJson},
  {
    weight: 1,
    arbitrary: fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      undefined,
      NaN,
      Infinity,
      -Infinity,
      10n,
      Symbol('s'),
      () => 1,
      new Date(NaN),
      /x/,
    ),
  },
)
