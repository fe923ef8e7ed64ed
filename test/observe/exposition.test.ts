/** The reader that the tests of metrics rely on: it takes what is right, and trips over each mistake. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {parseExposition} from '../support/exposition.ts'

const HEAD = '# HELP x_total Some \\\\ help.\n# TYPE x_total counter\n'
const HISTOGRAM = '# HELP h Times.\n# TYPE h histogram\n'
const WHOLE = 'h_bucket{f="a",le="1"} 1\nh_bucket{f="a",le="+Inf"} 2\nh_sum{f="a"} 3.5\nh_count{f="a"} 2\n'

describe('the reader of the exposition format', () => {
  test('takes what is right', () => {
    const text = `${HEAD}x_total{b="1",a="\\"\\\\\\n{},= "} 3\nx_total 1e-7\n\n${HISTOGRAM}${WHOLE}`
    const families = parseExposition(text)
    assert.deepEqual(families.get('x_total'), {
      type: 'counter',
      help: 'Some \\\\ help.',
      samples: new Map([
        ['x_total{a="\\"\\\\\\n{},= ",b="1"}', 3],
        ['x_total{}', 1e-7],
      ]),
    })
    assert.equal(families.get('h')!.samples.size, 4)
    assert.equal(parseExposition('').size, 0)
  })

  const mistakes: Record<string, string> = {
    'no end of the last line': `${HEAD}x_total 1`,
    'a sample without a head': 'x_total 1\n',
    'a sample before its type': '# HELP x_total X.\nx_total 1\n',
    'a second head': HEAD + HEAD,
    'an unknown type': '# HELP x X.\n# TYPE x gouge\n',
    'a counter that is not called total': '# HELP x X.\n# TYPE x counter\n',
    'an escape in help that is none': '# HELP x X\\t.\n# TYPE x gauge\n',
    'a family torn apart': `${HEAD}${HISTOGRAM}x_total 1\n`,
    'a series twice': `${HEAD}x_total{a="1",b="2"} 1\nx_total{b="2",a="1"} 1\n`,
    'an unescaped quote': `${HEAD}x_total{a="""} 1\n`,
    'an unescaped backslash': `${HEAD}x_total{a="\\d"} 1\n`,
    'a line that is cut': `${HEAD}x_total{a="1"}\n`,
    'no number': `${HEAD}x_total NULL\n`,
    'a negative count': `${HEAD}x_total -1\n`,
    'buckets that do not add up': HISTOGRAM + WHOLE.replace('le="1"} 1', 'le="1"} 3'),
    'buckets out of order': HISTOGRAM + WHOLE.replace('h_bucket', 'h_bucket{f="a",le="7"} 0\nh_bucket'),
    'no last bucket': HISTOGRAM + WHOLE.replace(/.*Inf.*\n/, ''),
    'no sum': HISTOGRAM + WHOLE.replace(/h_sum.*\n/, ''),
    'no count': HISTOGRAM + WHOLE.replace(/h_count.*\n/, ''),
    'a count without buckets': `${HISTOGRAM}h_sum 1\nh_count 1\n`,
  }
  for (const [title, text] of Object.entries(mistakes))
    test(title, () => assert.throws(() => parseExposition(text), assert.AssertionError))
})
