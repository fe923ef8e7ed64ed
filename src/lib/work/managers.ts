/**
 * How `jobq status` finds the running managers of a database on this host: each listens on a Unix socket named after
 * the database and its process, in a folder of this user's. Whoever connects gets its status as JSON.
 */
import {chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmSync} from 'node:fs'
import {connect, createServer, type Server} from 'node:net'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import type {ManagerStatus} from '../manager.ts'

const ANSWER_MS = 2000

/** Where this process's socket is, for a database of that name. @param name of what answers there */
export function socketPath(db: string, name = String(process.pid)): string {
  return join(folder(), `${key(db)}-${name}.sock`)
}

/** Answers every connection with the status, until the server is closed. @throws the system's errors */
export async function serveStatus(path: string, status: () => Promise<ManagerStatus>): Promise<Server> {
  rmSync(path, {force: true}) // left by a process of the same id
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
      server.once('error', reject).listen(path, resolve)
    })
  // A manager that ends at this moment may take the empty folder with it
  await listen().catch(listen)
  server.unref()
  return server
}

/** The status of every manager of this database on this host, oldest first. */
export async function findManagers(db: string): Promise<ManagerStatus[]> {
  if (!existsSync(folder())) return []
  const sockets = readdirSync(folder()).filter(name => name.startsWith(`${key(db)}-`))
  const answers = await Promise.all(sockets.map(name => ask(join(folder(), name))))
  return answers.filter(answer => answer !== null).sort((a, b) => a.started - b.started || a.pid - b.pid)
}

async function ask(path: string): Promise<ManagerStatus | null> {
  const socket = connect(path)
  socket.setTimeout(ANSWER_MS, () => socket.destroy())
  try {
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') rmSync(path, {force: true}) // its process is gone
    return null
  }
}

function folder(): string {
  const runtime = process.env.XDG_RUNTIME_DIR
  return runtime ? join(runtime, 'jobq') : join(tmpdir(), `jobq-${process.getuid?.()}`)
}

function makeFolder(path: string): void {
  try {
    // Not its parents, which are there: where that can't be, as in /proc, Node's own mkdir -p tries for ever
    mkdirSync(path, 0o700)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const {uid, mode} = lstatSync(path)
  if (uid !== process.getuid?.()) throw new Error(`${path} belongs to someone else`)
  if ((mode & 0o77) !== 0) chmodSync(path, 0o700)
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
