/** What `jobq status` draws, on terminals of any width. */
import assert from 'node:assert/strict'
import {describe, test} from 'node:test'
import type {ManagerStatus, Slot} from '../../src/lib/jobs/manager.ts'
import {statusTables} from '../../src/lib/render/status.ts'

const working: Slot = {
  ...{state: 'working', pid: 1_234_567, id: 123_456_789, func: 'MyApp::Worker::Image::Thumbnail'},
  ...{seconds: 4000, jobs: 1234, memory: 123_000_000},
}
const none: Slot = {state: 'none', pid: null, id: null, func: null, seconds: null, jobs: 0, memory: null}
const manager: ManagerStatus = {
  ...{pid: 1, host: 'here', db: 'jobs.db', started: 1_795_434_634, funcs: [], paused: []},
  ...{moreFuncs: 0, jobs: 7, failed: 0, memory: null, workers: {working: 1, idle: 0, none: 1}},
  ...{seen: 1_795_434_700, age: 5, gone: false, slots: [working, none]},
}

async function table(width: number): Promise<string[]> {
  const [, ...lines] = (await statusTables([manager], width)).trimEnd().split('\n')
  return lines
}

describe('the table of slots', () => {
  test('is as wide as its texts', async () => {
    const [head, first] = await table(120)
    assert.match(head!, /^SLOT +PID +JOB +FUNC +FOR +JOBS +MEMORY$/)
    assert.match(first!, /^working +1234567 +123456789 +MyApp::Worker::Image::Thumbnail +1h 6m +1234 +117M$/)
  })

  test('never breaks its lines: the function is cut, then what can be missed is left out', async () => {
    for (let width = 120; width >= 36; width--)
      for (const line of await table(width)) assert.ok(line.length <= width, `${width}: ${line}`)
    assert.match((await table(60))[1]!, /^working +1234567 +123456789 +MyApp\S*… +1h 6m +1234 +117M$/)
    assert.match((await table(50))[0]!, /^SLOT +PID +JOB +FUNC +FOR +JOBS$/)
    assert.match((await table(36))[0]!, /^SLOT +JOB +FUNC +FOR$/)
  })
})
