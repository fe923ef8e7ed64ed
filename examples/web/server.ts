/**
 * A small web application. POST /pictures stores an upload, enqueues what can be done later in the transaction that
 * stores the picture's row, and answers; `jobq work`, started beside it, does the rest. GET /events tells each picture's
 * state as it changes.
 *
 *   node examples/web/server.ts          then, in another terminal: cd examples/web && jobq work
 */
import {createWriteStream, mkdirSync} from 'node:fs'
import {readFile} from 'node:fs/promises'
import type {ServerResponse} from 'node:http'
import {join, resolve} from 'node:path'
import {pipeline} from 'node:stream/promises'
import multipart from '@fastify/multipart'
import fastify, {type FastifyInstance} from 'fastify'
import {JobQueue} from 'jobq'
import type {Functions} from './functions.ts'
import {type Picture, Pictures, STEPS, type Step} from './pictures.ts'

const here = import.meta.dirname
const MAX_UPLOAD_BYTES = 20_000_000

export interface WebOptions {
  /** Where uploads are kept. */
  data: string
}

/** The application, not listening yet. `app.close()` ends all of it. */
export async function startWeb({data}: WebOptions): Promise<FastifyInstance> {
  mkdirSync(data, {recursive: true})
  const queue = await JobQueue.open<Functions>({config: join(here, 'jobq.config.ts')})
  const pictures = new Pictures(queue.name)
  const listeners = new Set<ServerResponse>()
  const ending = new AbortController()
  const app = fastify()
  await app.register(multipart, {limits: {files: 1, fileSize: MAX_UPLOAD_BYTES}})

  app.get('/', async (_request, reply) =>
    reply.type('text/html').send(await readFile(join(here, 'page.html'))),
  )

  app.post('/pictures', async (request, reply) => {
    const upload = await request.file()
    if (!upload?.mimetype.startsWith('image/')) return reply.code(400).send({error: 'expected a picture'})
    const arrived = join(data, crypto.randomUUID())
    await pipeline(upload.file, createWriteStream(arrived, {flush: true}))
    if (upload.file.truncated) return reply.code(413).send({error: 'expected at most 20 MB'})
    const picture = pictures.add(upload.filename, id => enqueueSteps(id, upload.filename, arrived))
    void follow(picture)
    tell(picture)
    return reply.code(201).send(picture)
  })

  /** Enqueued in the wrong order on purpose: the priority says what is worked first. */
  function enqueueSteps(id: number, name: string, from: string): Record<Step, number> {
    const {db} = pictures
    const notify = queue.enqueueIn(db, 'Notify', {arg: {message: `${name} is ready`}, tracked: true})
    const thumbnail = queue.enqueueIn(db, 'Thumbnail', {
      arg: {from, to: join(data, `${id}-thumbnail.jpg`), width: 160},
      priority: 10,
      tracked: true,
    })
    const crop = queue.enqueueIn(db, 'Crop', {
      arg: {from, to: join(data, `${id}-crop.jpg`), side: 320},
      priority: 20,
      tracked: true,
    })
    return {crop: crop.id, thumbnail: thumbnail.id, notify: notify.id}
  }

  app.get('/pictures', async () => pictures.list(50))

  app.get<{Params: {id: string; kind: string}}>('/pictures/:id/:kind', async (request, reply) => {
    const {id, kind} = request.params
    if (!pictures.find(Number(id)) || !['crop', 'thumbnail'].includes(kind)) return reply.code(404).send()
    const content = await readFile(join(data, `${Number(id)}-${kind}.jpg`)).catch(() => null)
    if (!content) return reply.code(404).send() // not made yet
    return reply.type('image/jpeg').send(content)
  })

  app.get('/events', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, {'content-type': 'text/event-stream', 'cache-control': 'no-store'})
    reply.raw.write(': welcome\n\n')
    listeners.add(reply.raw)
    reply.raw.on('close', () => listeners.delete(reply.raw))
  })

  function tell(picture: Picture): void {
    for (const listener of listeners) listener.write(`data: ${JSON.stringify(picture)}\n\n`)
  }

  /** Waits for the end of each step, in whichever process that comes. */
  async function follow({id, steps}: Picture): Promise<void> {
    const waiting = STEPS.filter(step => steps[step].state === null).map(async step => {
      const {outcome} = await queue.wait(steps[step].job, {signal: ending.signal})
      tell(pictures.end(id, step, outcome))
    })
    for (const result of await Promise.allSettled(waiting))
      if (result.status === 'rejected' && !ending.signal.aborted) app.log.error(result.reason)
  }

  app.addHook('preClose', async () => {
    ending.abort()
    for (const listener of listeners) listener.end()
  })
  app.addHook('onClose', async () => {
    pictures.close()
    await queue.close()
  })

  // What was not done when the application ended is followed again
  for (const picture of pictures.unfinished()) void follow(picture)
  return app
}

if (import.meta.main) {
  const app = await startWeb({data: resolve(process.env.WEB_DATA ?? join(here, 'data'))})
  const address = await app.listen({host: '127.0.0.1', port: Number(process.env.PORT ?? 8080)})
  process.stdout.write(`listening on ${address}\n`)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
}
