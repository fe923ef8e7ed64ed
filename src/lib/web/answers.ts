/** Answers: a page in HTML or as its document, a way on, a refusal in the form that was asked for. */
import {JobqError, StoreError} from '../jobs/errors.ts'
import {withoutPasswords} from '../jobs/passwords.ts'
import {toJson} from '../render/json.ts'
import {html} from './html.ts'
import {document} from './pages/layout.ts'
import {messageOf, Refusal} from './refusal.ts'
import type {Asked, Site, View} from './site.ts'

export async function answerOf(site: Site, asked: Asked, view: View): Promise<Response> {
  const {status = 200, next} = view
  const headers: Record<string, string> = {vary: 'accept'}
  if (next) headers.link = `<${site.settings.basePath}${next}>; rel="next"`
  if (wantsJson(asked.request)) return json(view.document, status, headers)
  return page(document(site, asked, view), status, headers)
}

export function json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(`${toJson(value)}\n`, {
    status,
    headers: {...headers, 'content-type': 'application/json; charset=utf-8'},
  })
}

function page(text: string, status: number, headers: Readonly<Record<string, string>>): Response {
  return new Response(text, {status, headers: {...headers, 'content-type': 'text/html; charset=utf-8'}})
}

const PLAIN = 'text/plain; charset=utf-8'

export function text(
  text: string,
  status: number,
  type: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(text, {status, headers: {...headers, 'content-type': type}})
}

/** After a form: the browser asks for that page, and going back does not send the form again. */
export function redirect(site: Site, path: string, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(null, {
    status: 303,
    headers: {...headers, location: `${site.settings.basePath}${path}`},
  })
}

/** A browser says that it takes anything: JSON is for who asks for that, or for no HTML. */
export function wantsJson({headers}: Request): boolean {
  const accept = headers.get('accept') ?? ''
  return /\bapplication\/json\b/.test(accept) && !/\btext\/html\b/.test(accept)
}

const STATUSES: Record<string, number> = {
  NOT_FOUND: 404,
  USAGE: 400,
  BAD_ARGUMENT: 400,
  BAD_CONFIG: 500,
  CLOSED: 503,
}

/** Whatever went wrong, in one sentence; of a defect only that it is one. */
export function refusalOf(error: unknown, onTrouble: (message: string) => void): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof JobqError) {
    const {code, message, hint} = error
    const status = error instanceof StoreError ? 503 : (STATUSES[code] ?? 409)
    if (status >= 500) onTrouble(message)
    return new Refusal(status, code, withoutPasswords(message), {hint: withoutPasswords(hint)})
  }
  onTrouble(`unexpected: ${error instanceof Error ? error.message : String(error)}`)
  return new Refusal(500, 'INTERNAL', 'this is a defect in jobq', {
    hint: "what it was is in the server's own output",
  })
}

/** @param asked null: nobody knows yet who asks, and nothing is shown of the site */
export function refused(site: Site, request: Request, asked: Asked | null, refusal: Refusal): Response {
  const {status, code, message, hint, headers} = refusal
  if (wantsJson(request) || request.headers.get('content-type')?.startsWith('application/json'))
    return json({error: {code, message, hint}}, status, headers)
  if (asked === null) return text(`${messageOf(refusal)}\n`, status, PLAIN, headers)
  const body = html`<h1>${TITLES[status] ?? 'That did not work'}</h1>
<p role="alert">${message}</p>
${hint && html`<p>${hint}</p>`}`
  return page(
    document(site, asked, {title: TITLES[status] ?? 'Refused', body, document: null}),
    status,
    headers,
  )
}

const TITLES: Record<number, string> = {
  403: 'Refused',
  404: 'Not found',
  429: 'Too many',
  500: 'That went wrong',
  503: 'Out of reach',
}
