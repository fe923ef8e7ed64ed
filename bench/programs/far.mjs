// A server a millisecond away: every piece that passes through here is held up for one, each way.
import {connect, createServer} from 'node:net'

const [host, port, socket] = process.argv.slice(2)
const HOLD_MS = 1

/** In order: all pieces wait equally long. */
function pass(from, to) {
  from.on('data', piece => setTimeout(() => to.destroyed || to.write(piece), HOLD_MS))
  from.on('close', () => setTimeout(() => to.destroy(), HOLD_MS))
  from.on('error', () => {})
}

const server = createServer({noDelay: true}, near => {
  const far = connect(socket)
  pass(near, far)
  pass(far, near)
})
server.listen(Number(port), host, () => process.send('ready'))
process.on('disconnect', () => process.exit())
