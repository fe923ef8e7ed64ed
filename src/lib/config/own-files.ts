/**
 * Whose is a file? What jobq runs or believes without having been told of it, such as a configuration that it has
 * found, must be this user's or root's, and so must be every folder and link on the way there.
 */
import {lstatSync, readFileSync, readlinkSync, realpathSync, type Stats} from 'node:fs'
import {dirname, resolve} from 'node:path'
import {isShort, ProcessError} from '../jobs/errors.ts'

const ROOT = 0
const [STICKY, BY_GROUP, BY_OTHERS] = [0o1000, 0o020, 0o002]

/** Who is no stranger. */
interface Trusted {
  uids: Set<number>
  gids: Set<number>
  /** The number of all who have none here. */
  unknown: {uid: number | null; gid: number | null}
}

/**
 * How someone else could change what a path leads to, as a message says it: `/srv/app belongs to user 1001`.
 * @param path absolute
 * @param named a file that somebody has named on purpose: who can change that is no stranger either
 * @returns null if no one else can
 * @throws ProcessError where no more files can be opened
 */
export function strangersWay(path: string, named: string | null = null): string | null {
  if (!process.getuid) return null // this system has no such users
  try {
    const trusted = trustedBy(named)
    for (const [step, stats, isEnd] of stepsTo(path)) {
      const wrong = strangersPart(step, stats, isEnd, trusted)
      if (wrong !== null) return `${step} ${wrong}`
    }
    return null
  } catch (error) {
    if (isShort(error)) throw new ProcessError(error, `can't look at ${path}`)
    return `${path} can't be looked at (${(error as Error).message})`
  }
}

/** This user and root, who has become root by sudo, and whoever can change what was named. */
function trustedBy(named: string | null): Trusted {
  const me = process.getuid!()
  const unknown = {uid: unknownId('uid'), gid: unknownId('gid')}
  const trusted: Trusted = {uids: new Set([ROOT, me]), gids: new Set(), unknown}
  const {SUDO_UID = ''} = process.env
  if (me === ROOT && /^\d+$/.test(SUDO_UID)) trusted.uids.add(Number(SUDO_UID))
  for (const [, stats, isEnd] of named === null ? [] : stepsTo(named)) {
    trusted.uids.add(stats.uid)
    if (mayBeWritten(stats, isEnd, BY_GROUP) && stats.gid !== unknown.gid) trusted.gids.add(stats.gid)
  }
  return trusted
}

/**
 * Every folder from the root on, what the links among them lead to, and the path itself, of which it is said. Whoever
 * can write to one of them can put something else in the place of what is below.
 */
function* stepsTo(path: string): Generator<[step: string, stats: Stats, isEnd: boolean]> {
  const ends = [path, realpathSync(path)]
  for (const step of new Set(walk(path))) yield [step, lstatSync(step), ends.includes(step)]
}

function* walk(path: string): Generator<string> {
  const above = dirname(path)
  if (above !== path) yield* walk(above)
  yield path
  if (lstatSync(path).isSymbolicLink()) yield* walk(resolve(realpathSync(above), readlinkSync(path)))
}

/**
 * A trusted group may write, but whose something is decides: a set-group-id folder gives its group to what anyone puts
 * there.
 */
function strangersPart(step: string, stats: Stats, isEnd: boolean, trusted: Trusted): string | null {
  const {uid, gid} = stats
  if (uid === trusted.unknown.uid) {
    // Whoever it is: with what leads to Node.js itself he needs no file of ours
    if (!isBelow(process.execPath, step))
      return `belongs to a user whom this user namespace does not know (${uid})`
  } else if (!trusted.uids.has(uid)) return `belongs to user ${uid}`
  if (mayBeWritten(stats, isEnd, BY_OTHERS)) return 'may be written by everyone'
  if (mayBeWritten(stats, isEnd, BY_GROUP) && !trusted.gids.has(gid) && !isOwnGroup(gid, trusted))
    return `may be written by group ${gid}`
  return null
}

/** A sticky folder, such as /tmp, may be everybody's: there each can move only what is his own. */
function mayBeWritten(stats: Stats, isEnd: boolean, by: number): boolean {
  if (stats.isSymbolicLink() || (!isEnd && (stats.mode & STICKY) !== 0)) return false
  return (stats.mode & by) !== 0
}

function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}

/**
 * In a user namespace, as containers have them, all who have no number there look like this one, whoever they are, and
 * so does a process that has none itself. @returns null where everybody has one
 */
function unknownId(kind: 'uid' | 'gid'): number | null {
  if (process.platform !== 'linux') return null
  const isWhole = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync(`/proc/self/${kind}_map`, 'utf8'))
  return isWhole ? null : Number(readFileSync(`/proc/sys/kernel/overflow${kind}`, 'utf8'))
}

/** Many systems give each user a group, and let it write: there is no one else in that. Who is in root's may be root. */
function isOwnGroup(gid: number, {uids, unknown}: Trusted): boolean {
  if (gid === ROOT) return true
  if (gid === unknown.gid) return false
  try {
    const users = linesOf('/etc/passwd').map(([name, , uid, group]) => ({
      name,
      uid: Number(uid),
      group: Number(group),
    }))
    const [, , , members = ''] = linesOf('/etc/group').find(([, , id]) => Number(id) === gid)!
    const names = [
      ...members.split(',').filter(Boolean),
      ...users.filter(({group}) => group === gid).map(({name}) => name),
    ]
    const own = users.filter(({uid}) => uids.has(uid)).map(({name}) => name)
    return names.every(name => own.includes(name))
  } catch {
    return false // no such group here, or one that is kept elsewhere
  }
}

function linesOf(file: string): string[][] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(line => line.split(':'))
}
