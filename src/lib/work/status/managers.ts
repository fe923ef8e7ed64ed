/**
 * How `jobq status` finds the running managers of a database on this host: each listens on a Unix socket named after
 * the database and its process, in a folder of this user's. Whoever connects gets its status as JSON.
 */
import {chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmSync} from 'node:fs'
import {connect, createServer, type Server} from 'node:net'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {strangersWay} from '../../config/own-files.ts'
import type {ManagerStatus} from '../../jobs/manager.ts'
import {readStatus} from './manager-status.ts'

const ANSWER_MS = 2000
/** A manager of 10,000 slots that all work needs 3 MB. */
const MAX_ANSWER_BYTES = 8 << 20

/** Where this process's socket is, for a database of that name. @param name of what answers there */
export function socketPath(db: string, name = String(process.pid)): string {
  return join(ownFolder(), `${key(db)}-${name}.sock`)
}

/** Answers every connection with the status, until the server is closed. @throws the system's errors */
export async function serveStatus(path: string, status: () => Promise<ManagerStatus>): Promise<Server> {
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.setTimeout(ANSWER_MS, () => socket.destroy())
    status().then(
      facts => socket.end(JSON.stringify(facts)),
      () => socket.destroy(),
    )
  })
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      makeFolder(dirname(path))
      rmSync(path, {force: true}) // left by a process of the same id
      server.once('error', reject).listen(path, resolve)
    })
  // A manager that ends at this moment may take the empty folder with it
  await listen().catch(listen)
  server.unref()
  return server
}

/**
 * The status of every manager of this database on this host, oldest first.
 * @param onTrouble told, in words, of those that can't be shown
 */
export async function findManagers(
  db: string,
  onTrouble: (message: string) => void = () => {},
): Promise<ManagerStatus[]> {
  const ours = new RegExp(`^${key(db)}-[0-9-]+\\.sock$`)
  const sockets = folders(onTrouble).flatMap(folder =>
    readdirSync(folder)
      .filter(name => ours.test(name))
      .map(name => join(folder, name)),
  )
  const answers = await Promise.all(sockets.map(path => ask(path, onTrouble)))
  return answers.filter(answer => answer !== null).sort((a, b) => a.started - b.started || a.pid - b.pid)
}

async function ask(path: string, onTrouble: (message: string) => void): Promise<ManagerStatus | null> {
  try {
    const status = readStatus(JSON.parse(await answerOf(path)))
    if (status) return status
    throw new Error('its answer is no status')
  } catch (error) {
    const {code, message} = error as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED')
      rmSync(path, {force: true}) // its process is gone
    else if (code !== 'ENOENT') onTrouble(`what listens on ${path} is not shown (${message})`)
    return null
  }
}

/** All that it says, within so much time and in so many bytes. */
async function answerOf(path: string): Promise<string> {
  const socket = connect(path)
  const late = () => socket.destroy(new Error(`no whole answer within ${ANSWER_MS / 1000} s`))
  const timer = setTimeout(late, ANSWER_MS)
  try {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of socket) {
      chunks.push(chunk as Buffer)
      size += (chunk as Buffer).length
      if (size > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES >> 20} MB`)
    }
    return Buffer.concat(chunks).toString('utf8')
  } finally {
    clearTimeout(timer)
  }
}

/** Where this process would listen: in its service's folder, its session's, or one for this user in TMPDIR. */
function ownFolder(): string {
  const {RUNTIME_DIRECTORY: service, XDG_RUNTIME_DIR: session} = process.env
  const runtime = [service?.split(':')[0], session].find(folder => folder && existsSync(folder))
  return runtime ? join(runtime, 'jobq') : join(tmpdir(), `jobq-${process.getuid?.()}`)
}

/**
 * All of those that a manager may have chosen, by how it was started (by systemd, from a session, from cron), that are
 * there and that no one else can write to. What answers there is believed to be this user's; it is checked all the
 * same, and cut in size and time, since jobs run as this user, too.
 */
function folders(onTrouble: (message: string) => void): string[] {
  const uid = process.getuid?.()
  const own = ownFolder()
  const session = process.env.XDG_RUNTIME_DIR
  const places = new Set([
    own,
    ...(session ? [join(session, 'jobq')] : []),
    join(tmpdir(), `jobq-${uid}`),
    `/tmp/jobq-${uid}`,
    `/run/user/${uid}/jobq`,
    '/run/jobq/jobq', // of a service with RuntimeDirectory=jobq: it may be another user's
  ])
  const found = new Set<string>()
  for (const folder of places) {
    if (!existsSync(folder)) continue
    const strangers = strangersWay(folder)
    if (strangers === null) found.add(realpathSync(folder))
    else if (folder === own) onTrouble(`${folder} is not looked into: ${strangers}`)
  }
  return [...found]
}

function makeFolder(path: string): void {
  try {
    // Not its parents, which are there: where that can't be, as in /proc, Node's own mkdir -p tries for ever
    mkdirSync(path, 0o700)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const {uid, mode} = lstatSync(path)
  if (uid === process.getuid?.() && (mode & 0o77) !== 0) chmodSync(path, 0o700)
  const strangers = strangersWay(path)
  if (strangers !== null) throw new Error(strangers)
}

/**
 * A short name for a database: FNV-1a in 64 bits. Nobody gains by making two of the same name, in a folder of his own,
 * and node:crypto costs a process 4 MB.
 */
function key(db: string): string {
  const name = existsSync(db) ? realpathSync(db) : db
  let hash = 0xcbf29ce484222325n
  for (const byte of Buffer.from(name)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn
  return hash.toString(16).padStart(16, '0')
}
