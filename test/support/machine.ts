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

/** PostgreSQL refuses to run as root. @param name who is wanted, if there is such a user */
export function unprivileged(name = 'postgres'): {uid: number; gid: number} {
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const line =
    users.find(user => user.startsWith(`${name}:`)) ?? users.find(user => user.startsWith('nobody:'))
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

/**
 * Ports that no one listens on, below those that the system gives to outgoing connections: they are still free when what
 * listens there is killed and comes back.
 */
export async function quietPorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    if (!ports.includes(port) && (await isFree(port))) ports.push(port)
  }
  return ports
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const probe = createServer().once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
