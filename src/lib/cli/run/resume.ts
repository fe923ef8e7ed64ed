/** `jobq resume` once its words are known: what it lifted, and what is still paused. */
import {withQueueOf} from '../command-queue.ts'
import {printer} from '../output-guard.ts'
import {complainOfUnseen, fieldOf, funcsOrAll, type PauseFlags} from './pause.ts'

export async function run(flags: PauseFlags): Promise<{resumed: string[]; paused: string[]}> {
  const funcs = funcsOrAll('resume', flags)
  const print = printer(flags.json)
  return withQueueOf(flags, async queue => {
    const resumed = await queue.resume(funcs)
    await complainOfUnseen(
      queue,
      funcs?.filter(func => !resumed.includes(func)),
    )
    const paused = await queue.paused()
    print(resumed.length === 0 ? 'nothing of that was paused' : `resumed: ${resumed.map(fieldOf).join(', ')}`)
    if (paused.length > 0) print(`still paused: ${paused.map(fieldOf).join(', ')}`)
    return {resumed, paused}
  })
}
