/**
 * Runs the tests: `node test/run.ts [--at-once N] [GLOB …]`, without one all but test/cluster and test/faults. Four files at once keep two
 * cores busy, since much of a test is waiting. Nothing may hang: a test has 4 minutes, and a file 10, then its processes are
 * told and killed. With CI=true at most three files that failed run three times more, each by itself: what fails again is
 * broken; what does not is unsteady, on a full machine say, and told as that in the last lines.
 */
import {globSync, readdirSync, readFileSync} from 'node:fs'
import {relative} from 'node:path'
import {run} from 'node:test'
import {dot, spec} from 'node:test/reporters'
import {parseArgs} from 'node:util'

const TEST_MS = 240_000
const FILE_MS = 600_000
const LOOK_MS = 5_000
/** What takes longest begins first, so that nothing long is left for the end. */
const FIRST = [
  'test/faults/server-faults',
  'test/faults/outage',
  'test/work/sch',
  'test/work/sh',
  'test/store/postgres-pooler',
  'test/work/retention',
  'test/web/browser',
  'test/package',
  'test/store/',
  'test/work/',
  'test/examples/',
]

const {
  values: {'at-once': atOnce},
  positionals,
} = parseArgs({allowPositionals: true, options: {'at-once': {type: 'string', default: '4'}}})
const globs = positionals.length > 0 ? positionals : ['test/*.test.ts', 'test/!(cluster|faults)/**/*.test.ts']
const files = globSync(globs, {exclude: ['**/node_modules/**']}).sort(
  (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1),
)
if (files.length === 0) {
  console.error(`no test file is named by ${globs.join(' ')}`)
  process.exit(1)
}
process.env.NODE_COMPILE_CACHE = `${process.cwd()}/.cache`

const failed = await failedOf(files, Number(atOnce))
let broken = failed.length
for (const file of process.env.CI === 'true' && failed.length <= 3 ? failed : []) {
  let times = 0
  while (times < 3 && (await failedOf([file], 1)).length === 0) times++
  if (times === 3) broken--
  console.log(
    times === 3 ? `unsteady: ${file} failed once, and passed three times by itself` : `broken: ${file}`,
  )
}
process.exitCode = broken > 0 ? 1 : 0

function rank(file: string): number {
  const nth = FIRST.findIndex(start => file.startsWith(start))
  return nth < 0 ? FIRST.length : nth
}

/** Runs these files; those that failed, each once. */
async function failedOf(files: string[], concurrency: number): Promise<string[]> {
  const watch = setInterval(killWhatHangs, LOOK_MS)
  const failed = new Set<string>()
  const events = run({files, concurrency, timeout: TEST_MS})
  let passed = false
  events.on('test:fail', ({file}) => failed.add(relative('', file!)))
  events.on('test:summary', ({file, success}) => {
    if (!file) passed = success
  })
  events.compose(dot).pipe(process.stderr)
  const told = events.compose(spec)
  told.pipe(process.stdout)
  await new Promise(resolve => told.once('end', resolve))
  clearInterval(watch)
  if (!passed && failed.size === 0) throw new Error('the tests have failed, and no file of them is told')
  return [...failed]
}

/** Kills each test file that has run too long, with all that it started, and says what that was. On Linux only: by /proc. */
function killWhatHangs(): void {
  const children = childrenOfAll()
  for (const file of children.get(process.pid) ?? []) {
    if (secondsOf(file) * 1000 < FILE_MS) continue
    const its = [file]
    for (const pid of its) its.push(...(children.get(pid) ?? []))
    console.error(`\nhangs, and is killed after ${FILE_MS / 60_000} minutes:`)
    for (const pid of its)
      console.error(`  ${pid} …${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').slice(-200)}`)
    for (const pid of its) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
  }
}

/** The fields of /proc/PID/stat after the name, which may have anything in it: state, parent … */
function statOf(pid: number): string[] {
  return read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, '')
    .split(' ')
}

function childrenOfAll(): Map<number, number[]> {
  const children = new Map<number, number[]>()
  for (const name of process.platform === 'linux' ? readdirSync('/proc') : []) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(statOf(Number(name))[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  return children
}

/** How long a process has run, in seconds: /proc counts from the machine's start, in hundredths. */
function secondsOf(pid: number): number {
  return Number(read('/proc/uptime').split(' ')[0]) - Number(statOf(pid)[19]) / 100
}

/** A file of /proc, '' if its process has gone. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
