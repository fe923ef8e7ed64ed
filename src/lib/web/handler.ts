/**
 * `webHandler`: a request in, an answer out. Each goes through the same gate: its Host, then who asks, then, if it changes
 * something, whether it comes from a page of ours.
 */
import type {IncomingMessage, ServerResponse} from 'node:http'
import {setTimeout as sleep} from 'node:timers/promises'
import type {JobQueue} from '../client/queue.ts'
import type {Functions} from '../jobs/functions.ts'
import {kindOf} from '../jobs/value.ts'
import {isBelow} from './actions/actions.ts'
import {answerOf, json, redirect, refusalOf, refused, text, wantsJson} from './answers.ts'
import {assetOf} from './assets.ts'
import {formOf} from './bodies.ts'
import {answerNode} from './node.ts'
import {type Settings, settingsOf, type WebOptions} from './options.ts'
import {loginPage} from './pages/login.ts'
import {Refusal} from './refusal.ts'
import {routeOf} from './routes.ts'
import {checkHost, checkSource, HEADERS} from './safety.ts'
import {Sessions} from './session.ts'
import {type Asked, type Site, siteOf} from './site.ts'

/** What is not answered by then is given up. */
const PATIENCE_MS = 30_000

/** Pages for the people who run a queue, to be mounted into an application. */
export interface WebHandler {
  /**
   * Answers a request: for servers that speak of Request and Response.
   * @param info.remoteAddress whence it comes: wrong tokens are counted by that
   * @param info.incoming what `authorize` gets as well
   */
  fetch(
    request: Request,
    info?: {remoteAddress?: string | undefined; incoming?: IncomingMessage | undefined},
  ): Promise<Response>
  /** Answers a request of node:http, or of Express, whose body nobody has read yet. It never throws. */
  node(request: IncomingMessage, response: ServerResponse): void
  /** Stops actions between two jobs, and ends what goes on. The queue stays open. */
  close(): Promise<void>
}

/**
 * @param queue stays the caller's, who closes it
 * @throws UsageError for an option that can't be meant
 */
export function webHandler<F = Functions>(queue: JobQueue<F>, options: WebOptions): WebHandler {
  return new Web(queue as unknown as JobQueue, settingsOf(options)) // it knows functions by what the store says
}

/** For everybody on this machine. @throws UsageError */
export function openWebHandler(queue: JobQueue, options: Omit<WebOptions, 'authorize'>): WebHandler {
  return new Web(queue, {...settingsOf({...options, authorize: () => 'local'}), isOpen: true})
}

class Web implements WebHandler {
  readonly #site: Site
  readonly #sessions: Sessions | null

  constructor(queue: JobQueue, settings: Settings) {
    this.#site = siteOf(queue, settings)
    this.#sessions = settings.token === undefined ? null : new Sessions(settings.token, settings.basePath)
  }

