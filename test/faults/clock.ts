/** A clock that a test sets, for the processes that it is preloaded into (clock.c): theirs alone, or a server's, or a host's. */
import {execFileSync} from 'node:child_process'
import {chmodSync, closeSync, constants, openSync, writeSync} from 'node:fs'
import {join} from 'node:path'
import type {TestContext} from 'node:test'
import {fileURLToPath} from 'node:url'
import {tempFolder} from '../support/temp.ts'

const SOURCE = fileURLToPath(new URL('clock.c', import.meta.url))

export class Clock {
  readonly #library: string
  readonly #file: string

  constructor(t: Pick<TestContext, 'after'>) {
    const folder = tempFolder(t)
    chmodSync(folder, 0o755) // a server runs as another user
    this.#library = join(folder, 'clock.so')
    this.#file = join(folder, 'shift')
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', this.#library, SOURCE], {stdio: 'pipe'})
    this.set(0)
  }

  /** For a process that is to have it. */
  get env(): Record<string, string> {
    return {LD_PRELOAD: this.#library, CLOCK_SHIFT: this.#file}
  }

  /** @param hours from the true time */
  set(hours: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(hours * 3600))
    const fd = openSync(this.#file, constants.O_RDWR | constants.O_CREAT, 0o644) // never emptied: it is mapped
    writeSync(fd, bytes, 0, 8, 0)
    closeSync(fd)
  }
}
