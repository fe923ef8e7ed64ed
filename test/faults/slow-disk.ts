/** A disk that takes long to flush, for the processes that slow-disk.c is preloaded into. */
import {execFileSync} from 'node:child_process'
import {chmodSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'

const SOURCE = fileURLToPath(new URL('slow-disk.c', import.meta.url))

export class SlowDisk {
  readonly #library: string
  readonly #count: string

  /** @param folder a place of its own */
  constructor(folder: string) {
    chmodSync(folder, 0o755) // a server runs as another user
    this.#library = join(folder, 'slow-disk.so')
    this.#count = join(folder, 'flushes')
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', this.#library, SOURCE], {stdio: 'pipe'})
    this.forget()
  }

  /** @param ms how much longer each flush takes, in milliseconds */
  env(ms: number): Record<string, string> {
    return {
      LD_PRELOAD: this.#library,
      SYNC_MS: String(ms),
      SYNC_COUNT: this.#count,
      UV_USE_IO_URING: '0',
    }
  }

  /** How often something was flushed. */
  get flushes(): number {
    return statSync(this.#count).size
  }

  forget(): void {
    writeFileSync(this.#count, '')
    chmodSync(this.#count, 0o666)
  }
}
