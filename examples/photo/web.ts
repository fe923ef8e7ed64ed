/**
 * A small web application. PUT /photo.jpg stores an upload, enqueues what can be done later, and answers.
 * POST /ready is where the Notify worker reports; like many a server it is out of order at first.
 */
import {writeFile} from 'node:fs/promises'
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {join} from 'node:path'
import {buffer} from 'node:stream/consumers'
import type {JobQueue} from 'jobq'

export interface Web {
  url: string
  /** The bodies of all POST /ready, with the status that each was answered. */
  reports: {status: number; body: string}[]
  close(): void
}

/** @param folder where pictures are kept */
export async function startWeb(queue: JobQueue, folder: string): Promise<Web> {
  const reports: Web['reports'] = []
  const server = createServer(async (request, response) => {
    if (request.method === 'PUT') return upload(request, response)
    const status = reports.length === 0 ? 503 : 204
    reports.push({status, body: (await buffer(request)).toString()})
    response.writeHead(status).end()
  })

  async function upload(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const photo = join(folder, 'photo.jpg')
    await writeFile(photo, await buffer(request))
    const [square, small] = [join(folder, 'square.jpg'), join(folder, 'small.jpg')]
    const thumbnail = await queue.enqueue('Thumbnail', {arg: {from: photo, to: small, width: 160}})
    const crop = await queue.enqueue('Crop', {arg: {from: photo, to: square, side: 400}, priority: 20})
    // However urgent it is, and whoever works them: not before both are there
    const notify = await queue.enqueue('Notify', {
      arg: {ready: [square, small]},
      priority: 99,
      after: [crop, thumbnail],
    })
    const jobs = [thumbnail, crop, notify]
    response.writeHead(202).end(JSON.stringify(jobs.map(({id, func}) => ({id, func}))))
  }

  await new Promise<void>(listening => server.listen(0, '127.0.0.1', listening))
  const {port} = server.address() as AddressInfo
  return {url: `http://127.0.0.1:${port}`, reports, close: () => server.close()}
}
