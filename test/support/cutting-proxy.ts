/** A way to a server that breaks at the worst moment: what was sent arrives, but the answer does not. */
import {once} from 'node:events'
import {type AddressInfo, createServer, connect as dial, type Server, type Socket} from 'node:net'

export class CuttingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Break when a packet with this text has been answered. */
  cutAfter: string | null = null
  /** Break when the last of the statements with this text has been done, after the answers to all others. For MySQL. */
  cutBeforeLast: string | null = null
  /** What answers a packet with this text, and all that follows on that connection, never arrives. */
  silentAfter: string | null = null
  cuts = 0
  /** From the first cut on no one connects any more. */
  closesAtCut = false
  /** In the next packet that has it, this text becomes that one of the same length. */
  change: readonly [from: string, to: string] | null = null
  /** How many packets the clients have sent, about. */
  sent = 0

  private constructor(server: Server) {
    this.#server = server
  }

  static async to(host: string, port: number): Promise<CuttingProxy> {
    const server = createServer()
    const proxy = new CuttingProxy(server)
    server.on('connection', client => proxy.#join(client, dial(port, host)))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(client: Socket, server: Socket): void {
    let isCutting = false
    let isLast = false // to be cut before the last answer
    let isSilent = false
    client.on('data', data => {
      this.sent++
      if (this.change && data.includes(this.change[0])) {
        const [from, to] = this.change
        data.write(to, data.lastIndexOf(from), 'latin1')
        this.change = null
      }
      if (this.cutAfter !== null && data.includes(this.cutAfter)) {
        isCutting = true
        this.cutAfter = null
      }
      if (this.cutBeforeLast !== null && data.includes(this.cutBeforeLast)) {
        isLast = true
        this.cutBeforeLast = null
      }
      if (this.silentAfter !== null && data.includes(this.silentAfter)) {
        isSilent = true
        this.silentAfter = null
      }
      if (isCutting)
        server.end(data) // the server does it all, and then closes
      else server.write(data)
    })
    server.on('data', data => {
      if (isCutting || isSilent) return
      const last = isLast ? lastOk(data) : -1
      if (last < 0) return client.write(data)
      this.cuts++
      client.end(data.subarray(0, last))
      return server.destroy()
    })
    server.on('close', () => {
      if (!isCutting) return
      this.cuts++ // the client hears of it below: the server has done it, and no one learns of it
      if (this.closesAtCut) this.close()
    })
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }
}

/** Where the OK begins with which the answers to a text end; -1: more of them come. */
function lastOk(data: Buffer): number {
  for (let at = 0; at + 4 < data.length; ) {
    const end = at + 4 + data.readUIntLE(at, 3)
    const hasMore = data.length < at + 9 || (data.readUInt16LE(at + 7) & 8) !== 0
    if (end === data.length && data[at + 4] === 0 && end === at + 11 && !hasMore) return at
    at = end
  }
  return -1
}
