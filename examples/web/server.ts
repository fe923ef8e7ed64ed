/**
 * A small web application. POST /pictures stores an upload, enqueues what can be done later in the transaction that
 * stores the picture's row, and answers; `jobq work`, started beside it, does the rest. GET /events tells each picture's
 * state as it changes.
 *
 *   node examples/web/server.ts          then, in another terminal: cd examples/web && jobq work
 */
import {createWriteStream, mkdirSync} from 'node:fs'
import {readFile, rm} from 'node:fs/promises'
import {join, resolve} from 'node:path'
import {pipeline} from 'node:stream/promises'
import multipart from '@fastify/multipart'
import fastify, {type FastifyInstance} from 'fastify'
import {JobQueue, type Progress} from 'jobq'
import type {Functions} from './functions.ts'
import {Listeners} from './listeners.ts'
import {type Picture, Pictures, STEPS, type Step} from './pictures.ts'

const here = import.meta.dirname
const MAX_UPLOAD_BYTES = 20_000_000

export interface WebOptions {
  /** Where uploads are kept. */
  data: string
  /** The names by which browsers may know it, besides this machine's own. */
  hosts?: readonly string[]
}

const THIS_MACHINE = ['127.0.0.1', '[::1]', 'localhost']

/** The application, not listening yet. `app.close()` ends all of it. */
export async function startWeb({data, hosts = []}: WebOptions): Promise<FastifyInstance> {
  mkdirSync(data, {recursive: true})
  const queue = await JobQueue.open<Functions>({config: join(here, 'jobq.config.ts')})
  const pictures = new Pictures(queue.name)
  const listeners = new Listeners()
  const ending = new AbortController()
  const app = fastify()
  await app.register(multipart, {limits: {files: 1, fileSize: MAX_UPLOAD_BYTES}})

  // Another site's page reaches what listens here through its visitor's browser: with its own Origin, or by a name that it
  // has let lead here, which is then the Host
  const names = new Set([...THIS_MACHINE, ...hosts])
  app.addHook('onRequest', async ({headers: {host = '', origin}}, reply) => {
    const isOurs = names.has(URL.parse(`http://${host}`)?.hostname ?? '')
    const isFromHere = origin === undefined || URL.parse(origin)?.host === host
    if (!isOurs || !isFromHere)
      return reply
        .code(403)
        .send({error: `expected ${isOurs ? 'a request of this page' : 'a name of this application'}`})
  })

  app.get('/', async (_request, reply) =>
    reply.type('text/html').send(await readFile(join(here, 'page.html'))),
  )

  app.post('/pictures', async (request, reply) => {
    const upload = await request.file()
    if (!upload?.mimetype.startsWith('image/')) return reply.code(400).send({error: 'expected a picture'})
    const arrived = join(data, crypto.randomUUID())
    let picture: Picture | undefined
    try {
      await pipeline(upload.file, createWriteStream(arrived, {flush: true}))
      if (!upload.file.truncated)
        picture = pictures.add(upload.filename, id => enqueueSteps(id, upload.filename, arrived))
    } finally {
      if (!picture) await rm(arrived, {force: true}) // too large, cut short, or not stored
    }
    if (!picture) return reply.code(413).send({error: 'expected at most 20 MB'})
    void follow(picture)
    listeners.tell(picture)
    return reply.code(201).send(picture)
  })

  /** Notify waits for both others, whoever works them, and fails if one of them does. */
  function enqueueSteps(id: number, name: string, from: string): Record<Step, number> {
    const {db} = pictures
    const thumbnail = queue.enqueueIn(db, 'Thumbnail', {
      arg: {from, to: join(data, `${id}-thumbnail.jpg`), width: 160},
      tracked: true,
    })
    const crop = queue.enqueueIn(db, 'Crop', {
      arg: {from, to: join(data, `${id}-crop.jpg`), side: 320},
      priority: 20,
      tracked: true,
    })
    const notify = queue.enqueueIn(db, 'Notify', {
      arg: {message: `${name} is ready`},
      after: [crop, thumbnail],
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
    if (listeners.isFull)
      return reply.code(503).header('retry-after', '5').send({error: 'expected fewer open pages'})
    reply.hijack()
    listeners.add(reply.raw)
  })

  /** Waits for the end of each step, in whichever process that comes. */
  async function follow({id, steps}: Picture): Promise<void> {
    const waiting = STEPS.filter(step => steps[step].state === null).map(async step => {
      const onProgress = ({fraction}: Progress) => {
        const now = pictures.find(id)
        if (now?.steps[step].state === null) {
          now.steps[step].progress = fraction
          listeners.tell(now)
        }
      }
      const {outcome, message} = await queue.wait(steps[step].job, {signal: ending.signal, onProgress})
      listeners.tell(pictures.end(id, step, outcome, firstLine(message)))
    })
    for (const result of await Promise.allSettled(waiting))
      if (result.status === 'rejected' && !ending.signal.aborted) app.log.error(result.reason)
  }

  app.addHook('preClose', async () => {
    ending.abort()
    listeners.end()
  })
  app.addHook('onClose', async () => {
    pictures.close()
    await queue.close()
  })

  // What was not done when the application ended is followed again
  for (const picture of pictures.unfinished()) void follow(picture)
  return app
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!.slice(0, 300)
}

if (import.meta.main) {
  const {WEB_DATA = join(here, 'data'), WEB_HOSTS = ''} = process.env
  const app = await startWeb({data: resolve(WEB_DATA), hosts: WEB_HOSTS.split(',').filter(Boolean)})
  const address = await app.listen({host: '127.0.0.1', port: Number(process.env.PORT ?? 8080)})
  process.stdout.write(`listening on ${address}\n`)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
}
