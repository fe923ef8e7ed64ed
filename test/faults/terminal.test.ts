/** What jobs print on the terminal that `jobq work` runs on: text, whatever they try. An emulator says what it obeyed. */
import assert from 'node:assert/strict'
import {chmodSync} from 'node:fs'
import {test} from 'node:test'
import xterm from '@xterm/headless'
import {Home} from '../support/home.ts'

const WIDTH = 200

/** To clear, to go home, a title, to be asked where the cursor is and what it is, another screen, colours, to go back. */
const TRIES = [
  'clear\u001b[2J\u001b[H\u001bc',
  'title\u001b]0;pwned\u0007\u001b]52;c;cHduZWQ=\u0007',
  'asked\u001b[6n\u001b[c\u001b[>q\u001bP$qm\u001b\\',
  'other\u001b[?1049h\u001b[?25l\u001b[?1000h',
  'colour\u001b[31;5;7mred\u009b32mgreen',
  'back\b\b\b\bover\u007f\u000b\u000c\u0085',
  'turned\u202eabc\u2066d',
]
const PRINTS = TRIES.join('\n')

test('a job that prints what a terminal obeys: it is text on that of work, logs, show and list --failed', async t => {
  const home = new Home(t)
  home.write('jobq.config.json', '{"db": "jobs.db"}')
  home.write('workers/Exe', '#!/bin/sh\nprintf %s\\\\n "$TRIES"\nprintf %s "$TRIES" >&2; exit 1\n')
  chmodSync(home.path('workers/Exe'), 0o755)
  home.write(
    'workers/Mod.mjs',
    `export default {work() {
      console.log(process.env.TRIES)
      process.stderr.write(process.env.TRIES)
      throw new Error(process.env.TRIES)
    }}`,
  )
  for (const func of ['Exe', 'Mod']) await home.call(['enqueue', func])
  const env = {TRIES: PRINTS}
  for (const [words, times] of [
    [['work', '--drain', '--max-workers', '1'], 4],
    [['logs', '1'], 2],
    [['logs', '2', '--follow'], 2],
    [['show', '1', '2'], 1],
    [['list', '--failed'], 1],
  ] as const) {
    const {stdout} = await home.start(words, {tty: 'all', env, columns: WIDTH, rows: 60}).exited
    const {obeyed, rows} = await shownBy(stdout)
    const name = words.join(' ')
    assert.deepEqual(obeyed, [], name)
    if (words[0] === 'work' || words[0] === 'logs')
      for (const tried of TRIES) {
        const [, text] = /^(\w+)/.exec(tried)!
        const shown = rows.filter(row => row.includes(`${text}\\u`))
        assert.ok(shown.length >= times, `${name}: ${text}\n${rows.join('\n')}`)
      }
    assert.ok(/clear\\(u001b|x1b)\[2J/.test(rows.join('\n')), `${name}\n${rows.join('\n')}`)
  }
})

/** What a terminal has done but show text, and the rows that it shows at the end. Colours of jobq's own are none of text. */
async function shownBy(written: string): Promise<{obeyed: string[]; rows: string[]}> {
  const terminal = new xterm.Terminal({cols: WIDTH, rows: 60, scrollback: 1000, allowProposedApi: true})
  const obeyed: string[] = []
  terminal.onTitleChange(title => obeyed.push(`title ${title}`))
  terminal.onBell(() => obeyed.push('bell'))
  terminal.onData(data => obeyed.push(`answered ${JSON.stringify(data)}`))
  terminal.buffer.onBufferChange(() => obeyed.push('other screen'))
  terminal.parser.registerOscHandler(52, () => obeyed.push('clipboard') > 0)
  await new Promise<void>(resolve => terminal.write(written, resolve))
  const {active} = terminal.buffer
  const rows: string[] = []
  for (let y = 0; y < active.length; y++) {
    const line = active.getLine(y)!
    rows.push(line.translateToString(true))
    for (const word of ['red', 'green']) {
      const at = rows[y]!.indexOf(word)
      const cell = at < 0 ? undefined : line.getCell(at)
      if (cell && (!cell.isFgDefault() || cell.isBlink() || cell.isInverse()))
        obeyed.push(`colour at ${word}`)
    }
  }
  if (terminal.modes.mouseTrackingMode !== 'none') obeyed.push('mouse')
  if (/[\u0085\u009b\u202e\u2066]/.test(written)) obeyed.push('a control character')
  return {obeyed, rows}
}
