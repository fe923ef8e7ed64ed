/** `jobq logs`: what a job has written, of which attempt, and how much of it is kept. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {jobqIn} from '../support/jobq.ts'
import {Workplace} from '../support/workplace.ts'

const BAD = `#!/bin/sh
# jobq: max-retries=1
echo "out $JOBQ_RETRY_CNT"
sleep 0.1
echo err >&2
sleep 0.1
printf 'the end'
exit 3`

/** What is printed is read before its end is told; what has no newline, too. */
const MODULE = `export default {
  async work({id, arg}) {
    console.log('job', id)
    for (let i = 0; i < (arg ?? 0); i++) console.log('line', i)
    process.stdout.write('last of ' + id)
    throw new Error('no')
  },
}`

describe('logs', {concurrency: 3}, () => {
  test('of the last attempt, or of one that is named; stdout and stderr as they came', async t => {
    const site = new Workplace(t, {Bad: BAD})
    await site.enqueue(['Bad'])
    const {code} = await site.run(['logs', '1'])
    assert.equal(code, 0)
    await site.drain()
    assert.deepEqual(await said(site, '1'), [0, 'out 1\nerr\nthe end', ''])
    assert.deepEqual(await said(site, '1', '--attempt', '1'), [0, 'out 0\nerr\nthe end', ''])
    const {stdout} = await site.run(['logs', '1', '--attempt', '1', '--json'])
    assert.deepEqual(JSON.parse(stdout), {
      job_id: 1,
      attempt: 1,
      is_cut: false,
      output: 'out 0\nerr\nthe end',
    })
    assert.match((await site.run(['show', '1'])).stdout, /attempt 1: [^\n]*, 17 bytes of output\n/)
  })

  test('of a row that someone has written as text, an empty one, too', async t => {
    const site = new Workplace(t, {Bad: BAD})
    await site.enqueue(['Bad'])
    await site.drain()
    const db = new Sqlite(site.db)
    t.after(() => db.close())
    for (const text of ['', 'é']) {
      db.prepare('UPDATE jobq_output SET output = ?').run(text)
      assert.deepEqual(await said(site, '1'), [0, text, ''])
    }
  })

  test('of modules, each its own, the last line without a newline, too', async t => {
    const site = new Workplace(t, {Mod: MODULE})
    const ids = await site.enqueue(
      ...Array.from({length: 40}, (_, i) => ['Mod', {arg: i % 3}] as [string, object]),
    )
    await site.drain('--max-workers', '3', '--prefetch', '5')
    await site.withQueue(async queue => {
      for (const [i, id] of ids.entries()) {
        const lines = Array.from({length: i % 3}, (_, n) => `line ${n}\n`).join('')
        const {output} = (await queue.logs(id))!
        assert.equal(Buffer.from(output).toString(), `job ${id}\n${lines}last of ${id}`)
      }
    })
  })

  test('the end of much, from the beginning of a line, whatever the size; what was cut is said', async t => {
    const site = new Workplace(t, {
      Much: '#!/bin/sh\n# jobq: keep-output=1k\nseq 1 200000; exit 1',
      Mod: MODULE.replace('{', "{keepOutput: '2k',"),
      Wide: '#!/bin/sh\nhead -c 100000 /dev/zero | tr "\\\\0" x; exit 1',
    })
    await site.enqueue(['Much'], ['Mod', {arg: 1000}], ['Wide'])
    await site.drain()
    const lines = (until: number) => Array.from({length: until}, (_, i) => `${i + 1}\n`).join('')
    const [code, much, stderr] = await said(site, '1')
    assert.deepEqual([code, stderr], [0, 'jobq: only the end was kept, the last 1022 bytes\n'])
    assert.equal(much, lines(200_000).slice(-1022))
    assert.match((await said(site, '2'))[1], /^line 77\d\n(line \d+\n)+last of 2$/)
    assert.equal((await said(site, '3'))[1], 'x'.repeat(16_384))
  })

  test('--keep-output, JOBQ_KEEP_OUTPUT, the configuration, a function: how much of which attempts', async t => {
    const fine = '#!/bin/sh\necho fine'
    const site = new Workplace(t, {
      Fine: fine,
      Own: `${fine.replace('\n', '\n# jobq: keep-output=none\n')}; exit 1`,
      Bad: BAD,
    })
    site.write(
      'jobq.config.json',
      JSON.stringify({keepOutput: 'none', funcs: {Bad: {keepOutput: 9, maxRetries: 0}}}),
    )
    await site.enqueue(['Fine'], ['Own'], ['Bad'])
    await site.drain()
    const kept = async () => {
      const found = []
      for (const id of site.column<number>('SELECT DISTINCT job_id FROM jobq_output ORDER BY id'))
        found.push([id, (await said(site, String(id)))[1]])
      return found
    }
    assert.deepEqual(await kept(), [[3, 'the end']])
    await site.enqueue(['Fine'], ['Own'], ['Bad'])
    await site.drain('--keep-output', 'all')
    assert.deepEqual(await kept(), [
      [3, 'the end'],
      [4, 'fine\n'],
      [6, 'the end'],
    ])
    await site.enqueue(['Fine'])
    await site.run(['work', '--drain'], {env: {JOBQ_KEEP_OUTPUT: 'all'}})
    assert.deepEqual((await kept()).at(-1), [7, 'fine\n'])
    const shown = await site.run(['show', '7', '--json'])
    assert.deepEqual(JSON.parse(shown.stdout).attempts[0].output, {bytes: 5, is_cut: false})
    assert.equal(JSON.parse(shown.stdout).state, 'completed')
  })

  test('of one that died, and of one that was stopped for its time', async t => {
    const site = new Workplace(t, {
      Dies: `export default {work() { console.log('going'); process.stdout.write('gone'); process.kill(process.pid, 'SIGKILL') }}`,
      Slow: '#!/bin/sh\n# jobq: grab-for=1s\necho began; exec sleep 60',
    })
    await site.enqueue(['Dies'], ['Slow'])
    await site.drain('--max-workers', '2')
    for (const nth of ['1', '2', '3'])
      assert.equal((await said(site, '1', '--attempt', nth))[1], 'going\ngone')
    assert.equal((await said(site, '2'))[1], 'began\n')
    const {attempts} = JSON.parse((await site.run(['show', '1', '--json'])).stdout)
    assert.deepEqual(
      attempts.map(({outcome}: {outcome: string}) => outcome),
      ['died', 'died', 'failed'],
    )
  })

  test('bytes are bytes to a pipe; a terminal gets none that it would obey', async t => {
    const site = new Workplace(t, {
      Red: `#!/bin/sh\nprintf '\\033[31mred\\tand \\000\\n'; printf 'no end'; exit 1`,
    })
    await site.enqueue(['Red'])
    await site.drain()
    assert.equal((await said(site, '1'))[1], '\u001b[31mred\tand \0\nno end')
    const {stdout} = await jobqIn(t)(['logs', '1', '--db', site.db], {tty: 'all'})
    assert.equal(stdout, '\\u001b[31mred\tand \\u0000\nno end\n')
  })

  test('nothing was kept: it says so, and is fine; what is not known is not: exit 4', async t => {
    const site = new Workplace(t, {Quiet: '#!/bin/sh\nexit 1'})
    await site.enqueue(['Quiet'], ['Quiet'])
    await site.run(['work', '--once'])
    assert.deepEqual(await said(site, '1'), [0, '', 'jobq: no output is kept of job 1\n'])
    assert.deepEqual(await said(site, '2'), [0, '', 'jobq: no output is kept of job 2\n'])
    const named = await site.run(['logs', '1', '--attempt', '1', '--json'])
    assert.equal(named.stderr, 'jobq: no output is kept of attempt 1 of job 1\n')
    assert.deepEqual(JSON.parse(named.stdout), {job_id: 1, attempt: 1, is_cut: false, output: null})
    for (const [args, says] of [
      [['9'], /^jobq: no job 9 is in the queue, and no attempt of it is kept \([^\n]*\)\n$/],
      [['1', '--attempt', '2'], /^jobq: job 1 has no attempt 2 \(it has 1: [^\n]*\)\n$/],
      [['2', '--attempt', '1'], /^jobq: job 2 has no attempt 1 \(none has ended yet\)\n$/],
    ] as const) {
      const [code, stdout, stderr] = await said(site, ...args)
      assert.deepEqual([code, stdout], [4, ''])
      assert.match(stderr, says)
    }
  })

  const refused: [args: string[], says: RegExp][] = [
    [['logs'], /expected the id of a job, got none/],
    [['logs', 'x'], /ID: expected a whole number .*"x"/],
    [['logs', '1', '--attempt', '0'], /--attempt: expected a whole number from 1 /],
    [
      ['work', '--drain', '--keep-output', '2m'],
      /--keep-output: expected all, none, or a size of at most 1M such as 64k, got "2m"/,
    ],
    [['work', '--drain', '--keep-output', 'some'], /--keep-output: expected all, none, .* got "some"/],
  ]
  for (const [args, says] of refused)
    test(`what can not be meant: ${args.join(' ')}`, async t => {
      const site = new Workplace(t, {Bad: BAD})
      const {code, stdout, stderr} = await site.run(args)
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, says)
      assert.match(stderr, /^jobq: [^\n]*\n$/)
    })

  for (const [where, settings, worker] of [
    ['a configuration', {keepOutput: '2m'}, BAD],
    ['a function', {funcs: {Bad: {keepOutput: true}}}, BAD],
    ['a line', {}, BAD.replace('max-retries=1', 'keep-output=lots')],
  ] as const)
    test(`what ${where} can not say: exit 2, in a line`, async t => {
      const site = new Workplace(t, {Bad: worker})
      site.write('jobq.config.json', JSON.stringify(settings))
      const {code, stderr} = await site.drain()
      assert.equal(code, 2)
      assert.match(stderr, /^jobq: \S+: (\S+: )?expected "?all"?, "?none"?, [^\n]*\n$/)
    })

  test('what a module can not say: exit 2', async t => {
    const site = new Workplace(t, {Mod: MODULE.replace('{', "{keepOutput: 'much',")})
    const {code, stderr} = await site.drain()
    assert.equal(code, 2)
    assert.match(
      stderr,
      /Mod\.mjs: keepOutput: expected all, none, or a size of at most 1M such as 64k, got "much"/,
    )
  })
})

async function said(
  site: Workplace,
  ...args: string[]
): Promise<[code: number | null, stdout: string, stderr: string]> {
  const {code, stdout, stderr} = await site.run(['logs', ...args])
  return [code, stdout, stderr]
}
