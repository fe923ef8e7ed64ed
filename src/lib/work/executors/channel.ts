/** The line between the dispatcher and one of a pool's children: a socket pair, a message a line, as JSON. */
import type {Socket} from 'node:net'

/** The child's end. */
export const CHANNEL_FD = 3
/** In characters: what is longer is no message. It holds a `replace` of a dozen jobs with the largest arguments. */
const MAX_MESSAGE = 256 << 20

export interface ChannelEars {
  /** Any JSON: nothing else is known of it. */
  onMessage: (message: unknown) => void
  /** @param line the beginning of one that is no JSON, or of one that has no end */
  onNonsense: (line: string) => void
  onClose: () => void
}

/**
 * Not Node's own channel of fork(): what a job writes to the descriptor would be parsed by Node itself, whose error or
 * whose assertion is then an exception of the dispatcher, with all other jobs. Here it is a line that is no message.
 */
export class Channel {
  readonly #socket: Socket
  readonly #ears: ChannelEars
  #partial = ''
  /** Is there something that may not be heard yet? */
  isWaiting = false

  constructor(socket: Socket, ears: ChannelEars) {
    this.#socket = socket
    this.#ears = ears
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#read(text))
    socket.on('error', () => {}) // its other end is gone, which is told as a close
    socket.on('close', ears.onClose)
  }

  /** @param onSent called when the system has it; never, if the other end is gone */
  send(message: unknown, onSent?: () => void): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(message)}\n`, onSent)
  }

  /** Does what is sent leave at once? If not, it waits in here. */
  get hasRoom(): boolean {
    return !this.#socket.writableNeedDrain
  }

  /** Calls back once, when nothing waits in here any more. */
  onRoom(call: () => void): void {
    this.#socket.once('drain', call)
  }

  /** What comes is left where it is until then; what has been read already is heard. */
  waitFor(room: Promise<void>): void {
    this.#socket.pause()
    this.isWaiting = true
    void room.then(() => {
      this.isWaiting = false
      this.#socket.resume()
    })
  }

  #read(text: string): void {
    let from = 0
    for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
      this.#heard(this.#partial + text.slice(from, to))
      this.#partial = ''
      from = to + 1
    }
    if (from < text.length) this.#partial += text.slice(from)
    if (this.#partial.length <= MAX_MESSAGE) return
    this.#ears.onNonsense(this.#partial.slice(0, 100))
    this.#partial = ''
  }

  #heard(line: string): void {
    let message: unknown
    try {
      message = JSON.parse(line)
    } catch {
      this.#ears.onNonsense(line)
      return
    }
    this.#ears.onMessage(message)
  }
}
