/**
 * What processes did to the files of a folder, in its order: recorder.c, compiled here and preloaded into them, writes it
 * down.
 */
import {execFileSync} from 'node:child_process'
import {existsSync, mkdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'

export type Change =
  | {kind: 'opened' | 'folder made'; inode: bigint; name: string}
  | {kind: 'written'; inode: bigint; offset: number; data: Buffer}
  | {kind: 'truncated'; inode: bigint; length: number}
  | {kind: 'syncing' | 'synced'; inode: bigint; thread: number}
  | {kind: 'unlinked'; inode: bigint; name: string}
  | {kind: 'renamed'; inode: bigint; name: string; to: string}

/** What a process wrote to its stdout (1) or stderr (2); `who` as its RECORD_SAYS names it. */
export interface Said {
  kind: 'said'
  who: string
  fd: number
  text: string
}

const SOURCE = fileURLToPath(new URL('recorder.c', import.meta.url))
/** recorder.c's struct header. */
const HEADER = 32

export class Recording {
  /** The folder whose files are recorded: empty at first. */
  readonly root: string
  readonly #folder: string

  /** @param folder a place of its own */
  constructor(folder: string) {
    this.#folder = folder
    this.root = join(folder, 'root')
    mkdirSync(this.root)
    const library = join(folder, 'recorder.so')
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, SOURCE, '-ldl'], {stdio: 'pipe'})
  }

  /** For a process to be recorded. @param who under which name what it says is recorded; default: it is not */
  env(who?: string): Record<string, string> {
    return {
      LD_PRELOAD: join(this.#folder, 'recorder.so'),
      RECORD_ROOT: this.root,
      RECORD_LOG: this.#log,
      UV_USE_IO_URING: '0',
      ...(who === undefined ? {} : {RECORD_SAYS: who}),
    }
  }

  get #log(): string {
    return join(this.#folder, 'log')
  }

  /** Was it said by now? */
  says(pattern: RegExp): boolean {
    return this.read().some(event => event.kind === 'said' && pattern.test(event.text))
  }

  /** A record that is being written is not read yet. @throws where something was done that recorder.c can't tell */
  read(): (Change | Said)[] {
    const log = existsSync(this.#log) ? readFileSync(this.#log) : Buffer.alloc(0)
    const events: (Change | Said)[] = []
    for (let at = 0; at + HEADER <= log.length; ) {
      const bytes = log.readUInt32LE(at)
      if (at + bytes > log.length) break
      events.push(eventOf(log.subarray(at, at + bytes)))
      at += bytes
    }
    return events
  }
}

function eventOf(record: Buffer): Change | Said {
  const thread = record.readUInt32LE(4)
  const inode = record.readBigUInt64LE(8)
  const offset = Number(record.readBigUInt64LE(16))
  const nameEnd = HEADER + record.readUInt32LE(24)
  const name = record.toString('utf8', HEADER, nameEnd)
  const data = record.subarray(nameEnd)
  const kind = String.fromCharCode(record.readUInt32LE(28))
  switch (kind) {
    case 'o':
      return {kind: 'opened', inode, name}
    case 'm':
      return {kind: 'folder made', inode, name}
    case 'w':
      return {kind: 'written', inode, offset, data}
    case 't':
      return {kind: 'truncated', inode, length: offset}
    case 's':
      return {kind: 'syncing', inode, thread}
    case 'S':
      return {kind: 'synced', inode, thread}
    case 'u':
      return {kind: 'unlinked', inode, name}
    case 'r':
      return {kind: 'renamed', inode, name, to: data.toString()}
    case 'a':
      return {kind: 'said', who: name, fd: offset, text: data.toString()}
    default:
      throw new Error(`something was done that the recorder can't tell: ${name}`)
  }
}
