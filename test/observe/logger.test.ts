/** The logger that ships with jobq. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {type LoggerOptions, logger} from '../../src/lib/hooks/logger.ts'
import {PluginSet} from '../../src/lib/hooks/plugin-set.ts'

const JOB = {id: 7, func: 'Notify'}

function written(options: LoggerOptions = {}) {
  const lines: string[] = []
  return {log: logger({to: {write: line => lines.push(line)}, ...options}), lines}
}

describe('a line of text', () => {
  test('has the time, the id, the function, the level, the message and the fields', () => {
    const {log, lines} = written()
    log.forJob(JOB).info('mail sent', {to: 'ada@example.com', took: 3, note: 'two words', none: null})
    assert.match(
      lines[0]!,
      /^\d{4}-\d\d-\d\dT[\d:.]+Z 7 Notify info mail sent to=ada@example\.com took=3 note="two words" none=null\n$/,
    )
  })

  test('of a job of several databases says which; without a job it has none', () => {
    const {log, lines} = written()
    log.forJob({...JOB, db: 2}).warn('x')
    log.error('y')
    assert.match(lines[0]!, /Z 2:7 Notify warn x\n$/)
    assert.match(lines[1]!, /^\S+Z error y\n$/)
  })

  test('stays one line, and says nothing to a terminal', () => {
    const {log, lines} = written()
    log.forJob({id: 7, func: 'odd\nname'}).info('a\nb\u001b[31m', {c: 'd\r\n'})
    assert.equal(lines.length, 1)
    assert.match(lines[0]!, /^[^\u0000-\u001f]* odd\\nname info a\\nb\\u001b\[31m c="d\\r\\n"\n$/)
  })

  test('shows an error by its message, and what JSON can not hold all the same', () => {
    const {log, lines} = written()
    const circle: Record<string, unknown> = {}
    circle.self = circle
    log.info('x', {error: new Error('no way'), big: 7n, circle, nothing: undefined, work: () => {}})
    assert.match(
      lines[0]!,
      / x error="no way" big="7n" circle="<ref \*1>.*" nothing="undefined" work="\[Function/,
    )
  })
})

describe('a line of JSON', () => {
  test('is an object; a field never takes the place of what jobq says', () => {
    const {log, lines} = written({format: 'json'})
    const error = new TypeError('no')
    log.forJob(JOB).info('sent', {to: 'ada', id: 'mine', error, big: 7n})
    const {time, ...line} = JSON.parse(lines[0]!)
    assert.ok(Math.abs(Date.now() - Date.parse(time)) < 60_000)
    assert.deepEqual(line, {
      ...{level: 'info', id: 7, func: 'Notify', message: 'sent', to: 'ada', big: '7n'},
      error: {name: 'TypeError', message: 'no', stack: error.stack},
    })
    assert.equal(lines[0]!.match(/\n/g)!.length, 1)
  })
})

describe('levels', () => {
  test('info and what matters more by default', () => {
    const {log, lines} = written()
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level]('x')
    assert.deepEqual(
      lines.map(line => line.split(' ')[1]),
      ['info', 'warn', 'error'],
    )
  })

  test('all of them, or only errors', () => {
    for (const [level, count] of [
      ['debug', 4],
      ['error', 1],
    ] as const) {
      const {log, lines} = written({level})
      for (const each of ['debug', 'info', 'warn', 'error'] as const) log[each]('x')
      assert.equal(lines.length, count)
    }
  })
})

test('it is a plugin, and a job gets one that knows it', () => {
  const {log, lines} = written()
  const set = new PluginSet([['logger', log]])
  ;(set.get('logger', JOB as never) as typeof log).info('x')
  assert.match(lines[0]!, / 7 Notify info x\n$/)
})

describe('logger()', () => {
  const mistakes: [options: object, message: RegExp][] = [
    [{formt: 'text'}, /unknown option formt/],
    [{format: 'xml'}, /logger: format: expected one of text, json, got 'xml'/],
    [{level: 'loud'}, /level: expected one of debug, info, warn, error, got 'loud'/],
    [{to: 'file.log'}, /to: expected something with write\(line\)/],
  ]
  for (const [options, message] of mistakes)
    test(`${JSON.stringify(options)} is refused`, () =>
      assert.throws(() => logger(options as LoggerOptions), {code: 'USAGE', message}))
})