  // Not methods: who mounts them gives them on as they are
  readonly fetch: WebHandler['fetch'] = async (request, {remoteAddress = '', incoming} = {}) => {
    const {onTrouble} = this.#site.settings
    const asked = {known: null as Asked | null}
    const answer = this.#answer(request, {remoteAddress, incoming}, asked).catch((error: unknown) =>
      refused(this.#site, request, asked.known, refusalOf(error, onTrouble)),
    )
    const answered = new AbortController()
    const {body, status, headers} = await Promise.race([answer, this.#giveUp(request, answered.signal)])
    answered.abort()
    for (const [name, value] of Object.entries(HEADERS)) if (!headers.has(name)) headers.set(name, value)
    return new Response(request.method === 'HEAD' ? null : body, {status, headers})
  }

  readonly node: WebHandler['node'] = (request, response) => void answerNode(request, response, this.fetch)

  async close(): Promise<void> {
    this.#site.streams.close()
    await this.#site.runs.close()
  }

  async #giveUp(request: Request, signal: AbortSignal): Promise<Response> {
    await sleep(PATIENCE_MS, undefined, {ref: false, signal}).catch(() => {})
    return refused(
      this.#site,
      request,
      null,
      new Refusal(503, 'TOO_SLOW', 'the database did not answer in time'),
    )
  }

  /** @param asked who asks, as soon as that is known. @throws Refusal, JobqError */
  async #answer(
    request: Request,
    {remoteAddress: place, incoming}: {remoteAddress: string; incoming: IncomingMessage | undefined},
    asked: {known: Asked | null},
  ): Promise<Response> {
    const {settings} = this.#site
    const url = new URL(request.url)
    const host = checkHost(request.headers.get('host') ?? url.host, settings.hosts)
    const path = below(settings.basePath, url.pathname)
    const method = request.method === 'HEAD' ? 'GET' : request.method
    const open = await this.#open(method, path)
    if (open) return open
    const {headers} = request
    const by = this.#sessions?.isIn(headers, place) ?? null
    const isProgram = by === 'bearer'
    if (method === 'POST') checkSource(headers, host, settings.hosts, isProgram)
    if (path === '/login' && this.#sessions) return this.#login(request, method, place, this.#sessions)
    if (path === '/logout' && method === 'POST' && this.#sessions)
      return redirect(this.#site, '/login', {'set-cookie': this.#sessions.end()})
    const who = this.#sessions ? by && 'token' : await this.#whoAsks(request, incoming)
    const here = `${path}${url.search}`
    if (who === null) return this.#stranger(request, method, here)
    const said = settings.userHeader === undefined ? null : headers.get(settings.userHeader)
    asked.known = {
      ...{request, here, query: url.searchParams, params: [], who: said?.trim() || who, isProgram, place},
      hasCookie: by === 'cookie',
    }
    if (path === '/metrics' && method === 'GET') return this.#metrics()
    const {route, params} = routeOf(method, path)
    if (method === 'POST' && settings.readOnly)
      throw new Refusal(403, 'READ_ONLY', 'expected a request that only looks: this server is read-only')
    const answer = await route(this.#site, {...asked.known, params})
    return answer instanceof Response ? answer : answerOf(this.#site, asked.known, answer)
  }

  /** As the application says: whoever has no name is nobody. @throws Refusal */
  async #whoAsks(request: Request, incoming: IncomingMessage | undefined): Promise<string | null> {
    const {authorize, onTrouble} = this.#site.settings
    try {
      const who: unknown = await authorize!(request, incoming)
      if (typeof who === 'string') return who.trim() === '' ? null : who
      if (who) onTrouble(`authorize: expected a name or null, got ${kindOf(who)}: refused`)
      return null
    } catch (error) {
      onTrouble(`authorize threw: ${error instanceof Error ? error.message : String(error)}`)
      const hint = "what it threw is in the server's own output"
      throw new Refusal(500, 'AUTHORIZE_FAILED', "the application's authorize threw", {hint})
    }
  }

  /** What everybody may have. */
  async #open(method: string, path: string): Promise<Response | null> {
    if (method !== 'GET') return null
    const [, file] = /^\/assets\/([\w.-]+)$/.exec(path) ?? []
    if (file !== undefined) return assetOf(file)
    if (path === '/healthz') return this.#health()
    if (path === '/metrics' && this.#site.settings.publicMetrics) return this.#metrics()
    return null
  }

  /** Can the database be asked? */
  async #health(): Promise<Response> {
    try {
      await this.#site.queue.paused()
      return json({ok: true})
    } catch (error) {
      return json({ok: false, error: refusalOf(error, this.#site.settings.onTrouble).code}, 503)
    }
  }

  async #metrics(): Promise<Response> {
    return text(await this.#site.facts.metrics.get(), 200, 'text/plain; version=0.0.4; charset=utf-8')
  }

  /** A person is asked for the token; a program is told. */
  #stranger(request: Request, method: string, here: string): Response {
    if (this.#sessions && method === 'GET' && !wantsJson(request) && here.split('?')[0] !== '/live')
      return redirect(this.#site, `/login?next=${encodeURIComponent(here)}`)
    if (!this.#sessions) throw new Refusal(403, 'FORBIDDEN', 'expected someone who may come in')
    throw new Refusal(401, 'UNAUTHORIZED', 'expected the token, got none that is right', {
      hint: 'Authorization: Bearer …, or the login page',
      headers: {'www-authenticate': 'Bearer'},
    })
  }

  async #login(request: Request, method: string, place: string, sessions: Sessions): Promise<Response> {
    const {basePath} = this.#site.settings
    const page = (next: string, wrong: string, status: number) =>
      text(loginPage(basePath, isBelow(next) ? next : '/', wrong), status, 'text/html; charset=utf-8')
    if (method !== 'POST') return page(new URL(request.url).searchParams.get('next') ?? '/', '', 200)
    const form = await formOf(request)
    const next = form.get('next') ?? '/'
    if (!sessions.isToken(form.get('token') ?? '', place)) return page(next, 'That is not the token.', 401)
    const isSecure = request.headers.get('origin')?.startsWith('https:') ?? false
    return redirect(this.#site, isBelow(next) ? next : '/', {'set-cookie': sessions.begin(isSecure)})
  }
}

/** @throws Refusal */
function below(base: string, path: string): string {
  if (path === base) return '/'
  if (path.startsWith(`${base}/`)) return path.slice(base.length)
  throw new Refusal(404, 'NOT_FOUND', 'there is no such page')
}
