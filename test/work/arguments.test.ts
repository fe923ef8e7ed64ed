/** What a module's worker gets to see of an argument, whoever stored it and however. */
import assert from 'node:assert/strict'
import {copyFileSync, readFileSync} from 'node:fs'
import {describe, test} from 'node:test'
import {fileURLToPath} from 'node:url'
import {Workplace} from '../support/workplace.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/qudo-0.0214-written.sqlite', import.meta.url))

const worker = (settings: string, body = '') => `import {defineWorker} from 'jobq'
const {note} = await import(process.env.HOME + '/workers/_note.mjs')
const shown = value => value instanceof Uint8Array ? {hex: Buffer.from(value).toString('hex')}
  : value?.bin ? {...value, bin: shown(value.bin)} : value
export default defineWorker({${settings} work(job) {
  note({id: job.id, func: job.func, arg: shown(job.arg), origin: shown(job.argOrigin), uniqkey: job.uniqkey,
    priority: job.priority, retryCnt: job.retryCnt})
  ${body}
}})
`

interface Note {
  id: number
  func: string
  arg: unknown
  origin: {hex: string} | null
  uniqkey: string | null
  priority: number
}

const hex = (bytes: string | Uint8Array) => ({hex: Buffer.from(bytes).toString('hex')})

describe('an argument', {concurrency: 2}, () => {
  test('as JSON, MessagePack or bytes, as the worker says', async t => {
    const site = new Workplace(t, {
      'Json.mjs': worker(''),
      'Pack.mjs': worker(`serializer: 'msgpack',`),
      'Raw.mjs': worker(`serializer: 'none',`),
    })
    const everyByte = Uint8Array.from({length: 256}, (_, i) => i)
    const value = {text: '하늘 📷', list: [1, 2.5, null, true], deep: {er: {}}}
    await site.enqueue(
      ['Json', {arg: value, uniqkey: 'k', priority: 3}],
      ['Json', {arg: null}],
      ['Json'],
      ['Pack', {arg: value, serializer: 'msgpack'}],
      ['Raw', {arg: everyByte, serializer: 'none'}],
      ['Raw', {arg: 'plain text', serializer: 'none'}],
      ['Raw', {arg: '', serializer: 'none'}],
      ['Raw', {serializer: 'none'}],
      ['Raw'],
      ['Pack'],
      ['Pack', {serializer: 'msgpack'}],
      ['Json', {serializer: 'msgpack'}],
      ['Json', {serializer: 'none'}],
    )
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    const [json, nul, none, pack, raw, text, empty, nothing, unsaid, ...without] = site
      .notes<Note>()
      .sort((a, b) => a.id - b.id)
    assert.deepEqual([json!.arg, json!.uniqkey, json!.priority], [value, 'k', 3])
    assert.deepEqual(json!.origin, hex(JSON.stringify(value)))
    assert.deepEqual([nul!.arg, nul!.origin], [null, hex('null')])
    assert.deepEqual([none!.arg, none!.origin], [null, hex('null')])
    assert.deepEqual(pack!.arg, value)
    assert.deepEqual(raw!.arg, hex(everyByte))
    assert.deepEqual(text!.arg, hex('plain text'))
    assert.deepEqual(empty!.arg, hex(''))
    assert.deepEqual([nothing!.arg, nothing!.origin], [null, null])
    assert.deepEqual(unsaid!.arg, hex('null')) // enqueued as JSON
    // Whichever serializer stored it: none is none
    assert.deepEqual(
      without.map(({arg}) => arg),
      [null, null, null, null],
    )
  })

  test('that is not what the worker expects: the job has failed, and says what to do', async t => {
    const site = new Workplace(t, {
      'Json.mjs': worker('maxRetries: 1, retryDelay: 60,'),
      'Pack.mjs': worker(`serializer: 'msgpack',`),
      'Asks.mjs': worker(`maxRetries: 1, retryDelay: job => job.arg.seconds,`),
    })
    await site.enqueue(
      ['Json', {arg: '{"half":', serializer: 'none'}],
      ['Json', {arg: Uint8Array.of(0xff, 0, 1), serializer: 'none'}],
      ['Json', {arg: '', serializer: 'none'}],
      ['Pack', {arg: Uint8Array.of(0xc1), serializer: 'none'}],
      ['Pack', {arg: Uint8Array.of(0x93, 1), serializer: 'none'}],
      ['Asks', {arg: 'not JSON', serializer: 'none'}],
      ['Json', {arg: {fine: true}}],
    )
    const {code, stdout} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^1 completed, 6 failed/)
    const messages = site.messages()
    for (const message of messages.slice(0, 3))
      assert.match(message, /^the argument is not JSON \(.*serializer: 'msgpack' for this function/)
    for (const message of messages.slice(3, 5)) assert.match(message, /^the argument is not MessagePack/)
    assert.match(messages[5]!, /^the argument is not JSON/)
    assert.doesNotMatch(messages.slice(0, 5).join(), /\n +at /)
    assert.deepEqual(
      site.notes<Note>().map(({arg}) => arg),
      [{fine: true}],
    )
  })

  test('of 10 MB arrives whole', async t => {
    const site = new Workplace(t, {
      'Big.mjs': `import {createHash} from 'node:crypto'
        import {note} from './_note.mjs'
        export default {serializer: 'none', work: ({arg}) =>
          note({size: arg.length, hash: createHash('sha256').update(arg).digest('hex')})}`,
    })
    const bytes = Buffer.alloc(
      10 << 20,
      Uint8Array.from({length: 251}, (_, i) => i),
    )
    const text = Buffer.alloc(10 << 20, '하늘')
    await site.enqueue(['Big', {arg: bytes, serializer: 'none'}], ['Big', {arg: text, serializer: 'none'}])
    assert.equal((await site.drain()).code, 0)
    const {createHash} = await import('node:crypto')
    assert.deepEqual(
      site.notes<{size: number; hash: string}>().map(({size, hash}) => ({size, hash})),
      [bytes, text].map(arg => ({size: 10 << 20, hash: createHash('sha256').update(arg).digest('hex')})),
    )
  })

  test('of a replacement is stored as it was given', async t => {
    const site = new Workplace(t, {
      'Split.mjs': worker(
        '',
        `job.replace(
          {func: 'A', arg: new Uint8Array([0, 255, 10]), serializer: 'none'},
          {func: 'A', arg: 'text', serializer: 'none'},
          {func: 'A', arg: {n: [1]}},
          {func: 'A', arg: {n: [1]}, serializer: 'msgpack'},
          {func: 'A'}, {func: 'A', serializer: 'msgpack'}, {func: 'A', serializer: 'none'})`,
      ),
    })
    await site.enqueue(['Split'])
    const {code, stderr} = await site.drain('--abilities', 'Split')
    assert.equal(code, 0, stderr)
    assert.deepEqual(site.rows('SELECT hex(arg) AS arg, typeof(arg) AS type FROM job ORDER BY id'), [
      {arg: '00FF0A', type: 'blob'},
      {arg: '74657874', type: 'text'},
      {arg: '7B226E223A5B315D7D', type: 'text'},
      {arg: '81C4016E9101', type: 'blob'},
      {arg: '6E756C6C', type: 'text'},
      {arg: 'C0', type: 'blob'},
      {arg: '', type: 'null'},
    ])
  })
})

