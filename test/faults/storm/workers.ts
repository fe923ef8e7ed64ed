/** What the storm's jobs do: a module and an executable, which write their runs into the journal. */
import {chmodSync, mkdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'

/** More than any job's FAILS but the one that is meant to fail for good. */
export const MAX_RETRIES = {Mod: 2, Exec: 4} as const

const MOD = `import {appendFileSync} from 'node:fs'
const note = (...words) => appendFileSync(process.env.JOURNAL, words.join(' ') + '\\n')
export default {maxRetries: ${MAX_RETRIES.Mod}, setJobStatus: true, async work(job) {
  const [token, ms, fails, then] = job.arg.split(' ')
  note('begin', token, job.id, process.pid, process.ppid)
  await new Promise(resolve => setTimeout(resolve, Number(ms)))
  const outcome = job.retryCnt < Number(fails) ? 'failed' : then === '-' ? 'completed' : 'replaced'
  note('end', token, job.id, process.pid, outcome)
  if (outcome === 'failed') throw new Error('as it was told')
  if (outcome === 'replaced') job.replace({func: 'Mod', arg: then + ' 0 0 -'})
}}
`

const EXEC = `#!/bin/sh
read -r arg
arg=\${arg#\\"}
set -- \${arg%\\"}
echo "begin $1 $JOBQ_ID $$ $PPID" >> "$JOURNAL"
[ "$2" = 0 ] || sleep "0.0$2"
if [ "$JOBQ_RETRY_CNT" -lt "$3" ]; then outcome=failed; else outcome=completed; fi
echo "end $1 $JOBQ_ID $$ $outcome" >> "$JOURNAL"
[ $outcome = completed ]
`

/** @returns the flags of \`jobq work\` for them */
export function writeWorkers(folder: string): string[] {
  mkdirSync(join(folder, 'workers'))
  writeFileSync(join(folder, 'workers', 'Mod.mjs'), MOD)
  const script = join(folder, 'exec.sh')
  writeFileSync(script, EXEC)
  chmodSync(script, 0o755)
  const settings = {funcs: {Exec: {maxRetries: MAX_RETRIES.Exec, setJobStatus: true}}}
  writeFileSync(join(folder, 'jobq.config.json'), JSON.stringify(settings))
  return ['--abilities', 'Mod,Exec', '--exec', `Exec=exec ${script}`]
}

/** Is this the command line of a process that runs jobs? A dispatcher's guardian is none. */
export function isRunner(commandLine: string): boolean {
  return /\bchild\.\w+\0?$|exec\.sh/.test(commandLine) && !/work\0/.test(commandLine)
}
