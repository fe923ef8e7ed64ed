/** `jobq web` as a process, and requests as browsers and programs send them. */
import {get, type IncomingMessage, request} from 'node:http'
import type {Jobq, RunOptions} from '../support/jobq.ts'
import type {Started} from '../support/started.ts'

export const TOKEN = 'a-token-that-is-long-enough'

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  text: string
}

export interface Site {
  jobq: Jobq
  url: string
  web: Started
  /** As a program that is on this machine. */
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  /** Of a page, as a document. */
  document<T = unknown>(path: string, headers?: Record<string, string>): Promise<T>
  /** As a form of one of its pages sends it. */
  post(path: string, fields: Fields, headers?: Record<string, string>): Promise<Answer>
}

type Fields = Record<string, string | number | readonly (string | number)[]>

/** @param flags besides --port 0 */
export async function startSite(
  jobq: Jobq,
  flags: readonly string[] = [],
  options: RunOptions = {},
): Promise<Site> {
  const web = jobq.start(['web', '--port', '0', ...flags], options)
  const [, url = ''] = await web.prints(/^listening on (\S+)$/m)
  const ask = (path: string, headers = {}) => answerOf(`${url}${path}`, {headers})
  return {
    ...{jobq, url, web, get: ask},
    async document<T>(path: string, headers = {}) {
      const {text} = await ask(path, {accept: 'application/json', ...headers})
      return JSON.parse(text) as T
    },
    post: (path, fields, headers = {}) => {
      const form = new URLSearchParams(
        Object.entries(fields).flatMap(([name, value]) =>
          [value].flat().map((one): [string, string] => [name, String(one)]),
        ),
      )
      const {origin} = new URL(url)
      const own = {
        origin,
        'sec-fetch-site': 'same-origin',
        'content-type': 'application/x-www-form-urlencoded',
      }
      return answerOf(`${url}${path}`, {method: 'POST', headers: {...own, ...headers}, body: String(form)})
    },
  }
}

export interface Request {
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** fetch() would set Host and Origin itself. */
export function answerOf(url: string, {method = 'GET', headers = {}, body}: Request = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, {method, headers, agent: false}, response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', part => {
        text += part
      })
      response.on('end', () => resolve({status: response.statusCode!, headers: response.headers, text}))
      response.on('error', reject)
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

/** An answer that goes on. */
export function streamOf(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, {headers, agent: false}, resolve).on('error', reject)
  })
}
