/**
 * A TCP proxy on 127.0.0.1 in front of a server, that can be cut (connections break, new ones are refused), be slow,
 * or stall (connections stay open, and nothing passes any more).
 */
import {once} from 'node:events'
import {type AddressInfo, connect, createServer, type Server, type Socket} from 'node:net'

export class CutLine {
  readonly #host: string
  readonly #port: number
  readonly #sockets = new Set<Socket>()
  #server: Server | null = null
  port = 0
  /** A connection stalls behind so many bytes of the server's, for good, in both directions. */
  stallsAfter = Number.POSITIVE_INFINITY
  /** Bytes in a millisecond that pass to the server. */
  speed = Number.POSITIVE_INFINITY

  constructor(host: string, port: number) {
    this.#host = host
    this.#port = port
  }

  /** Listens, each time on the same port. */
  async mend(): Promise<void> {
    this.#server = createServer(near => this.#join(near, connect(this.#port, this.#host)))
    this.#server.listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.port = (this.#server.address() as AddressInfo).port
  }

  async cut(): Promise<void> {
    const closed = this.#server && once(this.#server, 'close')
    this.#server?.close()
    this.#server = null
    for (const socket of this.#sockets) socket.resetAndDestroy()
    await closed
  }

  #join(near: Socket, far: Socket): void {
    let answered = 0
    let isStalled = false
    near.on('data', asked => {
      isStalled ||= answered >= this.stallsAfter
      if (!isStalled) far.write(asked)
      if (!Number.isFinite(this.speed)) return
      near.pause()
      setTimeout(() => near.resume(), asked.length / this.speed)
    })
    far.on('data', answer => {
      if (isStalled) return
      const passing = answer.subarray(0, Math.max(0, this.stallsAfter - answered))
      answered += passing.length
      isStalled = answered >= this.stallsAfter
      near.write(passing)
    })
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
  }
}
