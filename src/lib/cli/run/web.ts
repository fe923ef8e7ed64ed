/** `jobq web` once its words are known: a server for the pages, until it is told to end. */
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import {createServer, type Server} from 'node:http'
import type {AddressInfo} from 'node:net'
import type {JobQueue} from '../../client/queue.ts'
import {StoreError, UsageError} from '../../jobs/errors.ts'
import {absolutePath} from '../../jobs/here.ts'
import {listenOn} from '../../jobs/listen.ts'
import {parseWhole} from '../../jobs/names.ts'
import {toJson} from '../../render/json.ts'
import type {WebHandler} from '../../web/handler.ts'
import type {WebOptions} from '../../web/options.ts'
import {withQueue} from '../command-queue.ts'
import {complain, say} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'
import {Stop} from '../stop.ts'

const HOST = '127.0.0.1'
const PORT = '8321'
/** Beyond the streams of the pages that are seen. */
const MAX_CONNECTIONS = 2000
/** Who has not sent its request by then is cut off; a large argument may take some time. */
const REQUEST_MS = 60_000
const HEADERS_MS = 10_000
/** What is still being answered may end, for so long. */
const END_MS = 2000
/** How often it is looked whether the file is still the one that was opened. */
const LOOK_MS = 5000

export interface WebFlags extends QueueFlags {
  host?: string | undefined
  port?: string | undefined
  'base-path'?: string | undefined
  'read-only'?: boolean | undefined
  'token-file'?: string | undefined
  'allow-host'?: string | undefined
  'user-header'?: string | undefined
  'public-metrics'?: boolean | undefined
  json?: boolean | undefined
}

export async function run(flags: WebFlags): Promise<undefined> {
  const {openWebHandler, webHandler} = await import('../../web/handler.ts')
  const {host = HOST} = flags
  const port = parseWhole(flags.port ?? PORT, '--port', 0, 65_535)
  const options = {...(await optionsOf(flags, host)), onTrouble: tell}
  using stop = new Stop()
  await withQueue(await commandSettings(flags), 'client', {}, async queue => {
    const web = options.token === undefined ? openWebHandler(queue, options) : webHandler(queue, options)
    const server = await serve(web, host, port)
    const url = urlOf(server, options.basePath ?? '')
    say(flags.json ? `${toJson({url})}\n` : `listening on ${url}\n`)
    try {
      if (!stop.signal.aborted) await untilReplaced(queue, stop.signal)
    } finally {
      server.close()
      await web.close()
      const end = setTimeout(() => server.closeAllConnections(), END_MS)
      server.closeIdleConnections()
      if (server.listening) await once(server, 'close')
      clearTimeout(end)
    }
  })
  return undefined
}

/** Until it is told to end. @throws StoreError REPLACED: who starts it anew has the file that is there now */
async function untilReplaced({store}: JobQueue, signal: AbortSignal): Promise<void> {
  const {promise, resolve, reject} = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), {once: true})
  const look = () =>
    store.tooLargeId().catch((error: unknown) => {
      if (error instanceof StoreError && error.code === 'REPLACED') reject(error)
    })
  const timer = setInterval(look, LOOK_MS)
  try {
    await promise
  } finally {
    clearInterval(timer)
  }
}

function tell(message: string): void {
  complain(`jobq: ${message}`)
}

/** @throws UsageError */
async function optionsOf(flags: WebFlags, host: string): Promise<Omit<WebOptions, 'authorize'>> {
  const {checkBasePath, checkHostName} = await import('../../web/options.ts')
  const {isLoopback} = await import('../../web/safety.ts')
  const token = await tokenOf(flags)
  if (token === undefined && !isLoopback(host))
    throw new UsageError(`--host ${host}: expected a token, since others can come there, got none`, {
      hint: 'set JOBQ_WEB_TOKEN or --token-file (openssl rand -hex 32 makes one), or leave --host out and use ssh -L',
    })
  const names = (flags['allow-host'] ?? '').split(',').map(name => name.trim())
  const userHeader = flags['user-header']
  if (userHeader !== undefined && !/^[\w-]+$/.test(userHeader))
    throw new UsageError(`--user-header: expected a header's name, got ${JSON.stringify(userHeader)}`)
  return {
    token,
    basePath: checkBasePath(flags['base-path'] ?? '', '--base-path'),
    hosts: names.filter(name => name !== '').map(name => checkHostName(name, '--allow-host')),
    readOnly: flags['read-only'] ?? false,
    publicMetrics: flags['public-metrics'] ?? false,
    userHeader,
  }
}

/** @throws UsageError */
async function tokenOf(flags: WebFlags): Promise<string | undefined> {
  const {checkToken} = await import('../../web/options.ts')
  const file = flags['token-file']
  const {JOBQ_WEB_TOKEN: token} = process.env
  if (file === undefined) return token ? checkToken(token, 'JOBQ_WEB_TOKEN') : undefined
  let text: string
  try {
    text = readFileSync(absolutePath(file), 'utf8')
  } catch (cause) {
    throw new UsageError(`--token-file: ${file} can't be read (${(cause as Error).message})`, {cause})
  }
  return checkToken(text.trim(), `--token-file ${file}`)
}

/** @throws ServerError */
async function serve(web: WebHandler, host: string, port: number): Promise<Server> {
  const server = createServer({requestTimeout: REQUEST_MS, headersTimeout: HEADERS_MS}, (request, response) =>
    web.node(request, response),
  )
  server.maxConnections = MAX_CONNECTIONS
  await listenOn(server, host, port, 'choose another --port')
  return server.ref()
}

function urlOf(server: Server, basePath: string): string {
  const {address, family, port} = server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}${basePath}`
}
