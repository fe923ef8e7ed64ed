/** A request of node:http as a Request, and a Response as its answer. */
import {once} from 'node:events'
import type {IncomingMessage, ServerResponse} from 'node:http'
import {Readable} from 'node:stream'

type Answer = (
  request: Request,
  info: {remoteAddress?: string | undefined; incoming: IncomingMessage},
) => Promise<Response>

export async function answerNode(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answer: Answer,
): Promise<void> {
  outgoing.on('error', () => {}) // who asked has gone
  const request = requestOf(incoming)
  if (request === null) {
    outgoing.writeHead(400, {'content-type': 'text/plain', connection: 'close'}).end('expected a request\n')
    return
  }
  const response = await answer(request, {remoteAddress: incoming.socket.remoteAddress, incoming})
  if (!incoming.complete) outgoing.setHeader('connection', 'close') // the rest of it is not read
  outgoing.writeHead(response.status, headersOf(response))
  await send(response, outgoing)
}

/** Null: its Host, its method or its path are none. */
function requestOf(incoming: IncomingMessage): Request | null {
  const {method = 'GET', headers} = incoming
  const {originalUrl} = incoming as {originalUrl?: string} // Express cuts off from the other where it mounts this
  const url = originalUrl ?? incoming.url ?? '/'
  try {
    if (!url.startsWith('/') || !headers.host) return null
    const hasBody = method !== 'GET' && method !== 'HEAD'
    return new Request(`http://${headers.host}${url}`, {
      method,
      headers: Object.entries(headers).flatMap(([name, value]) =>
        [value ?? []].flat().map((one): [string, string] => [name, one]),
      ),
      ...(hasBody ? {body: Readable.toWeb(incoming) as ReadableStream<Uint8Array>, duplex: 'half'} : {}),
    } as RequestInit)
  } catch {
    return null
  }
}

function headersOf({headers}: Response): Record<string, string | string[]> {
  const cookies = headers.getSetCookie()
  const all = Object.fromEntries([...headers].filter(([name]) => name !== 'set-cookie'))
  return cookies.length > 0 ? {...all, 'set-cookie': cookies} : all
}

/** At the reader's pace; one who goes ends it. */
async function send({body}: Response, outgoing: ServerResponse): Promise<void> {
  if (body === null) {
    outgoing.end()
    return
  }
  const reader = body.getReader()
  outgoing.on('close', () => void reader.cancel().catch(() => {}))
  try {
    for (;;) {
      const {done, value} = await reader.read()
      if (done || outgoing.destroyed) break
      if (!outgoing.write(value)) await Promise.race([once(outgoing, 'drain'), once(outgoing, 'close')])
    }
  } catch {
    outgoing.destroy()
    return
  }
  outgoing.end()
}
