/**
 * A PostgreSQL primary of a test's own with a synchronous standby (remote_apply), in a temporary folder, on 127.0.0.1 at
 * ports of their own. The primary may be killed, the standby promoted, and the old primary started again: then there are
 * two that take writes, as after a fail-over that nobody has fenced.
 */
import {execFileSync, type SpawnOptions} from 'node:child_process'
import {appendFileSync, chownSync, mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import pg from 'pg'
import {find, quietPorts, unprivileged} from './machine.ts'
import {OwnServer} from './own-server.ts'
import {answersPostgres} from './postgres.ts'
import {makePostgresData} from './server-data.ts'
import {none} from './servers.ts'

const QUERY_MS = 5000
/** It waits for the server's checkpoint, and so for the disk. */
const PROMOTE_MS = 60_000

/** Why this machine can't have them, or null. */
export function postgresMissing(): string | null {
  const isThere = find('postgres') && find('initdb') && find('pg_basebackup')
  return isThere ? null : none('PostgreSQL', 'PATH', 'apt-get install postgresql').missing
}

export class StandbyPair {
  readonly primary: PostgresNode
  readonly standby: PostgresNode
  readonly #folder: string
  readonly #onExit = () => rmSync(this.#folder, {recursive: true, force: true})

  private constructor(folder: string, primary: PostgresNode, standby: PostgresNode) {
    this.#folder = folder
    this.primary = primary
    this.standby = standby
    process.once('exit', this.#onExit)
  }

  /** What is committed on the primary is seen on the standby when it resolves, and by then all is. */
  static async start(): Promise<StandbyPair> {
    const folder = mkdtempSync(join(tmpdir(), 'jobq-standby-'))
    const as = process.getuid?.() === 0 ? unprivileged() : null
    if (as) chownSync(folder, as.uid, as.gid)
    const options = {cwd: folder, ...as}
    const [first = 0, second = 0] = await quietPorts(2)
    const pair = new StandbyPair(
      folder,
      new PostgresNode(options, 'primary', first),
      new PostgresNode(options, 'standby', second),
    )
    try {
      const {primary, standby} = pair
      makePostgresData(primary.data, options)
      appendFileSync(
        join(primary.data, 'postgresql.conf'),
        `fsync = off
max_connections = 60
shared_buffers = 16MB
synchronous_commit = remote_apply
`,
      )
      await primary.start()
      execFileSync(
        find('pg_basebackup')!,
        ['-D', standby.data, '-d', primary.url, '-R', '-X', 'stream', '-c', 'fast', '--no-sync'],
        {stdio: 'pipe', ...options},
      )
      await standby.start()
      await primary.waitForStandby()
      return pair
    } catch (error) {
      await pair.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    for (const node of [this.standby, this.primary]) {
      await node.kill()
      await node.stop()
    }
    process.off('exit', this.#onExit)
    this.#onExit()
  }
}

export class PostgresNode extends OwnServer {
  readonly port: number
  readonly data: string

  constructor(options: SpawnOptions & {cwd: string}, name: string, port: number) {
    const data = join(options.cwd, name)
    super({
      command: find('postgres')!,
      args: ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', options.cwd],
      options,
      folder: data,
      url: `postgres://postgres@127.0.0.1:${port}/postgres`,
      answers: answersPostgres,
      signal: 'SIGINT',
    })
    this.port = port
    this.data = data
  }

  /** From now on a commit here waits until a standby shows it. */
  async waitForStandby(): Promise<void> {
    await this.#set('*')
    // A commit that nothing waits for would say nothing
    await this.query('CREATE TABLE IF NOT EXISTS standby_is_here (yes BOOLEAN)')
  }

  /** From now on it takes writes, and waits for no standby. */
  async promote(): Promise<void> {
    await this.query('SELECT pg_promote(true)', PROMOTE_MS)
    await this.standAlone()
  }

  /** From now on a commit here waits for nobody else. */
  async standAlone(): Promise<void> {
    await this.#set('')
  }

  /** On a connection of its own. */
  async query(sql: string, deadlineMs = QUERY_MS): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({
      connectionString: this.url,
      connectionTimeoutMillis: QUERY_MS,
      query_timeout: deadlineMs,
    })
    client.on('error', () => {}) // the query's promise tells
    try {
      await client.connect()
      return (await client.query<Record<string, unknown>>(sql)).rows
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #set(names: string): Promise<void> {
    await this.query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`)
    await this.query('SELECT pg_reload_conf()')
  }
}
