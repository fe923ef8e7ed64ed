/** Jobs that end their process, hang, or overrun: what becomes of them, of what they started, and of the next job. */
import assert from 'node:assert/strict'
import {existsSync, readFileSync} from 'node:fs'
import {describe, test} from 'node:test'
import type {EnqueueOptions} from '../../src/lib/index.ts'
import {readFromChild} from '../../src/lib/work/executors/from-child.ts'
import {isAlive, untilGone} from '../support/alive.ts'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

const worker = (body: string, settings = '') => `import {defineWorker, type Job} from 'jobq'
import {spawn} from 'node:child_process'
import {setTimeout as sleep} from 'node:timers/promises'
import {note} from './_note.mjs'
void spawn, sleep, note
export default defineWorker({${settings} async work(job: Job<any>) {${body}}})
`
const NEXT = worker(`note({func: job.func})`)
const OVERRUN = /^ran longer than its grab_for of \d+ s and was stopped$/
/** A process that a job starts and that does not heed TERM. */
const STUBBORN = `trap '' TERM; echo stubborn $$; while :; do sleep 0.05; done`

interface Note {
  id: number
  func: string
  pid: number
  retryCnt: number
  helper: number
  reason: string
}

describe('a worker’s process that dies', {concurrency: 2}, () => {
  test('three times: the job has failed, with a message that tells each; no retry is spent', async t => {
    const site = new Workplace(t, {
      Exit: worker(
        `note({retryCnt: job.retryCnt}); process.exit(job.arg)`,
        'maxRetries: 5, setJobStatus: true,',
      ),
      Next: NEXT,
    })
    await site.enqueue(
      ['Exit', {arg: 3, priority: 1, uniqkey: 'e'}],
      ['Exit', {arg: 0, priority: 1}],
      ['Next'],
    )
    const {code, stdout, stderr} = await site.drain()
    assert.equal(code, 5)
    assert.match(stdout, /^1 completed, 2 failed/m)
    assert.deepEqual(
      site.notes<Note>().map(({func, retryCnt}) => func ?? retryCnt),
      [0, 0, 0, 0, 0, 0, 'Next'],
    )
    const told = (status: number) =>
      `its worker died 3 times: ${[1, 2, 3].map(n => `${n}. its process exited with status ${status}`).join('; ')}`
    assert.deepEqual(site.messages(), [told(3), told(0)])
    assert.equal(site.exceptions()[0]!.uniqkey, 'e')
    assert.equal(
      stderr.match(/1 Exit died \S+ its process exited with status 3; the job runs again$/gm)?.length,
      2,
    )
    assert.match(stderr, /1 Exit failed \S+ its worker died 3 times/)
    assert.deepEqual(site.column('SELECT status FROM job_status'), ['failed', 'failed'])
    assert.equal(site.count('job'), 0)
    assert.deepEqual(site.column('SELECT count(*) FROM jobq_death'), [0])
  })

  test('by a KILL in the midst of a job: it runs again at once, as if nothing had been', async t => {
    const site = new Workplace(t, {
      Long: worker(
        `const first = process.env.NOTES && job.arg.once
         note({id: job.id, pid: process.pid, retryCnt: job.retryCnt})
         if (!(await import('node:fs')).existsSync(process.env.HOME + '/again')) await sleep(60_000)`,
        'setJobStatus: true,',
      ),
    })
    await site.enqueue(['Long', {arg: {}}])
    const work = site.work('--drain')
    await until('it has begun', () => site.notes().length === 1)
    site.write('again', '')
    process.kill(site.notes<Note>()[0]!.pid, 'SIGKILL')
    const {code, stderr} = await work.exited
    assert.equal(code, 0)
    assert.match(stderr, /1 Long died \S+ its process was killed by SIGKILL; the job runs again/)
    assert.match(stderr, /1 Long completed/)
    const [first, second] = site.notes<Note>()
    assert.notEqual(first!.pid, second!.pid)
    assert.deepEqual([first!.retryCnt, second!.retryCnt], [0, 0])
    assert.equal(site.count('exception_log'), 0)
    assert.deepEqual(site.column('SELECT status FROM job_status'), ['completed'])
  })

  test('for want of memory: said so, and the next job is served', async t => {
    const site = new Workplace(t, {
      Eats: worker(`const all: unknown[] = []; for (;;) all.push(new Array(10_000).fill(job))`),
      Next: NEXT,
    })
    await site.enqueue(['Eats', {priority: 1}], ['Next'])
    const {code, stdout} = await site.run(['work', '--drain'], {
      env: {NODE_OPTIONS: '--max-old-space-size=30'},
    })
    assert.equal(code, 5)
    assert.match(stdout, /^1 completed, 1 failed/m)
    assert.match(
      site.messages()[0]!,
      /^its worker died 3 times: 1\. its process \S+ .*\(out of memory\); 2\. /,
    )
    assert.equal(site.notes().length, 1)
  })

  test('for what its job writes to the descriptor on which workers speak to jobq: killed, and all else goes on', async t => {
    const site = new Workplace(t, {
      Speaks: worker(
        `const {writeSync} = await import('node:fs')
        writeSync(3, job.arg + '\\n')
        await sleep(60_000)`,
        `serializer: 'none',`,
      ),
      Closes: worker(`
        ;(await import('node:fs')).closeSync(3)
        await sleep(60_000)`),
      Next: NEXT,
    })
    const said = [
      'junk',
      '{"kind":"ended","run":7,"rss":0,"outcome":{"kind":"completed"}}',
      '{"kind":"loaded","workers":[],"hasPlugins":false}',
      replacedBy({priority: -1}),
    ]
    await site.enqueue(
      ...said.map((text): [string, EnqueueOptions] => ['Speaks', {arg: text, serializer: 'none'}]),
      ['Closes'],
    )
    await site.enqueue(['Next'])
    const {code, stdout, stderr} = await site.drain('--max-workers', '4')
    assert.equal(code, 5, stderr)
    assert.match(stdout, new RegExp(`^1 completed, ${said.length + 1} failed, ${2 * said.length + 2} died`))
    assert.equal(site.notes().length, 1)
    assert.equal(site.count('job'), 0)
    const because = 'its worker died 3 times: 1. its process was killed: it '
    for (const text of said) {
      const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text
      assert.ok(
        site.messages().some(message => message.startsWith(`${because}wrote ${shown} where workers speak`)),
        `${shown}: ${site.messages().join('\n')}`,
      )
    }
    assert.ok(site.messages().some(message => message.startsWith(`${because}closed the descriptor`)))
  })

  test('takes what its job has started with it', async t => {
    const site = new Workplace(t, {
      Starts: worker(`
        const helper = spawn('/bin/sh', ['-c', ${JSON.stringify(STUBBORN)}], {stdio: ['ignore', 'pipe', 'ignore']})
        await new Promise(resolve => helper.stdout.once('data', resolve))
        note({helper: helper.pid})
        process.exit(1)`),
    })
    await site.enqueue(['Starts'])
    assert.equal((await site.drain()).code, 5)
    const helpers = site.notes<Note>().map(({helper}) => helper)
    assert.equal(helpers.length, 3)
    await untilGone(...helpers)
  })
})

