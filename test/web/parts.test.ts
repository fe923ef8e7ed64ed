/** What pages are made of: escaping, what varies in a message, what is read once for all, masks. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {HEAD_BYTES} from '../../src/lib/jobs/rows/history.ts'
import {Fresh} from '../../src/lib/web/facts.ts'
import {groupIdOf, lineOf} from '../../src/lib/web/groups.ts'
import {html, lines} from '../../src/lib/web/html.ts'
import {Masks} from '../../src/lib/web/masks.ts'
import {LastRows, pageOf, spotOf, spotText} from '../../src/lib/web/search.ts'
import {until} from '../support/until.ts'

describe('html', () => {
  test('what is put in is text', () => {
    const evil = `<b a="x" c='y'>&amp;`
    const escaped = '&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;amp;'
    assert.equal(html`<p title="${evil}">${evil}</p>`.text, `<p title="${escaped}">${escaped}</p>`)
    assert.equal(html`${[evil, [evil]]}`.text, escaped + escaped)
  })

  test('what was made here is markup, however deep it is put in', () => {
    const item = (text: string) => html`<li>${text}</li>`
    assert.equal(html`<ul>${['a', '<'].map(item)}</ul>`.text, '<ul><li>a</li><li>&lt;</li></ul>')
    // What only looks like it is none, and nothing comes of it
    assert.throws(() => html`${JSON.parse('{"text":"<b>"}') as string}`)
  })

  test('nothing comes of null, undefined and false; a number is its digits', () => {
    assert.equal(html`a${null}${undefined}${false}${0}${-1.5}b`.text, 'a0-1.5b')
  })

  test('what would turn a line around, or is no character, is shown as what it is', () => {
    assert.equal(html`${'a\u202eb\u0007\u2028'}`.text, 'a\\u202eb\\u0007\\u2028')
    assert.equal(lines('a\nb\u202e<').text, 'a\nb\\u202e&lt;')
  })
})

describe('failures that are alike', () => {
  test('numbers, quoted text and hexadecimal digits vary', () => {
    for (const [message, line] of [
      ['Error: no route to 10.0.0.7:25\n    at x.js:1', 'Error: no route to #'],
      ['\n\n  user "ada" is gone', 'user "…" is gone'],
      [`can't open '/tmp/a b' or \`c\``, "can't open '…' or `…`"],
      ['job 1f0e9c2a-1111-4222-8333-0123456789ab died', 'job # died'],
      ['at 0x7ffe12 and deadbeef12', 'at # and #'],
      ['a decade of added facades', 'a decade of added facades'],
      ['took 1.5 s, 1,234 rows', 'took # s, # rows'],
      ['"a \\"quoted\\" word"', '"…"'],
      ['', ''],
      ['   \n', ''],
    ])
      assert.equal(lineOf(message!), line)
    assert.equal(lineOf('x'.repeat(5000)).length, 200)
  })

  test('the head of a message gives what all of it does, wherever it is cut', () => {
    for (const long of [
      `bad "${'a'.repeat(600)}" value`,
      'é'.repeat(300),
      `x${'é'.repeat(300)}`,
      '🎈'.repeat(200),
    ])
      for (const before of ['', 'a', 'ab', 'abc']) {
        const message = before + long
        const head = Buffer.from(message).subarray(0, HEAD_BYTES).toString()
        assert.equal(lineOf(head), lineOf(message))
      }
  })

  test('one function’s are not another’s', () => {
    assert.equal(groupIdOf({func: 'A', message: 'no 1'}), groupIdOf({func: 'A', message: 'no 2\nmore'}))
    assert.notEqual(groupIdOf({func: 'A', message: 'no 1'}), groupIdOf({func: 'B', message: 'no 1'}))
  })
})

describe('what is read once for all', () => {
  test('one reading serves all who ask meanwhile', async () => {
    let readings = 0
    const fresh = new Fresh(async () => ++readings)
    assert.deepEqual(await Promise.all([fresh.get(), fresh.get(), fresh.get()]), [1, 1, 1])
    assert.equal(await fresh.get(), 1)
  })

  test('after a change from here the next who asks sees it, also while it is being read', async () => {
    let [value, readings] = ['before', 0]
    let go = () => {}
    const fresh = new Fresh(async () => {
      readings++
      const read = value
      if (readings === 1)
        await new Promise<void>(resolve => {
          go = resolve
        })
      return read
    })
    const first = fresh.get()
    await until('it is being read', () => readings === 1)
    value = 'after'
    fresh.forget()
    assert.equal(await fresh.get(), 'after')
    go()
    assert.equal(await first, 'before')
    assert.equal(await fresh.get(), 'after')
  })

  test('a reading that fails is told to who waits for it, and made again', async () => {
    let readings = 0
    const fresh = new Fresh(async () => {
      if (++readings === 1) throw new Error('out of reach')
      return readings
    })
    await assert.rejects(fresh.get(), /out of reach/)
    assert.equal(await fresh.get(), 2)
  })
})

describe('masks', () => {
  const masked = (
    masks: ConstructorParameters<typeof Masks>[0],
    arg: string | Uint8Array | null,
    func = 'Pay',
  ) => {
    const row = new Masks(masks).of({func, arg: arg === null ? null : Buffer.from(arg)})
    return row.arg && Buffer.from(row.arg).toString()
  }

  test('a field by its name anywhere, or by its path', () => {
    const arg = '{"card":"1","user":{"card":{"x":1},"mail":"m"},"list":[{"card":2},{"mail":"n"}]}'
    assert.equal(
      masked({Pay: ['card']}, arg),
      '{"card":"***","user":{"card":"***","mail":"m"},"list":[{"card":"***"},{"mail":"n"}]}',
    )
    assert.equal(
      masked({Pay: ['user.mail', 'list.mail']}, arg),
      arg.replace('"m"', '"***"').replace('"n"', '"***"'),
    )
    assert.equal(masked({Pay: ['a.b']}, '{"a.b":1}'), '{"a.b":"***"}')
  })

  test('of functions that are not named nothing, unless all are', () => {
    assert.equal(masked({Pay: true}, '{"a":1}', 'Other'), '{"a":1}')
    assert.equal(masked({'*': ['a'], Pay: ['b']}, '{"a":1,"b":2,"c":3}'), '{"a":"***","b":"***","c":3}')
    assert.equal(masked({'*': ['a']}, '{"a":1,"b":2}', 'Other'), '{"a":"***","b":2}')
    assert.equal(masked({'*': true, Pay: ['b']}, '{"a":1}'), '"***"')
    assert.equal(masked(undefined, '{"a":1}'), '{"a":1}')
    assert.equal(masked({Pay: true}, '{"a":1}', '__proto__'), '{"a":1}')
    assert.equal(masked({Pay: true}, null), null)
  })

  test('what is not JSON, or too deep, is masked whole; numbers keep their digits', () => {
    assert.equal(masked({Pay: ['a']}, 'no json'), '"***"')
    assert.equal(masked({Pay: ['a']}, new Uint8Array([0xff, 0xfe])), '"***"')
    assert.equal(masked({Pay: ['a']}, `${'['.repeat(200_000)}${']'.repeat(200_000)}`), '"***"')
    const numbers = '{"a":1,"n":12345678901234567890,"m":1.10,"__proto__":{"a":2}}'
    assert.equal(
      masked({Pay: ['a']}, numbers),
      '{"a":"***","n":12345678901234567890,"m":1.10,"__proto__":{"a":"***"}}',
    )
  })
})

describe('places in a URL', () => {
  test('are read as they are written, and anything else is none', () => {
    const spot = {id: 7, state: 'ready', priority: 3, runAfter: 1_795_985_675} as const
    assert.deepEqual(spotOf(spotText(spot)), spot)
    assert.deepEqual(spotOf(spotText({...spot, db: 2})), {...spot, db: 2})
    for (const text of [null, '', 'ready', 'odd~1~2~3', 'ready~1~2~x', 'ready~1~2~1.5', '__proto__~1~2~3'])
      assert.equal(spotOf(text), undefined)
    const rows = new LastRows('7.1~9.2')
    assert.deepEqual(rows.refs, [
      {id: 7, db: 1},
      {id: 9, db: 2},
    ])
    rows.pass({id: 5, db: 1})
    assert.equal(rows.text, '5.1~9.2')
    assert.deepEqual(new LastRows('12').refs, [{id: 12}])
    for (const text of [null, '', 'x', '1~2', '1.2~', '-1']) assert.equal(new LastRows(text).refs, undefined)
  })

  test('a search ends after a moment, and says how far it came', async () => {
    async function* endless() {
      for (let i = 0; ; i++) {
        yield i
        if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve))
      }
    }
    const {rows, last, passed} = await pageOf(endless(), {fits: () => false, limit: undefined})
    assert.deepEqual(rows, [])
    assert.ok(last! > 0 && passed === last! + 1)
  })

  test('what the store finds is a page, however long that takes', async () => {
    async function* slow() {
      for (let i = 0; i < 3; i++) {
        yield i
        await new Promise(resolve => setTimeout(resolve, 300))
      }
    }
    const found = await pageOf(slow(), {fits: () => true, limit: 51})
    assert.deepEqual(found, {rows: [0, 1, 2], last: null, passed: null})
  })
})
