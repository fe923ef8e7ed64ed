/**
 * Says what a word that is no command was meant to be; for the words of other tools, what jobq calls it. A misspelling
 * must be a clear one: what is suggested is typed next, and some commands act on every host.
 */
import {closest, distance} from '../jobs/closest.ts'
import {UsageError} from '../jobs/errors.ts'

/** What jobq calls it: what others call it. The first word is a command, and counts once jobq has it. */
const CALLED: Readonly<Record<string, readonly string[]>> = {
  enqueue: [
    'add',
    'push',
    'put',
    'submit',
    'send',
    'insert',
    'publish',
    'queue',
    'perform',
    'dispatch',
    'new',
  ],
  work: ['run', 'start', 'worker', 'process', 'consume', 'serve', 'daemon', 'exec'],
  list: ['ls', 'jobs', 'show', 'peek', 'inspect', 'queues'],
  logs: ['log', 'output', 'tail', 'stdout'],
  'list --failed': ['errors', 'failed', 'failures', 'exceptions'],
  status: ['ps', 'top', 'workers', 'who'],
  stats: ['stat', 'count', 'size', 'info', 'metrics', 'monitor'],
  'stats --watch': ['watch'],
  retry: ['requeue', 'redo', 'rerun', 'replay'],
  cancel: ['rm', 'del', 'delete', 'remove', 'kill', 'drop', 'abort'],
  prune: ['clean', 'cleanup', 'purge', 'gc'],
  pause: ['hold', 'suspend'],
  resume: ['unpause', 'unhold', 'continue'],
  wait: ['await', 'join'],
  init: ['setup', 'migrate', 'create'],
  copy: ['cp', 'move', 'mv', 'transfer'],
  '--version': ['version'],
}

export function unknownCommand(typed: string, commands: readonly string[]): UsageError {
  return new UsageError(`expected a command, got ${JSON.stringify(typed)}`, {
    hint: `${hint(typed.toLowerCase(), commands)}see \`jobq --help\``,
  })
}

function hint(word: string, commands: readonly string[]): string {
  const calls = Object.keys(CALLED).filter(call => CALLED[call]!.includes(word))
  const call = calls.find(call => call.startsWith('--') || commands.includes(call.split(' ', 1)[0]!))
  if (call !== undefined) return `here it is \`jobq ${call}\`; `
  if (calls.length > 0) return 'jobq has no command for that; '
  const near = closest(
    word,
    commands.filter(command => isMisspelt(word, command)),
  )
  return near && `did you mean ${near}? `
}

/** One letter too many, too few, wrong, or changed with its neighbour; or the rest left out. */
function isMisspelt(word: string, command: string): boolean {
  if (word.length > 2 && command.startsWith(word)) return true
  return distance(word, command) <= 1 || isSwapped(word, command)
}

function isSwapped(word: string, command: string): boolean {
  const at = [...command].findIndex((letter, i) => letter !== word[i])
  const swapped = word.slice(0, at) + (word[at + 1] ?? '') + (word[at] ?? '') + word.slice(at + 2)
  return at >= 0 && swapped === command
}
