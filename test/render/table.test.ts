/** Tables: what no terminal's edge asks for is not cut. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {TableDrawer} from '../../src/lib/render/table.ts'

describe('a column', () => {
  for (const text of ['plain', '한국어', '中文', 'नमस्ते', 'ผู้ใหญ่', '🦉🦉', '👨‍👩‍👧', '❤️', 'e\u0301'])
    test(`is wide enough for ${text}`, () => {
      const drawn = new TableDrawer([{head: 'a'}, {head: 'b'}], 80).draw([[{text}, {text: '|'}]])
      assert.match(drawn, new RegExp(`^${text} +\\|$`, 'm'))
    })
})
