/** A way to a server that breaks at the worst moment: what was sent arrives, but the answer does not. */
import {once} from 'node:events'
import {type AddressInfo, createServer, connect as dial, type Server, type Socket} from 'node:net'

export class CuttingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Break when a packet with this text has been answered. */
  cutAfter: string | null = null
  cuts = 0
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
    client.on('data', data => {
      this.sent++
      if (this.cutAfter !== null && data.includes(this.cutAfter)) {
        isCutting = true
        this.cutAfter = null
      }
      server.write(data)
    })
    server.on('data', data => {
      if (!isCutting) return client.write(data)
      this.cuts++
      client.destroy() // the server has done it, and no one learns of it
      return server.destroy()
    })
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }
}
