/** What the machine has that tests need: programs, a user without rights, a port that is free. */
import {existsSync, readdirSync, readFileSync} from 'node:fs'
import {createServer} from 'node:net'
import {delimiter, join} from 'node:path'

/** Debian keeps PostgreSQL's binaries, and MariaDB's server, where PATH does not lead. */
export function find(...names: string[]): string | undefined {
  const versions = existsSync('/usr/lib/postgresql')
    ? readdirSync('/usr/lib/postgresql').sort().reverse()
    : []
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    ...['/usr/sbin', '/usr/libexec', '/usr/local/sbin', '/usr/local/bin'],
    ...versions.map(version => `/usr/lib/postgresql/${version}/bin`),
  ]
  return names.flatMap(name => folders.map(folder => join(folder, name))).find(path => existsSync(path))
}

/** PostgreSQL refuses to run as root. */
export function unprivileged(): {uid: number; gid: number} {
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const line =
    users.find(user => user.startsWith('postgres:')) ?? users.find(user => user.startsWith('nobody:'))
  const [, , uid, gid] = (line ?? 'nobody:x:65534:65534').split(':').map(Number)
  return {uid: uid!, gid: gid!}
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
