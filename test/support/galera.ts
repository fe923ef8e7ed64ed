/**
 * A Galera cluster of a test's own: three nodes of the system's MariaDB in a temporary folder, on 127.0.0.1 at ports of
 * their own. Nodes may be killed, stopped and continued, and started again on what they have left. A dead node is noticed
 * after a second, not after Galera's five, and buffers are small.
 */
import type {SpawnOptions} from 'node:child_process'
import {chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {createConnection, type RowDataPacket} from 'mysql2/promise'
import {find, quietPorts, unprivileged} from './machine.ts'
import {OwnServer} from './own-server.ts'
import {isOracle, makeMysqlData, REDO} from './server-data.ts'
import {none} from './servers.ts'
import {until} from './until.ts'

const LIBRARIES = ['/usr/lib/galera', '/usr/lib64/galera-4', '/usr/lib64/galera'].map(
  folder => `${folder}/libgalera_smm.so`,
)
const NODES = 3
const FAST_EVS = [
  ...['evs.keepalive_period=PT0.2S', 'evs.inactive_check_period=PT0.2S', 'evs.suspect_timeout=PT1S'],
  ...['evs.inactive_timeout=PT3S', 'evs.install_timeout=PT2S', 'evs.join_retrans_period=PT0.3S'],
  'gmcast.peer_timeout=PT1S',
]
/** Of each node's log, in the message of a start that failed. */
const LOG_LINES = 25
const QUERY_MS = 3000

/** Why this machine can't have one, or null. */
export function galeraMissing(): string | null {
  const server = find('mariadbd')
  const isThere = server && !isOracle(server) && library() && find('rsync') && find('lsof')
  return isThere ? null : none('Galera', 'PATH', 'apt-get install mariadb-server galera-4 rsync lsof').missing
}

export class Galera {
  readonly nodes: readonly GaleraNode[]
  readonly #folder: string
  readonly #onExit = () => rmSync(this.#folder, {recursive: true, force: true})

  private constructor(folder: string, nodes: readonly GaleraNode[]) {
    this.#folder = folder
    this.nodes = nodes
    process.once('exit', this.#onExit)
  }

  /** All nodes have what all others have when it resolves. What does not start is tried once more, elsewhere. */
  static async start(): Promise<Galera> {
    return Galera.#start().catch(() => Galera.#start())
  }

  static async #start(): Promise<Galera> {
    const folder = mkdtempSync(join(tmpdir(), 'jobq-galera-'))
    const galera = new Galera(folder, await makeNodes(folder))
    const [first, ...others] = galera.nodes
    try {
      await first!.start()
      first!.join()
      await Promise.all(others.map(node => node.start()))
      return galera
    } catch (error) {
      await galera.stop()
      throw error
    }
  }

  /** Of a database in it, with the nodes in this order. */
  url(database: string, order: readonly number[] = [0, 1, 2]): string {
    return `mysql://root@${order.map(i => `127.0.0.1:${this.nodes[i]!.port}`)}/${database}`
  }

  /** All are killed: what they have is not wanted any more. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(node => node.kill()))
    for (const node of this.nodes) await node.stop()
    process.off('exit', this.#onExit)
    this.#onExit()
  }
}

/** Alone it answers nothing: a node that has lost the others, or is still behind them, is not up. */
export class GaleraNode extends OwnServer {
  readonly name: string
  readonly port: number
  /** Its path. */
  readonly log: string
  readonly #config: string

  constructor(options: SpawnOptions & {cwd: string}, name: string, port: number) {
    const folder = options.cwd
    const config = join(folder, `${name}.cnf`)
    super({
      command: find('mariadbd')!,
      args: [`--defaults-file=${config}`],
      options,
      folder: join(folder, name),
      url: `mysql://root@127.0.0.1:${port}/mysql`,
      answers: async () => (await this.status('wsrep_local_state_comment').catch(() => '')) === 'Synced',
      signal: 'SIGTERM',
    })
    this.name = name
    this.port = port
    this.log = join(folder, `${name}.log`)
    this.#config = config
  }

  /** As one that is up: it has all that the others have. What does not come up is told with the end of its log. */
  override async start(): Promise<void> {
    try {
      await super.start()
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#logEnd()}`, {cause: error})
    }
  }

  #logEnd(): string {
    if (!existsSync(this.log)) return `-- ${this.name}: no log`
    const lines = readFileSync(this.log, 'utf8').trimEnd().split('\n').slice(-LOG_LINES)
    return `-- ${this.name}\n${lines.join('\n')}`
  }

  /** From now on it starts as one of a cluster that is there. */
  join(): void {
    const text = readFileSync(this.#config, 'utf8')
    writeFileSync(this.#config, text.replace('wsrep_new_cluster\n', ''))
  }

  /** Whom it has its data of when it comes back: that one answers nobody meanwhile. */
  copyFrom({name}: GaleraNode): void {
    const text = readFileSync(this.#config, 'utf8').replace(/^wsrep_sst_donor=.*\n/m, '')
    writeFileSync(this.#config, text.replace('[mysqld]\n', `[mysqld]\nwsrep_sst_donor=${name}\n`))
  }

  /** SIGSTOP. */
  pause(): void {
    process.kill(this.pid, 'SIGSTOP')
  }

  /** SIGCONT. */
  resume(): void {
    process.kill(this.pid, 'SIGCONT')
  }

  /** One of SHOW STATUS. */
  async status(name: string): Promise<string> {
    return String((await this.query(`SHOW STATUS LIKE '${name}'`))[0]?.Value)
  }

  /** On a connection of its own. */
  async query(sql: string): Promise<Record<string, unknown>[]> {
    const connection = await createConnection({uri: this.url, connectTimeout: QUERY_MS})
    connection.on('error', () => {}) // the query's promise tells
    try {
      const [rows] = await connection.query<RowDataPacket[]>({sql, timeout: QUERY_MS})
      return rows
    } finally {
      connection.destroy()
    }
  }

  /** Takes nothing from the other nodes any more, until it is released. */
  async hold(): Promise<{release(): Promise<void>}> {
    const connection = await createConnection({uri: this.url})
    await connection.query('FLUSH TABLES WITH READ LOCK')
    return {release: async () => connection.destroy()}
  }

  /** Does someone wait until it has what the others have? */
  async isWaitedFor(): Promise<boolean> {
    const rows = await this.query(`SELECT 1 FROM information_schema.processlist WHERE info = 'SELECT 1'`)
    return rows.length > 0
  }

  /** Until it has what the others have. */
  async isSynced(): Promise<void> {
    await until(`${this.name} is one of the cluster again`, async () => {
      const state = await this.status('wsrep_local_state_comment').catch(() => '')
      return state === 'Synced'
    })
  }
}

/** Their data is made once: what joins has most of it already. */
async function makeNodes(folder: string): Promise<GaleraNode[]> {
  // rsync, which brings a node up to date, does so as nobody where it is run by root
  const as = process.getuid?.() === 0 ? unprivileged('mysql') : null
  if (as) chownSync(folder, as.uid, as.gid)
  const ports = await quietPorts(4 * NODES)
  const parts = Array.from({length: NODES}, (_, i) => ports.slice(4 * i, 4 * i + 4))
  const members = parts.map(([, group]) => `127.0.0.1:${group}`)
  const names = parts.map((_, i) => `n${i + 1}`)
  for (const name of names) {
    makeMysqlData(find('mariadbd')!, join(folder, name), {...as})
    const tmp = join(folder, `${name}-tmp`)
    mkdirSync(tmp)
    if (as) chownSync(tmp, as.uid, as.gid)
  }
  return parts.map(([sql = 0, group, ist, sst], i) => {
    const name = names[i]!
    const data = join(folder, name)
    const own = '127.0.0.1'
    const provider = [
      ...[
        `gmcast.listen_addr=tcp://${own}:${group}`,
        `ist.recv_addr=${own}:${ist}`,
        `ist.recv_bind=${own}:${ist}`,
      ],
      ...['pc.recovery=false', 'gcache.size=16M', ...FAST_EVS],
    ]
    writeFileSync(
      join(folder, `${name}.cnf`),
      `[mariadbd]
datadir=${data}
socket=${data}/socket
pid-file=${data}/pid
log-error=${folder}/${name}.log
port=${sql}
bind-address=${own}
skip-networking=0
${REDO.slice(2)}
tmpdir=${data}-tmp
innodb_buffer_pool_size=32M
innodb_flush_log_at_trx_commit=2
innodb_autoinc_lock_mode=2
binlog_format=ROW
max_connections=60
wsrep_on=ON
wsrep_provider=${library()}
wsrep_provider_options="${provider.join(';')}"
wsrep_cluster_name=jobq
wsrep_cluster_address=gcomm://${members}
wsrep_node_name=${name}
wsrep_node_address=${own}:${group}
wsrep_sst_method=rsync
wsrep_sst_receive_address=${own}:${sst}
${i === 0 ? 'wsrep_new_cluster\n' : ''}`,
    )
    return new GaleraNode({cwd: folder, ...as}, name, sql)
  })
}

function library(): string | undefined {
  return LIBRARIES.find(path => existsSync(path))
}
