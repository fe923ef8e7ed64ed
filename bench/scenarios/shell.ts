/** "Put a shell command in, see it done": from a shell's call to the command's start, beside tools that do only that. */
import {spawnSync} from 'node:child_process'
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {find} from '../../test/support/machine.ts'
import {FUNC, makeDatabase} from '../lib/floor.ts'
import {cleanEnvironment} from '../lib/jobq.ts'
import {type Contender, interleave, named, ratio, type Series} from '../lib/measure.ts'
import {terminate, until} from '../lib/processes.ts'
import type {Bench, Goal, Scenario} from '../lib/scenario.ts'
import {workplace} from '../lib/workplace.ts'

interface Tool {
  name: string
  /** What a shell calls. */
  call: string[]
  env?: NodeJS.ProcessEnv
}

export const shell: Scenario = {
  name: 'shell',
  title: 'A shell command, put in and started',
  about: `The command writes the time into a file. From a shell's call to that time, and until the call itself has come back, with
nothing else to do: \`jobq enqueue\` with a \`jobq work\` that waits, the command being its executable; task-spooler's
\`tsp\` and \`nq\`, which keep no database, and start what they are given themselves; the floor is the command alone.`,
  async run(bench) {
    const leftOut: string[] = []
    const folder = bench.folder()
    const notes = join(folder, 'notes')
    writeFileSync(notes, '')
    const command = join(folder, 'command.sh')
    writeFileSync(command, `#!/bin/sh\ndate +%s%N >> ${notes}\n`, {mode: 0o755})
    const tools: Tool[] = [{name: 'the command alone', call: [command]}, await jobqTool(bench, command)]
    const tsp = find('tsp')
    if (tsp) tools.push(taskSpooler(bench, tsp, [command]))
    else leftOut.push('task-spooler: no tsp (apt-get install task-spooler)')
    const nq = find('nq')
    if (nq) tools.push({name: 'nq', call: [nq, command], env: {NQDIR: bench.folder()}})
    else leftOut.push('nq: no nq (apt-get install nq)')
    const returned: Series[] = tools.map(({name}) => ({name: `${name}: call`, unit: 'ms', values: []}))
    const contenders = tools.map(
      (tool, i): Contender => ({
        name: `${tool.name}: start`,
        unit: 'ms',
        async run(round) {
          const {start, call} = await called(tool, notes)
          if (round >= 0) returned[i]!.values.push(call)
          return start
        },
      }),
    )
    const series = [...(await interleave(bench.pick(60, 15), contenders, 3)), ...returned]
    const goals: Goal[] = [
      {
        what: "from a shell's call to the command's start / that call, `jobq enqueue`, until it comes back",
        ...ratio(named(series, 'jobq enqueue: start'), named(series, 'jobq enqueue: call')),
        is: '<=',
        bound: 1.1,
      },
    ]
    return {series, goals, leftOut}
  },
}

/** In milliseconds from the call. */
async function called({call, env}: Tool, notes: string): Promise<{start: number; call: number}> {
  const lines = () => readFileSync(notes, 'utf8').split('\n').slice(0, -1)
  const before = lines().length
  const now = () => performance.timeOrigin + performance.now()
  const [file = '', ...words] = call
  const begun = now()
  const {status, stderr} = spawnSync(file, words, {env: cleanEnvironment(env), stdio: 'pipe'})
  const back = now()
  if (status !== 0) throw new Error(`${call.join(' ')} has failed: ${stderr}`)
  await until(() => lines().length > before, 'the command to run', undefined, 1)
  return {start: Number(lines().at(-1)) / 1e6 - begun, call: back - begun}
}

async function jobqTool({jobq, folder, defer}: Bench, command: string): Promise<Tool> {
  const place = workplace(jobq, folder(), {[FUNC]: readFileSync(command, 'utf8')})
  const db = await makeDatabase(jobq, place.folder)
  const {child, log} = place.work(db, '--max-workers', '1')
  defer(() => terminate(child))
  await until(() => / works /.test(readFileSync(log, 'utf8')), 'jobq work to wait', child)
  return {name: 'jobq enqueue', call: [...jobq.command, 'enqueue', FUNC, '--db', db]}
}

/** Its server is started by the first call, and lives until it is told to end. */
function taskSpooler({folder, defer}: Bench, tsp: string, command: string[]): Tool {
  const own = folder()
  mkdirSync(join(own, 'output'))
  const env = {TS_SOCKET: join(own, 'socket'), TMPDIR: join(own, 'output')}
  defer(() => spawnSync(tsp, ['-K'], {env: cleanEnvironment(env)}))
  return {name: 'task-spooler', call: [tsp, ...command], env}
}
