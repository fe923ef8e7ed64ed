/**
 * A TCP proxy on 127.0.0.1 in front of a server, on which something goes wrong after so many bytes of one side: those pass,
 * and nothing behind them. What is cut within a packet arrives as a part of it.
 */
import {once} from 'node:events'
import {type AddressInfo, connect, createServer, type Server, type Socket} from 'node:net'

export type Side = 'client' | 'server'

export const WAYS = ['reset', 'close', 'half-close', 'stall', 'delay'] as const

export interface Fault {
  /** Whose bytes are counted, from when it was armed on, or from the connection's beginning if that is later. */
  of: Side
  after: number
  /**
   * Both ends are reset, or closed; or only the way of that side is closed, or both ways fall silent for ever; or they do so
   * for a tenth of a second, and go on.
   */
  how: (typeof WAYS)[number]
  /** So many connections meet it. */
  connections: number
}

const DELAY_MS = 100

interface Ends {
  client: Socket
  server: Socket
}

export class FaultyLine {
  readonly #server: Server
  readonly #ends = new Set<Ends>()
  #fault: Fault | null = null
  #since = new Map<Socket, number>()
  #met = 0
  /** Where packets of each side have ended, in bytes since it was armed, for one connection. */
  readonly seen: Record<Side, number[]> = {client: [], server: []}

  private constructor(host: string, port: number) {
    this.#server = createServer({allowHalfOpen: true}, client => {
      this.#join({client, server: connect({port, host, allowHalfOpen: true})})
    })
  }

  /** @param at its own port, such as one that was closed before; 0: any */
  static async to(url: string, at = 0): Promise<FaultyLine> {
    const {hostname, port} = new URL(url)
    const line = new FaultyLine(hostname, Number(port))
    line.#server.listen(at, '127.0.0.1')
    await once(line.#server, 'listening')
    return line
  }

  /** The server's address by this way. */
  through(url: string): string {
    const {port} = this.#server.address() as AddressInfo
    return Object.assign(new URL(url), {port: String(port), hostname: '127.0.0.1'}).href
  }

  /** @param fault null: only look */
  arm(fault: Fault | null): void {
    this.#fault = fault
    this.#met = 0
    this.#since = new Map()
    this.seen.client = []
    this.seen.server = []
  }

  close(): void {
    this.#server.close()
    for (const {client, server} of this.#ends) {
      client.destroy()
      server.destroy()
    }
  }

  #join(ends: Ends): void {
    this.#ends.add(ends)
    let isSilent = false
    const pass = (side: Side) => {
      const from = ends[side]
      const to = ends[side === 'client' ? 'server' : 'client']
      from.setNoDelay(true)
      from.on('data', bytes => {
        const before = this.#since.get(from) ?? 0
        this.#since.set(from, before + bytes.length)
        this.seen[side].push(before + bytes.length)
        if (isSilent || to.writableEnded) return
        const fault = this.#fault
        const isReached = fault?.of === side && before <= fault.after && before + bytes.length > fault.after
        if (!isReached || this.#met >= fault.connections) {
          to.write(bytes)
          return
        }
        this.#met++
        const passing = bytes.subarray(0, fault.after - before)
        if (passing.length > 0) to.write(passing)
        this.#break(fault.how, ends, to, bytes.subarray(passing.length), silent => {
          isSilent = silent
        })
      })
      from.on('end', () => to.end())
      from.on('error', () => to.destroy())
      from.on('close', () => {
        to.destroySoon()
        this.#ends.delete(ends)
      })
    }
    pass('client')
    pass('server')
  }

  #break(
    how: Fault['how'],
    ends: Ends,
    to: Socket,
    rest: Buffer,
    silence: (isSilent: boolean) => void,
  ): void {
    if (how === 'delay') {
      const both = [ends.client, ends.server]
      for (const end of both) end.pause()
      setTimeout(() => {
        to.write(rest)
        for (const end of both) end.resume()
      }, DELAY_MS)
      return
    }
    silence(how !== 'half-close')
    if (how === 'half-close') to.end()
    if (how === 'close') for (const end of [ends.client, ends.server]) end.end()
    if (how === 'reset') for (const end of [ends.client, ends.server]) end.resetAndDestroy()
  }
}
