/**
 * The admin port, Qudo::Parallel::Manager's protocol to the letter: who connects gets one line, the scoreboard, and the
 * connection is closed. Nothing is read. A client that does not take its line is cut off after a moment.
 */
import {createServer, type Server} from 'node:net'
import {listenOn} from '../../jobs/listen.ts'

const CLIENT_MS = 2000
const MAX_CLIENTS = 64

/** @throws ServerError if it can't listen there */
export function serveScoreboard(line: () => string, host: string, port: number): Promise<Server> {
  const server = createServer({pauseOnConnect: true}, socket => {
    socket.on('error', () => {}) // the client is gone: there is nothing to tell it
    socket.setTimeout(CLIENT_MS, () => socket.destroy())
    socket.end(`${line()}\n`, () => socket.destroySoon())
    socket.resume() // what it sends is thrown away, so that its close is noticed
  })
  server.maxConnections = MAX_CLIENTS
  return listenOn(server, host, port, 'choose another --admin-port')
}