test('jobs that Qudo has written are worked, with their bytes', async t => {
  const site = new Workplace(t, {
    'MyApp::Worker::Notify.mts': worker(''),
    'MyApp::Worker::Image::Thumbnail.mts': worker('maxRetries: 1, retryDelay: 900,', `throw new Error('no')`),
    'MyApp::Worker::Image::Crop.mts': worker(''),
    'MyApp::Worker::Pack.mts': worker(`serializer: 'msgpack',`),
    'MyApp::Worker::Raw': '#!/bin/sh\ncat > "$HOME/raw.$JOBQ_ID"',
    'MyApp::Worker::Frozen.mts': worker(''),
    'Worker::Abort.mts': worker('setJobStatus: true,', `job.abort('still none')`),
  })
  copyFileSync(FIXTURE, site.db)
  const {code, stdout, stderr} = await site.drain()
  assert.equal(code, 5, stderr)
  assert.match(stdout, /^5 completed, 2 failed, 1 aborted/)
  const notes = Object.fromEntries(site.notes<Note>().map(note => [note.func.replace(/.*::/, ''), note]))
  assert.deepEqual(notes.Notify!.arg, {to: '하니아빠', text: '사진이 올라왔어요 📷'})
  assert.deepEqual([notes.Notify!.uniqkey, notes.Notify!.priority], ['photo:9:1385700000', 10])
  assert.deepEqual(site.notes<Note>()[0]!.func, 'MyApp::Worker::Notify', 'the most important first')
  assert.deepEqual(notes.Thumbnail!.arg, {photo: 9, size: [120, 120]})
  assert.deepEqual(notes.Pack!.arg, {n: 1, bin: hex(Uint8Array.of(0, 255, 128)), list: [1, -1, 3.5, null]})
  assert.equal(notes.Crop, undefined, 'not due yet')
  assert.equal(readFileSync(site.path('raw.10'), 'utf8'), 'plain text, not JSON')
  assert.equal(readFileSync(site.path('raw.11')).length, 0)
  assert.deepEqual(readFileSync(site.path('raw.12')), Buffer.from('0001feff20726177206279746573', 'hex'))
  assert.match(stderr, /13 MyApp::Worker::Frozen failed \S+ the argument is Perl's Storable format/)
  assert.deepEqual(
    site
      .messages()
      .slice(4)
      .map(message => message.split('\n')[0]!.replace(/ \(.*/, ''))
      .sort(),
    ['Error: no', 'still none', "the argument is Perl's Storable format, which only Perl reads"],
  )
  assert.deepEqual(site.rows('SELECT id, retry_cnt, grabbed_until, uniqkey FROM job ORDER BY id'), [
    {id: 7, retry_cnt: 1, grabbed_until: 0, uniqkey: 'photo:9'},
    {id: 8, retry_cnt: 0, grabbed_until: 0, uniqkey: 'photo:9'},
  ])
})