/** The end of a run whose job was replaced by one of these fields. */
function replacedBy(fields: object): string {
  const job = {func: 'F', arg: null, plain: false, uniqkey: null, priority: 0, due: {in: 0}}
  const outcome = {kind: 'replaced', retryIn: null, jobs: [{...job, ...fields}]}
  return JSON.stringify({kind: 'ended', run: 1, rss: 0, outcome})
}

test('what a child may not say is nonsense, to the last field', () => {
  for (const text of [
    'null',
    '[]',
    '{"kind":"ended"}',
    '{"kind":"ended","run":1,"rss":0,"outcome":{"kind":"released"}}',
    '{"kind":"loaded","workers":5}',
    '{"cmd":"NODE_HANDLE_ACK"}',
    replacedBy({func: 'x'.repeat(300)}),
    replacedBy({uniqkey: ''}),
    replacedBy({priority: -1}),
    replacedBy({due: {in: 'soon'}}),
    replacedBy({due: {at: 2 ** 32}}),
    replacedBy({context: '[1]'}),
  ])
    assert.equal(readFromChild(JSON.parse(text)), null, text)
  assert.ok(readFromChild(JSON.parse(replacedBy({priority: 1}))))
})

test('the guardian that is killed is replaced, and what a killed dispatcher leaves behind is ended all the same', async t => {
  const site = new Workplace(t, {
    Script: `#!/bin/sh\ntrap '' TERM; echo $$ > "$HOME/script"; while :; do sleep 0.05; done\n`,
    Module: worker(`note({pid: process.pid}); await sleep(600_000)`),
  })
  await site.enqueue(['Script'], ['Module'])
  const work = site.work('--max-workers', '2')
  await until('both run', () => site.notes().length === 1 && existsSync(site.path('script')))
  const first = guardianOf(work.pid)!
  process.kill(first, 'SIGKILL')
  await work.prints(/jobq: .*jobq-guardian.* was killed by SIGKILL: another takes its place/)
  await until('there is another', () => ![null, first].includes(guardianOf(work.pid)))
  process.kill(guardianOf(work.pid)!, 'SIGKILL')
  await until('and another', () => work.stderr.match(/another takes its place/g)?.length === 2)
  const second = guardianOf(work.pid)
  await until('that works', () => ![null, first, second].includes(guardianOf(work.pid)))
  // Once it answers it has told the new one what to end, for that it does in the round in which it starts it
  await until('it answers', async () => (await site.run(['status'])).stdout !== '')
  work.kill('SIGKILL')
  await untilGone(site.notes<Note>()[0]!.pid, Number(readFileSync(site.path('script'), 'utf8')))
  await until('nothing is left', () => site.survivors().length === 0)
})

