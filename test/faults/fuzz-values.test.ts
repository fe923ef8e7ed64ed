/**
 * Whatever is read: times, durations, names, addresses, MessagePack, configurations, what a worker's process says, a line
 * of settings in a script. It is taken for what it says, within what the tables hold, or refused by an error that jobq raises
 * on purpose, which shows no password.
 */
import assert from 'node:assert/strict'
import {chmodSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import fc from 'fast-check'
import {validateConfig} from '../../src/lib/config/schema.ts'
import {ArgumentError, JobqError} from '../../src/lib/jobs/errors.ts'
import {MAX_ARG_BYTES, MAX_UINT32} from '../../src/lib/jobs/job.ts'
import {checkFunc, checkUniqkey, parseRef, parseSize, parseWhole} from '../../src/lib/jobs/names.ts'
import {decodeArg} from '../../src/lib/jobs/serializers/decode.ts'
import {encodeArg} from '../../src/lib/jobs/serializers/encode.ts'
import {storedFromInput} from '../../src/lib/jobs/serializers/input.ts'
import {SERIALIZERS} from '../../src/lib/jobs/serializers/serializers.ts'
import {parseDelay, parseDuration, parsePast, parseTime} from '../../src/lib/jobs/time.ts'
import {addressName, parseAddress} from '../../src/lib/store/address.ts'
import {readFromChild} from '../../src/lib/work/executors/from-child.ts'
import {outcomeFromWire, unpack} from '../../src/lib/work/executors/protocol.ts'
import {findHandlers} from '../../src/lib/work/handlers.ts'
import {fuzz, nastyJson, nastyText, nastyValue, nastyWord} from '../support/fuzz.ts'
import {tempFolder} from '../support/temp.ts'

/** What it comes to; undefined if it was refused on purpose, in a line that says what was expected. */
function taken<T>(read: () => T, secret?: string): T | undefined {
  try {
    return read()
  } catch (error) {
    refused(error, secret)
    return undefined
  }
}

function refused(error: unknown, secret?: string): void {
  if (!(error instanceof JobqError)) throw error
  assert.notEqual(error.message, '')
  if (secret !== undefined) assert.ok(!`${error.message} ${error.hint}`.includes(secret), error.message)
}

const outcome = (value: unknown) => (value === undefined ? 'refused' : 'taken')

const isUint32 = (value: unknown) =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_UINT32

describe('times and numbers', () => {
  const digits = fc.stringMatching(/^\d{0,12}$/)
  const time = fc.oneof(
    nastyText,
    fc
      .tuple(
        fc.constantFrom('', '@', '-', '+', '@-'),
        digits,
        fc.constantFrom('', 's', 'm', 'h', 'd', 'w', 'ms', ' '),
      )
      .map(parts => parts.join('')),
    fc.stringMatching(/^(\d{1,9}w)?(\d{1,3}d)?(\d{1,3}h)?(\d{1,3}m)?(\d{1,3}s?)?$/),
    fc.stringMatching(/^(tomorrow|yesterday|today)?[ T]?[0-3]?\d(:[0-6]\d){0,3}$/),
    fc
      .tuple(
        fc.stringMatching(/^\d{4}-\d\d-\d\d$/),
        fc.constantFrom('', 'T', ' ', 't'),
        fc.stringMatching(/^(\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?$/),
        fc.constantFrom('', 'Z', '+09:00', '-1200', '+24:00', 'z', ' UTC'),
      )
      .map(parts => parts.join('')),
    fc.date({noInvalidDate: true}).map(date => date.toISOString()),
  )

  test('a time or a duration is whole seconds that the column holds, or refused', t =>
    fuzz(t, [4000, 20_000], time, text => {
      const duration = taken(() => parseDuration(text, 'x'))
      const delay = taken(() => parseDelay(text, 'x'))
      for (const seconds of [duration, delay]) assert.ok(seconds === undefined || isUint32(seconds))
      const due = taken(() => parseTime(text, 'x'))
      const past = taken(() => parsePast(text, 'x'))
      for (const point of [due, past])
        if (point) assert.deepEqual(Object.values(point).map(isUint32), [true], JSON.stringify(point))
      return outcome(due)
    }))

  test('a number is one that the column holds, or refused', t =>
    fuzz(t, [1000, 5000], fc.oneof(nastyText, digits, fc.double().map(String)), text => {
      const whole = taken(() => parseWhole(text, 'x'))
      assert.ok(whole === undefined || isUint32(whole))
      const size = taken(() => parseSize(text, 'x'))
      assert.ok(size === undefined || (Number.isSafeInteger(size) && size >= 0))
      const ref = taken(() => parseRef(text, 'x'))
      assert.ok(ref === undefined || (Number.isSafeInteger(ref.id) && ref.id > 0))
      return outcome(whole ?? size ?? ref)
    }))

  test('a name is text that every store keeps as it is, or refused', t =>
    fuzz(
      t,
      [1000, 5000],
      fc.oneof(
        nastyText,
        nastyText.map(text => text.repeat(20)),
      ),
      text => {
        const name = taken(() => checkFunc(text))
        assert.equal(
          taken(() => checkUniqkey(text)),
          name,
        )
        if (name !== undefined)
          assert.deepEqual([name, Buffer.from(name).toString(), name.includes('\0')], [text, text, false])
        return outcome(name)
      },
    ))
})

describe('addresses', () => {
  const SECRET = 'hunter2'
  const part = fc.oneof(
    fc.constantFrom('', 'db', 'localhost', '127.0.0.1', '[::1]', 'a%40b', '3306', '99999', '-1'),
    nastyText,
  )
  const address = fc.oneof(
    nastyText,
    fc
      .tuple(
        fc.constantFrom(
          'mysql://',
          'mariadb:',
          'postgres://',
          'postgresql://',
          'sqlite:',
          'POSTGRES://',
          'http://',
          '',
        ),
        fc.constantFrom(
          '',
          `u:${SECRET}@`,
          `:${SECRET}@`,
          `u:${SECRET}/@`,
          `u:${SECRET}#@`,
          `u:${SECRET}?@`,
          `u:%${SECRET}@`,
        ),
        part,
        fc.constantFrom('', ':1', ':x', '/', '/d', '/d?'),
        part,
        fc.constantFrom(
          '',
          `?password=${SECRET}`,
          `&password=${SECRET}`,
          `;password=${SECRET}`,
          '?sslmode=require',
        ),
      )
      .map(parts => parts.join('')),
    fc
      .tuple(
        fc.constantFrom('dbi:mysql:', 'dbi:Pg:', 'dbi:SQLite:', 'dbi:MariaDB(a=b):', 'DBI:Oracle:', 'dbi:'),
        fc.array(
          fc
            .tuple(
              fc.constantFrom(
                'host=',
                'port=',
                'user=',
                'dbname=',
                'database=',
                'uri=',
                'mysql_ssl=',
                'sslmode=',
                '',
              ),
              part,
            )
            .map(([a, b]) => a + b),
          {maxLength: 4},
        ),
        fc.constantFrom(';', ' ', ':'),
        fc.constantFrom('', `;password=${SECRET}`, ` password='${SECRET}'`),
      )
      .map(([driver, pairs, joint, more]) => driver + pairs.join(joint) + more),
  )

  test('one is read, and named without its password, or refused without it', t =>
    fuzz(t, [3000, 15_000], address, text => {
      const found = taken(() => parseAddress(text, '/folder'), SECRET)
      if (found && found.driver !== 'sqlite') {
        const name = addressName(found)
        assert.doesNotMatch(new URL(name).password, new RegExp(SECRET))
        assert.ok(!new URL(name).search.includes(SECRET), name)
      } else if (found) assert.ok(found.path === ':memory:' || found.path.startsWith('/'), found.path)
      return outcome(found)
    }))
})

describe('arguments', () => {
  test('bytes are decoded, or refused as what they are not', t =>
    fuzz(
      t,
      [3000, 15_000],
      fc.tuple(
        fc.oneof(
          fc.uint8Array({maxLength: 64}),
          fc
            .tuple(
              fc.constantFrom(
                0x81,
                0x91,
                0xc4,
                0xc6,
                0xc7,
                0xd4,
                0xd9,
                0xdb,
                0xdc,
                0xdd,
                0xde,
                0xdf,
                0xd3,
                0xcf,
              ),
              fc.uint8Array({maxLength: 32}),
            )
            .map(([first, rest]) => Uint8Array.of(first, ...rest)),
          nastyJson.map(value => Buffer.from(JSON.stringify(value))),
          fc.uint8Array({maxLength: 32}).map(rest => Buffer.from([...Buffer.from('pst0'), ...rest])),
        ),
        fc.constantFrom(...SERIALIZERS),
      ),
      async ([bytes, serializer]) => {
        try {
          await decodeArg(bytes, serializer)
          return `${serializer} taken`
        } catch (error) {
          refused(error)
          return `${serializer} refused`
        }
      },
    ))

  test('a value comes back as it was given, or is refused at the door', t =>
    fuzz(
      t,
      [2000, 10_000],
      fc.tuple(nastyValue, fc.constantFrom('json', 'msgpack')),
      async ([value, serializer]) => {
        const stored = taken(() => encodeArg(value, serializer, 'arg'))
        if (stored === undefined || stored === null) return 'refused'
        const bytes = Buffer.from(stored as string)
        const back = await decodeArg(bytes, serializer)
        const again = encodeArg(back, serializer, 'arg')
        if (serializer === 'json') assert.deepEqual(back, JSON.parse(JSON.stringify(value) ?? 'null'))
        else assert.deepEqual(Buffer.from(again as Uint8Array), bytes)
        return 'taken'
      },
    ))

  test('JSON as it was written is stored byte for byte, and as MessagePack means the same', t =>
    fuzz(
      t,
      [1000, 5000],
      fc.tuple(nastyJson, fc.constantFrom(undefined, 1, '\t')),
      async ([value, indent]) => {
        const text = JSON.stringify(value, null, indent)
        assert.equal(await storedFromInput(text, 'json', 'arg'), text)
        // What is escaped of surrogates has no pair, and UTF-8 has none for it
        if (/(?<!\\)(\\\\)*\\ud[89a-f]/i.test(text)) {
          await assert.rejects(storedFromInput(text, 'msgpack', 'arg'), ArgumentError)
          return 'refused'
        }
        const packed = (await storedFromInput(text, 'msgpack', 'arg')) as Uint8Array
        await decodeArg(packed, 'msgpack')
        assert.deepEqual(await storedFromInput(JSON.stringify(JSON.parse(text)), 'msgpack', 'arg'), packed)
        return 'taken'
      },
    ))
})

describe('configurations', () => {
  const setting = fc.constantFrom(
    ...[
      'db',
      'abilities',
      'workersDir',
      'workers',
      'funcs',
      'maxWorkers',
      'jobsPerChild',
      'min_spare_workers',
      'max_request_par_child',
    ],
    ...[
      'maxChildMemory',
      'serializer',
      'hooks',
      'plugins',
      'hookTimeout',
      'prefetch',
      'fair',
      'durable',
      'workDelay',
    ],
    ...[
      'maxJobs',
      'maxTime',
      'shutdownTimeout',
      'autoLoadWorker',
      'admin',
      'adminHost',
      'adminPort',
      'debug',
    ],
  )
  const config = fc.oneof(
    {weight: 8, arbitrary: fc.dictionary(setting, nastyValue, {maxKeys: 3})},
    {
      weight: 2,
      arbitrary: fc
        .dictionary(
          nastyText,
          fc.dictionary(fc.constantFrom('maxRetries', 'retry_delay', 'grabFor', 'x'), nastyValue),
        )
        .map((funcs): object => ({funcs})),
    },
    {weight: 2, arbitrary: nastyValue},
    {weight: 1, arbitrary: fc.dictionary(nastyText, nastyValue)},
  )

  test('any value of JavaScript’s is taken with all numbers in their bounds, or refused with its place', t =>
    fuzz(t, [3000, 20_000], fc.tuple(config, nastyText), ([value, source]) => {
      const valid = taken(() => validateConfig(value, 'jobq.config.mjs', source))
      if (valid?.hookTimeout !== undefined) assert.ok(isUint32(valid.hookTimeout))
      for (const key of [
        'maxWorkers',
        'jobsPerChild',
        'minSpareWorkers',
        'maxSpareWorkers',
        'prefetch',
      ] as const)
        assert.ok(valid?.[key] === undefined || (isUint32(valid[key]) && valid[key] <= 10_000))
      return outcome(valid)
    }))
})

describe('what a worker’s process says', () => {
  const number = fc.oneof(fc.nat(), fc.constantFrom<unknown>(-1, 1.5, 2 ** 32, 2 ** 53, null, '1', undefined))
  const bytes = fc.oneof(
    fc.constant(null),
    nastyText.map(text => ({text})),
    nastyText.map(base64 => ({base64})),
    nastyJson,
  )
  const newJob = fc.record({
    func: fc.oneof(fc.constant('F'), nastyText),
    arg: bytes,
    plain: fc.oneof(fc.boolean(), nastyJson),
    uniqkey: fc.oneof(fc.constant(null), nastyText),
    priority: number,
    due: fc.oneof(
      number.map(seconds => ({in: seconds})),
      number.map(seconds => ({at: seconds})),
      nastyJson,
    ),
  })
  const ended = fc.record(
    {
      kind: fc.constantFrom('completed', 'failed', 'aborted', 'died', 'replaced', 'released', '__proto__'),
      message: fc.oneof(nastyText, nastyJson),
      reason: fc.oneof(nastyText, nastyJson),
      how: nastyText,
      retryIn: number,
      jobs: fc.oneof(fc.array(newJob, {maxLength: 3}), nastyJson),
    },
    {requiredKeys: ['kind']},
  )
  const message = fc.oneof(
    {weight: 1, arbitrary: nastyJson},
    {
      weight: 8,
      arbitrary: fc.record(
        {
          kind: fc.constantFrom(
            'loading',
            'loaded',
            'refused',
            'retry',
            'ended',
            'free',
            'output',
            'stray',
            'told',
            'run',
            'load',
            'constructor',
          ),
          file: nastyText,
          run: number,
          retryIn: number,
          rss: number,
          outcome: fc.oneof({weight: 6, arbitrary: ended}, {weight: 1, arbitrary: nastyJson}),
          workers: fc.oneof(
            fc.array(fc.dictionary(fc.constantFrom('func', 'maxRetries', 'grabFor'), nastyJson)),
            nastyJson,
          ),
          failure: fc.oneof(nastyText, nastyJson),
          left: fc.constantFrom('broken', 'hooks', 'x'),
          stream: fc.constantFrom('stdout', 'stderr', 'stdin'),
          bytes,
        },
        {requiredKeys: ['kind']},
      ),
    },
    {weight: 8, arbitrary: ended.map(outcome => ({kind: 'ended', run: 1, rss: 0, outcome}))},
    {
      weight: 8,
      arbitrary: fc
        .array(newJob, {minLength: 1, maxLength: 3})
        .map(jobs => ({kind: 'ended', run: 1, rss: 0, outcome: {kind: 'replaced', jobs, retryIn: null}})),
    },
  )

  test('is believed to the last field or not at all: what replaces a job is what an enqueue would take', t =>
    fuzz(t, [3000, 20_000], message, said => {
      const heard = readFromChild(JSON.parse(JSON.stringify(said)))
      if (heard?.kind === 'output') assert.ok(Buffer.isBuffer(unpack(heard.bytes)))
      if (heard?.kind !== 'ended') return heard === null ? 'nonsense' : heard.kind
      const outcome = outcomeFromWire(heard.outcome)
      assert.notEqual(outcome.kind, 'released')
      if (outcome.kind !== 'replaced') return outcome.kind
      for (const {func, arg, uniqkey, priority, due} of outcome.jobs) {
        assert.deepEqual([checkFunc(func), uniqkey === null ? null : checkUniqkey(uniqkey)], [func, uniqkey])
        assert.ok(isUint32(priority))
        assert.ok('in' in due ? isUint32(due.in) : isUint32(due.at), JSON.stringify(due))
        assert.ok(arg === null || Buffer.byteLength(arg) <= MAX_ARG_BYTES)
      }
      return 'replaced'
    }))
})

describe('settings in a script', () => {
  const word = fc.oneof(
    nastyWord,
    fc
      .tuple(
        fc.constantFrom('max-retries', 'retry-delay', 'grab-for', 'set-job-status', 'keep-output', ''),
        fc.constantFrom('=', '', '=='),
        nastyWord,
      )
      .map(parts => parts.join('')),
    fc.constantFrom('max-retries=3', 'retry-delay=10s', 'grab-for=5m', 'set-job-status'),
  )
  const script = fc
    .tuple(
      fc.constantFrom('#!/bin/sh', '#!/bin/sh\r', '#!/usr/bin/env sh', '#!/nowhere/x', '#!', '\x7fELF', ''),
      fc.constantFrom('# jobq: ', '// jobq:', '-- jobq:', '#jobq:', '  ;; jobq:\t', '# jobq '),
      fc.array(word, {maxLength: 4}),
      fc.constantFrom('\n', '\n\n\n', '\r\n', '\0'),
    )
    .map(([first, mark, words, end]) => [first, mark + words.join(' ')].join('\n') + end)

  test('are read to the last word, or refused with the file', t => {
    const folder = tempFolder(t)
    const file = join(folder, 'F')
    writeFileSync(file, '')
    chmodSync(file, 0o755)
    const settings = {config: {}, folder, file: null, isNamed: true}
    return fuzz(t, [600, 6000], script, text => {
      writeFileSync(file, text)
      const found = taken(() => findHandlers({abilities: ['F'], folder, isNamed: true, settings}))
      const {maxRetries = 0, retryDelay = 0, grabFor = 0} = found?.handlers[0]?.settings ?? {}
      assert.deepEqual([maxRetries, retryDelay, grabFor].map(isUint32), [true, true, true])
      return outcome(found)
    })
  })

  test('no name of a function leads out of the workers folder', t => {
    const folder = tempFolder(t)
    const workers = join(folder, 'workers')
    for (const name of ['F', 'F.mjs', 'evil', 'evil.mjs'])
      writeFileSync(join(folder, name), '#!/bin/sh\n', {mode: 0o755})
    const settings = {config: {}, folder, file: null, isNamed: true}
    const segment = fc.constantFrom(
      '..',
      '.',
      '',
      'F',
      'evil',
      'workers',
      '/',
      '\\',
      '\0',
      '../',
      folder,
      '%2e%2e',
    )
    const name = fc
      .tuple(fc.array(segment, {maxLength: 6}), fc.constantFrom('::', '/', ':', ':::'))
      .map(([a, b]) => a.join(b))
    return fuzz(t, [1000, 6000], fc.oneof(name, nastyText), func => {
      const found = taken(() => findHandlers({abilities: [func], folder: workers, isNamed: true, settings}))
      assert.equal(found, undefined, JSON.stringify(found))
    })
  })
})
