/** What the figures were measured on: they move from machine to machine, and say nothing without it. */
import {execFileSync} from 'node:child_process'
import {closeSync, fdatasyncSync, openSync, readFileSync, rmSync, statfsSync, writeSync} from 'node:fs'
import {cpus, loadavg, release, totalmem, type} from 'node:os'
import {join} from 'node:path'
import Sqlite from 'better-sqlite3'
import {ROOT} from './jobq.ts'
import {median} from './measure.ts'

const FILE_SYSTEMS: Record<number, string> = {
  61267: 'ext4',
  2435016766: 'btrfs',
  1481003842: 'xfs',
  16914836: 'tmpfs',
}

export interface Machine {
  when: string
  commit: string
  system: string
  cpu: string
  memory: string
  disk: string
  load: string
  node: string
  sqlite: string
}

export function describeMachine(folder: string): Machine {
  const {version} = JSON.parse(readFileSync(join(ROOT, 'node_modules/better-sqlite3/package.json'), 'utf8'))
  const db = new Sqlite(':memory:')
  const sqlite = db.prepare('SELECT sqlite_version()').pluck().get()
  db.close()
  return {
    when: `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    commit: commit(),
    system: `${type()} ${release()}`,
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    disk: `${FILE_SYSTEMS[statfsSync(folder).type] ?? 'another file system'}, ${syncTime(folder).toFixed(2)} ms for a write of 4 KiB with fdatasync`,
    load: `${loadavg()[0]!.toFixed(1)} when it began (what else ran on this machine disturbs all figures)`,
    node: process.version,
    sqlite: `${sqlite} (better-sqlite3 ${version})`,
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {cwd: ROOT, encoding: 'utf8'}).trim()
  } catch {
    return 'unknown'
  }
}

/** What a durable commit can't be faster than, in ms. */
function syncTime(folder: string): number {
  const path = join(folder, 'sync-probe')
  const fd = openSync(path, 'w')
  const block = Buffer.alloc(4096, 1)
  const times: number[] = []
  for (let i = 0; i < 100; i++) {
    const start = performance.now()
    writeSync(fd, block)
    fdatasyncSync(fd)
    times.push(performance.now() - start)
  }
  closeSync(fd)
  rmSync(path)
  return median(times)
}