/** Null if there is none at the moment. */
function guardianOf(pid: number): number | null {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  const isGuardian = (child: string) => {
    try {
      return readFileSync(`/proc/${child}/cmdline`, 'latin1').includes('jobq-guardian')
    } catch {
      return false // gone
    }
  }
  return Number(children.find(isGuardian)) || null
}

describe('a job that runs longer than its grabFor', {concurrency: 4}, () => {
  test('in a busy loop: ended as failed after that time, and the next job is served', async t => {
    const site = new Workplace(t, {
      Loop: worker(`note({at: 1}); for (;;) {}`, 'grabFor: 2, setJobStatus: true,'),
      Next: NEXT,
    })
    await site.enqueue(['Loop', {priority: 1}], ['Next'])
    const work = site.work('--drain')
    await until('it has begun', () => site.notes().length === 1)
    const begun = performance.now()
    await work.prints(/1 Loop failed/)
    const seconds = (performance.now() - begun) / 1000
    assert.ok(seconds > 1.5 && seconds < 5, `${seconds} s`)
    const {code, stdout} = await work.exited
    assert.equal(code, 5)
    assert.match(stdout, /^1 completed, 1 failed/m)
    assert.match(site.messages()[0]!, OVERRUN)
    assert.deepEqual(site.column('SELECT status FROM job_status'), ['failed'])
  })

  test('is told by its signal, and spends a retry', async t => {
    const site = new Workplace(t, {
      Obeys: worker(
        `const told = new Promise(resolve => job.signal.addEventListener('abort', resolve))
         await told
         note({reason: String(job.signal.reason), pid: process.pid})
         job.signal.throwIfAborted()`,
        'grabFor: 1, maxRetries: 1, retryDelay: () => 40,',
      ),
      Resolves: worker(
        `await new Promise(resolve => job.signal.addEventListener('abort', resolve))`,
        'grabFor: 1,',
      ),
    })
    await site.enqueue(['Obeys'], ['Resolves'])
    const {code, stdout} = await site.drain('--max-workers', '2')
    assert.equal(code, 5)
    assert.match(stdout, /^2 failed/m)
    assert.match(site.notes<Note>()[0]!.reason, /told to stop/)
    for (const message of site.messages()) assert.match(message, OVERRUN)
    const [row] = site.rows<{retry_cnt: number; wait: number}>(
      'SELECT retry_cnt, run_after - (SELECT exception_time FROM exception_log AS log WHERE log.func_id = job.func_id) AS wait FROM job',
    )
    assert.deepEqual(row, {retry_cnt: 1, wait: 40})
  })

  test('and ignores it is killed', async t => {
    const site = new Workplace(t, {
      Ignores: worker(
        `process.on('SIGTERM', () => note({reason: 'TERM'})); note({pid: process.pid}); await sleep(60_000)`,
        'grabFor: 1,',
      ),
      Shell: `#!/bin/sh\n# jobq: grab-for=1s\n${STUBBORN}`,
    })
    await site.enqueue(['Ignores'], ['Shell'])
    const {code, stdout, stderr} = await site.drain('--max-workers', '2')
    assert.equal(code, 5)
    assert.match(stdout, /^2 failed/m)
    for (const message of site.messages()) assert.match(message, OVERRUN)
    await untilGone(site.notes<Note>()[0]!.pid, Number(/stubborn (\d+)/.exec(stderr)![1]))
  })

  test('goes with all it has started, even where it heeds TERM and its helpers do not', async t => {
    const site = new Workplace(t, {
      Module: worker(
        `const helper = spawn('/bin/sh', ['-c', ${JSON.stringify(STUBBORN)}], {stdio: ['ignore', 'pipe', 'ignore']})
         await new Promise(resolve => helper.stdout.once('data', resolve))
         note({helper: helper.pid})
         await new Promise(resolve => job.signal.addEventListener('abort', resolve))`,
        'grabFor: 1,',
      ),
      Shell: `#!/bin/sh\n# jobq: grab-for=1\n(${STUBBORN}) &\nwait`,
      Line: '#!/bin/sh\n',
    })
    await site.enqueue(['Module'], ['Shell'], ['Line'])
    site.write(
      'jobq.config.json',
      JSON.stringify({funcs: {Line: {grabFor: 1, maxRetries: 1, retryDelay: 60}}}),
    )
    const work = site.work(
      '--max-workers',
      '3',
      '--exec',
      `Line=sh -c "${STUBBORN.replaceAll('$', '\\$')}" & wait`,
    )
    await work.prints(/1 Module failed/)
    await work.prints(/2 Shell failed/)
    await work.prints(
      /3 Line failed \S+ ran longer than its grab_for of 1 s and was stopped \(again in 60 s\)/,
    )
    const helpers = work.stderr.match(/(?<=stubborn )\d+/g)!.map(Number)
    assert.equal(helpers.length, 2)
    await untilGone(...helpers, site.notes<Note>()[0]!.helper)
    assert.ok(isAlive(work.pid))
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })
})
