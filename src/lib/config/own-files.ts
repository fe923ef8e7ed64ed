/**
 * Whose is a file? What jobq runs or believes without having been told of it (a configuration that it has found, say)
 * must be this user's or root's, and so must be every folder and link on the way there: whoever can write to one of them
 * can put something else in the place of what is below. A sticky folder, such as /tmp, may be everybody's: there each
 * can move only what is his own.
 */
import {lstatSync, readFileSync, readlinkSync, realpathSync, type Stats} from 'node:fs'
import {dirname, resolve} from 'node:path'

const ROOT = 0
const [STICKY, BY_GROUP, BY_OTHERS] = [0o1000, 0o020, 0o002]

/**
 * How someone else could change what a path leads to, as a message says it: `/srv/app belongs to user 1001`.
 * @param path absolute
 * @returns null if no one can but this user and root
 */
export function strangersWay(path: string): string | null {
  if (!process.getuid) return null // this system has no such users
  try {
    const ends = [path, realpathSync(path)]
    for (const step of new Set(stepsTo(path))) {
      const wrong = strangersPart(lstatSync(step), ends.includes(step))
      if (wrong !== null) return `${step} ${wrong}`
    }
    return null
  } catch (error) {
    return `${path} can't be looked at (${(error as Error).message})`
  }
}

/** Every folder from the root on, what the links among them lead to, and the path itself. */
function* stepsTo(path: string): Generator<string> {
  const above = dirname(path)
  if (above !== path) yield* stepsTo(above)
  yield path
  if (lstatSync(path).isSymbolicLink()) yield* stepsTo(resolve(realpathSync(above), readlinkSync(path)))
}

function strangersPart(stats: Stats, isEnd: boolean): string | null {
  const {uid, gid, mode} = stats
  if (uid !== ROOT && uid !== process.getuid!()) return `belongs to user ${uid}`
  if (stats.isSymbolicLink() || (!isEnd && (mode & STICKY) !== 0)) return null
  if ((mode & BY_OTHERS) !== 0) return 'may be written by everyone'
  if ((mode & BY_GROUP) !== 0 && !isOwnGroup(gid)) return `may be written by group ${gid}`
  return null
}

/** Many systems give each user a group, and let it write: there is no one else in that. Who is in root's may be root. */
function isOwnGroup(gid: number): boolean {
  if (gid === ROOT) return true
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
    const own = users.filter(({uid}) => uid === ROOT || uid === process.getuid!()).map(({name}) => name)
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
