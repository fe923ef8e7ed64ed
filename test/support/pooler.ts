/** PgBouncer in front of a PostgreSQL server, as the tests need it: on 127.0.0.1, and ended with them. */
import {chownSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {find, freePort, unprivileged} from './machine.ts'
import {inFolder} from './own-server.ts'
import {answersPostgres} from './postgres.ts'
import {type NoServer, none, type TestServer} from './servers.ts'

/** @param mode what a client has a connection to the server for */
export async function pooler(
  server: string,
  mode: 'transaction' | 'session',
): Promise<TestServer | NoServer> {
  const program = find('pgbouncer')
  if (!program) return none('PgBouncer', 'PATH', 'apt-get install pgbouncer')
  const {hostname, port, username, password, pathname} = new URL(server)
  const own = await freePort()
  const login = password === '' ? '' : `password=${decodeURIComponent(password)}`
  return inFolder('jobq-pgbouncer-', folder => {
    const file = join(folder, 'pgbouncer.ini')
    writeFileSync(
      file,
      `[databases]
* = host=${hostname} port=${port || 5432} user=${decodeURIComponent(username)} ${login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 10
server_idle_timeout = 5
`,
    )
    const as = process.getuid?.() === 0 ? unprivileged() : null // it refuses to run as root
    if (as) for (const path of [folder, file]) chownSync(path, as.uid, as.gid)
    return {
      command: program,
      args: ['-q', file],
      options: {cwd: folder, ...as},
      folder,
      url: `postgres://${username}@127.0.0.1:${own}${pathname}`,
      answers: answersPostgres,
      signal: 'SIGINT',
    }
  })
}
