/** Where hooks come from: the configuration, modules beside it, options, a call; and what is no hook. */
import assert from 'node:assert/strict'
import {writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import Sqlite from 'better-sqlite3'
import {ConfigError, type Hook, JobQueue} from '../../src/lib/index.ts'
import {openQueue, place} from '../support/library.ts'

describe('where hooks come from', () => {
  test('the configuration, as objects and as modules beside it; then the options', async t => {
    const {folder, file} = place(t)
    const note = (name: string) =>
      `{name: '${name}', preEnqueue: call => { call.context.order = (call.context.order ?? '') + '${name} ' }}`
    writeFileSync(join(folder, 'one.mjs'), `export default ${note('module')}`)
    writeFileSync(join(folder, 'two.mjs'), `export default [${note('first')}, ${note('second')}]`)
    writeFileSync(join(folder, 'plugin.mjs'), `export default {hooks: ${note('plugged')}}`)
    const config = join(folder, 'jobq.config.mjs')
    writeFileSync(
      config,
      `export default {db: 'jobs.db', hooks: ['./one.mjs', ${note('inline')}, 'two.mjs'], plugins: {p: './plugin.mjs'}}`,
    )
    const queue = await JobQueue.open({
      config,
      hooks: [
        {
          name: 'option',
          preEnqueue(call) {
            call.context.order += 'option '
          },
        },
      ],
    })
    await queue.enqueue('F')
    await queue.close()
    const db = new Sqlite(file)
    t.after(() => db.close())
    const {context} = db.prepare('SELECT context FROM jobq_context').get() as {context: string}
    assert.equal(JSON.parse(context).order, 'module inline first second plugged option ')
  })

  const refused: [what: string, config: string, message: RegExp][] = [
    ['a module that is not there', `hooks: ['./none.mjs']`, /^hooks\.0: .*none\.mjs does not exist$/],
    [
      'a module that does not load',
      `hooks: ['./broken.mjs']`,
      /^hooks\.0: .*broken\.mjs:1 can't be loaded: /,
    ],
    [
      'a module without a default',
      `hooks: ['./empty.mjs']`,
      /^hooks\.0: .*empty\.mjs: expected a default export, got none$/,
    ],
    ['a plugin that is not there', `plugins: {p: './none.mjs'}`, /^plugins\.p: .*none\.mjs does not exist$/],
    [
      'hooks that are no array',
      `hooks: {name: 'x'}`,
      /jobq\.config\.mjs:1: hooks: expected an array, got an object$/,
    ],
    ['a hook that is a number', `hooks: [5]`, /hooks\.0: expected a hook, or the path of a module, got/],
    ['plugins that are an array', `plugins: []`, /plugins: expected an object: name to plugin/],
  ]
  for (const [what, config, message] of refused)
    test(`${what} is refused`, async t => {
      const {folder} = place(t)
      writeFileSync(join(folder, 'broken.mjs'), 'export default {')
      writeFileSync(join(folder, 'empty.mjs'), 'export const x = 1')
      const file = join(folder, 'jobq.config.mjs')
      writeFileSync(file, `export default {db: 'jobs.db', ${config}}`)
      await assert.rejects(JobQueue.open({config: file}), error => {
        assert.ok(error instanceof ConfigError)
        assert.match(error.message, message)
        return true
      })
    })

  const noHooks: [what: string, hook: unknown, message: string | RegExp][] = [
    ['null', null, 'expected a hook, got null'],
    ['a function', () => {}, 'expected a hook, got function'],
    ['without a name', {preEnqueue() {}}, "a hook's name: expected text, got undefined"],
    ['with an empty name', {name: '', preEnqueue() {}}, "a hook's name: expected text, got an empty one"],
    ['without a point', {name: 'x'}, 'hook "x": expected a function at one of the points, got none'],
    ['with a point misspelt', {name: 'x', preEnque() {}}, 'hook "x": unknown point preEnque'],
    ["with Perl's name of a point", {name: 'x', pre_enqueue() {}}, 'hook "x": unknown point pre_enqueue'],
    [
      'with a point that is text',
      {name: 'x', preWork: 'log'},
      'hook "x": preWork: expected a function, got string',
    ],
  ]
  for (const [what, hook, message] of noHooks)
    test(`a hook ${what} is refused, and none is registered`, async t => {
      const {queue} = await openQueue(t)
      const good: Hook = {name: 'good', preEnqueue() {}}
      assert.throws(() => queue.hooks.register(good, hook as Hook), {name: 'UsageError', message})
      assert.deepEqual(queue.hooks.names, [])
      await assert.rejects(openQueue(t, {hooks: [hook as Hook]}), {name: 'UsageError', message})
    })

  test('a name twice, and one that is not there, are refused', async t => {
    const {queue} = await openQueue(t, {hooks: [{name: 'a', preWork() {}}]})
    assert.throws(
      () => queue.hooks.register({name: 'a', preWork() {}}),
      /hook "a": expected a name of its own/,
    )
    assert.throws(() => queue.hooks.unregister('a', 'b'), /^UsageError: no hook "b" is registered/)
    assert.deepEqual(queue.hooks.names, ['a'])
  })

  test("Perl's name of a point is answered with ours", async t => {
    const {queue} = await openQueue(t)
    const hook = {name: 'x', post_enqueue() {}} as unknown as Hook
    assert.throws(() => queue.hooks.register(hook), {hint: /^did you mean postEnqueue\?/})
  })
})
