/**
 * A peer in a process of its own: what one contender leaves in a process (garbage, statements that are not finalized yet,
 * compiled code) is paid for by whoever runs next in it. liteque prepares a statement for each job: in the process that
 * measured jobq and the floor, it took jobq's next round from 0.91 of the floor to 0.79.
 */
import {type ChildProcess, fork} from 'node:child_process'
import {cleanEnvironment, program} from './jobq.ts'
import {Unavailable} from './peers.ts'
import type {Bench} from './scenario.ts'

/** @param peer a module of bench/peers that exports `open`. @returns enqueues so many: jobs a second. @throws Unavailable */
export async function openApart(
  {folder, defer}: Bench,
  peer: string,
): Promise<(count: number) => Promise<number>> {
  const module = new URL(`../peers/${peer}.ts`, import.meta.url).href
  const child = fork(program('enqueue-apart.ts'), [module, folder()], {env: cleanEnvironment(), execArgv: []})
  defer(() => child.connected && child.disconnect())
  const {failure} = await answerOf(child)
  if (failure) throw new Unavailable(failure)
  return async count => {
    child.send(count)
    const {rate, failure} = await answerOf(child)
    if (rate === undefined) throw new Error(`${peer}: ${failure}`)
    return rate
  }
}

interface Answer {
  rate?: number
  failure?: string
}

function answerOf(child: ChildProcess): Promise<Answer> {
  return new Promise(resolve => {
    child.once('message', answer => {
      child.off('exit', onExit)
      resolve(answer as Answer)
    })
    const onExit = (code: number | null) => resolve({failure: `its process ended (${code})`})
    child.once('exit', onExit)
  })
}
