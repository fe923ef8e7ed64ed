/** What tests of a store have in common: jobs, what is wanted, errors, and processes that share it (test/store/process.ts). */
import assert from 'node:assert/strict'
import {type ChildProcess, fork} from 'node:child_process'
import {once} from 'node:events'
import type {TestContext} from 'node:test'
import {fileURLToPath} from 'node:url'
import {StoreError, type StoreErrorCode} from '../../src/lib/jobs/errors.ts'
import type {NewJob} from '../../src/lib/jobs/job.ts'
import type {Want} from '../../src/lib/store/store.ts'
import type {Order} from '../store/process.ts'

const PROCESS = fileURLToPath(new URL('../store/process.ts', import.meta.url))

/** A job of Work, or of another function. */
export function newJob(func: string | Partial<NewJob> = 'Work', more: Partial<NewJob> = {}): NewJob {
  const given = typeof func === 'string' ? {func, ...more} : func
  return {func: 'Work', arg: null, uniqkey: null, priority: 0, due: {in: 0}, ...given}
}

export function want(limit = 1, ...funcs: string[]): Want {
  return {funcs: funcs.length > 0 ? funcs : ['Work'], limit, lease: 60}
}

/** For assert.rejects: an error of this code, which says what to do. */
export function isStoreError(code: StoreErrorCode, words = /./): (error: unknown) => boolean {
  return error => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, words)
    assert.notEqual(error.hint, '')
    return true
  }
}

/** @param address of the store that it has open */
export async function startProcess(t: TestContext, address: string): Promise<ChildProcess> {
  const child = fork(PROCESS, [address], {execArgv: []})
  t.after(() => child.kill('SIGKILL'))
  assert.deepEqual(await once(child, 'message'), ['ready', undefined])
  return child
}

/** Tells a process what to do. @returns its answer */
export async function tell(child: ChildProcess, order: Order): Promise<number[]> {
  const listening = new AbortController()
  const {signal} = listening
  child.send(order)
  try {
    const [answer] = (await Promise.race([
      once(child, 'message', {signal}),
      once(child, 'exit', {signal}).then(end => assert.fail(`the process ended (${end})`)),
    ])) as [number[]]
    return answer
  } finally {
    listening.abort()
  }
}
