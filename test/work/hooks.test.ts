/** Hooks and plugins of the configuration around jobs in the pool's children; and what is told of children replaced. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import {until} from '../support/until.ts'
import {Workplace} from '../support/workplace.ts'

interface Note {
  what: string
  id?: number
  pid?: number
  arg?: unknown
  outcome?: string
  message?: string
  reason?: string
  jobs?: number
}

/** A worker that notes its job; it fails where the argument says so. */
const NOTING = `import {note} from './_note.mjs'
export default {
  maxRetries: 1,
  work(job) {
    note({what: 'work', id: job.id, pid: process.pid, arg: job.arg})
    if (job.arg?.fail) throw new Error('asked to fail')
  },
}`

/** @param body of the configuration's object; it has `note` */
function configured(site: Workplace, body: string): void {
  site.write('jobq.config.mjs', `import {note} from './workers/_note.mjs'\nexport default {${body}}\n`)
}

describe('hooks of the configuration', () => {
  test('are called in the children, in their order; the end is told to postWork', async t => {
    const site = new Workplace(t, {Noting: NOTING})
    site.write(
      'hooks/third.mjs',
      `import {note} from '../workers/_note.mjs'
export default {name: 'third', preWork: job => note({what: 'third', id: job.id, arg: job.arg})}`,
    )
    configured(
      site,
      `hooks: [
        {name: 'first', deserialize: job => { job.arg = {...job.arg, first: true} }},
        {name: 'second', async preWork(job) { note({what: 'second', id: job.id}) },
         postWork: job => note({what: 'post', id: job.id, pid: process.pid, outcome: job.outcome, message: job.message.split('\\n')[0]})},
        'hooks/third.mjs',
      ]`,
    )
    await site.enqueue(['Noting', {arg: {a: 1}}], ['Noting', {arg: {fail: true}}])
    const {code, stderr} = await site.drain()
    assert.equal(code, 5, stderr)
    const notes = site.notes<Note>()
    const of = (id: number) => notes.filter(note => note.id === id).map(({what, arg}) => [what, arg])
    assert.deepEqual(of(1), [
      ['second', undefined],
      ['third', {a: 1, first: true}],
      ['work', {a: 1, first: true}],
      ['post', undefined],
    ])
    assert.deepEqual(
      notes
        .filter(({what, id}) => what === 'post' && id === 2)
        .map(({outcome, message}) => [outcome, message]),
      [
        ['failed', 'Error: asked to fail'],
        ['failed', 'Error: asked to fail'],
      ],
    )
  })

  test('postWork: the end is written before it is over, and its child takes no job meanwhile', async t => {
    const site = new Workplace(t, {Noting: NOTING})
    configured(
      site,
      `hooks: [{name: 'slow', async postWork(job) {
        note({what: 'post', id: job.id, pid: process.pid})
        const {existsSync} = await import('node:fs')
        while (!existsSync('go')) await new Promise(resolve => setTimeout(resolve, 5))
        note({what: 'post is over', id: job.id, pid: process.pid})
      }}]`,
    )
    await site.enqueue(['Noting'], ['Noting'])
    const work = site.work()
    await until('the first end is written', () => site.count('job') === 1)
    await until('its hook is called', () => site.notes<Note>().length === 2)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
    site.write('go', '')
    await until('all is done', () => site.notes<Note>().length === 6)
    const seen = site.notes<Note>().map(({what, id}) => [what, id])
    const each = (id: number) => ['work', 'post', 'post is over'].map(what => [what, id])
    assert.deepEqual(seen, [...each(1), ...each(2)])
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
  })

  test('a postWork that throws: what became of the job stands, its process is replaced, the log says why', async t => {
    const site = new Workplace(t, {Noting: NOTING})
    configured(
      site,
      `hooks: [{name: 'sour', async postWork(job) { if (job.id === 1) throw new Error('no lemon') }}]`,
    )
    await site.enqueue(['Noting'], ['Noting'], ['Noting'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 0, stderr)
    assert.match(stderr, /hook "sour" at postWork: threw: no lemon; .*its process is replaced/)
    assert.equal(stderr.match(/ completed /g)?.length, 3)
    assert.equal(site.count('exception_log'), 0)
    const [first, second, third] = site.notes<Note>().map(({pid}) => pid)
    assert.notEqual(first, second)
    assert.equal(second, third)
  })

  test('jobq work waits for the hooks behind the last job', async t => {
    const site = new Workplace(t, {Noting: NOTING})
    configured(
      site,
      `hooks: [{name: 'slow', async postWork(job) {
        const {existsSync} = await import('node:fs')
        note({what: 'post'})
        while (!existsSync('go')) await new Promise(resolve => setTimeout(resolve, 5))
        note({what: 'post is over'})
      }}]`,
    )
    await site.enqueue(['Noting'])
    const work = site.start(['work', '--once'])
    await work.prints(/completed/)
    await until('its hook is called', () => site.notes<Note>().length === 2)
    site.write('go', '')
    assert.equal((await work.exited).code, 0)
    assert.deepEqual(
      site.notes<Note>().map(({what}) => what),
      ['work', 'post', 'post is over'],
    )
  })

  test('a preWork that throws counts as the death of its worker: the third one fails the job', async t => {
    const site = new Workplace(t, {Noting: NOTING})
    configured(site, `hooks: [{name: 'guard', preWork() { throw new Error('not today') }}]`)
    await site.enqueue(['Noting'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 5, stderr)
    assert.deepEqual(site.notes(), [])
    assert.match(
      site.messages().join(),
      /^its worker died 3 times: .*hook "guard" at preWork: threw: not today/,
    )
    assert.equal(site.count('job'), 0)
  })

  test('a hook that can not be loaded is told before any job is taken', async t => {
    const site = new Workplace(t, {Noting: NOTING})
    configured(site, `hooks: ['hooks/missing.mjs']`)
    await site.enqueue(['Noting'])
    const {code, stderr} = await site.drain()
    assert.equal(code, 2)
    assert.match(stderr, /hooks\.0: .*hooks\/missing\.mjs does not exist/)
    assert.deepEqual(site.column('SELECT grabbed_until FROM job'), [0])
  })
})

describe('plugins of the configuration', () => {
  test('are started in each child before its first job, reached by name, and stopped at its end', async t => {
    const site = new Workplace(t, {
      Say: `import {note} from './_note.mjs'
export default {work(job) { note({what: job.plugin('greeter').greeting, pid: process.pid}) }}`,
    })
    configured(
      site,
      `plugins: {greeter: {
        start({role, queue}) { this.greeting = 'hello, ' + role; note({what: 'start ' + (queue === null), pid: process.pid}) },
        async stop() { await null; note({what: 'stop', pid: process.pid}) },
      }}`,
    )
    await site.enqueue(['Say'], ['Say'], ['Say'])
    const {code, stderr} = await site.drain('--max-request-per-child', '2')
    assert.equal(code, 0, stderr)
    const byChild = Map.groupBy(site.notes<Note>(), ({pid}) => pid)
    const told = [...byChild.values()]
      .map(notes => notes.map(({what}) => what))
      .filter(whats => whats.includes('hello, worker')) // one may have been started that was not needed any more
    assert.equal(told.flat().filter(what => what === 'hello, worker').length, 3)
    for (const [first, ...rest] of told) {
      assert.equal(first, 'start true')
      assert.equal(rest.at(-1), 'stop')
    }
  })

  test('one that does not stop is killed', async t => {
    const site = new Workplace(t, {Noting: NOTING})
    configured(site, `plugins: {stuck: {stop: () => new Promise(() => setInterval(() => {}, 1000))}}`)
    await site.enqueue(['Noting'])
    assert.equal((await site.drain()).code, 0)
    assert.deepEqual(site.survivors(), [])
  })
})

describe('a child that is replaced', () => {
  const WATCH = `import {appendFileSync} from 'node:fs'
import {subscribe} from 'node:diagnostics_channel'
subscribe('jobq:recycle', event => appendFileSync(process.env.NOTES, JSON.stringify({what: 'recycle', ...event}) + '\\n'))
`
  const recycled = (site: Workplace) => site.notes<Note>().filter(({what}) => what === 'recycle')

  test('is told, with the reason: worn, broken, died, reload', async t => {
    const site = new Workplace(t, {
      Noting: NOTING,
      Stray: `export default {work: () => new Promise(() => setTimeout(() => { throw new Error('stray') }))}`,
      Die: `export default {work: () => process.kill(process.pid, 'SIGKILL')}`,
    })
    site.env.NODE_OPTIONS = `--import=${site.write('watch.mjs', WATCH)}`
    const work = site.work('--max-request-per-child', '2', '--shutdown-timeout', '5')
    const expected: [string, number][] = []
    const expect = async (reason: string, jobs: number) => {
      expected.push([reason, jobs])
      await until(`${reason} is told`, () => recycled(site).length === expected.length)
      assert.deepEqual(
        recycled(site).map(({reason, jobs}) => [reason, jobs]),
        expected,
      )
    }
    await site.enqueue(['Noting'], ['Noting'])
    await expect('worn', 2)
    await site.enqueue(['Stray'])
    await expect('broken', 1)
    await site.enqueue(['Die'])
    await until('it is buried', () => site.count('exception_log') === 2)
    expected.push(['died', 0], ['died', 0])
    await expect('died', 0)
    const before = work.stderr.length
    await site.enqueue(['Noting'])
    await until('it is done', () => / completed /.test(work.stderr.slice(before)))
    work.kill('SIGHUP')
    await expect('reload', 1)
    work.kill('SIGTERM')
    assert.equal((await work.exited).code, 0)
    assert.equal(recycled(site).length, expected.length)
  })
})
