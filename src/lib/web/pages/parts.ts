/** What pages are made of: times, counts, tables, forms. */
import {idOf, type Progress, type RowRef} from '../../jobs/job.ts'
import {percent} from '../../jobs/side-tables/progress.ts'
import {argLine, duration, fromNow} from '../../render/text.ts'
import {type Html, html, type Part} from '../html.ts'
import {pathTo, type Site} from '../site.ts'

const SHOWN_CHARACTERS = 120
/** More than that is told as "more than". */
const MOST = 10_000

/** A link below the base path. */
export function link(site: Site, path: string, words: Part): Html {
  return html`<a href="${site.settings.basePath}${path}">${words}</a>`
}

export function jobLink(site: Site, ref: RowRef): Html {
  return link(site, pathTo(`/jobs/${idOf(ref)}`), idOf(ref))
}

export function funcLink(site: Site, func: string): Html {
  return link(site, pathTo('/jobs', {func}), func)
}

/** From now; the time itself is its title, which the script turns into the reader's own zone. */
export function time(seconds: number | null | undefined): Html {
  if (seconds === null || seconds === undefined) return html`–`
  if (!(Math.abs(seconds) < 8.64e12)) return html`?`
  const iso = new Date(seconds * 1000).toISOString()
  return html`<time datetime="${iso}" title="${iso.slice(0, 19).replace('T', ' ')} UTC">${fromNow(seconds)}</time>`
}

export function took(seconds: number | null | undefined): string {
  return seconds === null || seconds === undefined ? '–' : duration(seconds)
}

export function count(number: number): string {
  return number.toLocaleString('en')
}

/** @param isMore there are more than that */
export function countUpTo(number: number, isMore = false): string {
  return number > MOST ? `more than ${count(MOST)}` : `${isMore ? 'more than ' : ''}${count(number)}`
}

/** The beginning of it. */
export function short(text: string, most = SHOWN_CHARACTERS): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`
}

export function shortArg(arg: Uint8Array | null): Html {
  if (arg === null) return html`–`
  return html`<code>${short(argLine(arg.subarray(0, 4 * SHOWN_CHARACTERS)))}</code>`
}

const TONES: Record<string, string> = {
  running: 'busy',
  ready: 'good',
  completed: 'good',
  replaced: 'good',
  working: 'busy',
  delayed: 'late',
  waiting: 'late',
  retrying: 'late',
  paused: 'late',
  failed: 'bad',
  aborted: 'bad',
  abort: 'bad',
  died: 'bad',
  gone: 'bad',
}

/** A state: by its word, and by a colour besides. */
export function badge(state: string): Html {
  return html`<span class="badge ${TONES[state] ?? 'plain'}">${state}</span>`
}

/** How far a job is, as it says: a bar, and its words. */
export function progressBar(progress: Progress): Html {
  const {fraction, text} = progress
  return html`<progress max="1" value="${fraction}" aria-label="Progress">${percent(progress)}</progress> ${percent(progress)} ${text}`
}

export interface Column<Row> {
  head: Part
  /** Numbers stand at the right. */
  isNumber?: boolean
  cell(row: Row): Part
}

/** @param name what it is a table of, for who does not see it. @param id by which it is renewed; '' for what is not */
export function table<Row>(
  name: string,
  id: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  none: string,
): Html {
  const live = id && html` id="${id}" data-live`
  if (rows.length === 0) return html`<div${live}><p class="none">${none}</p></div>`
  const classOf = ({isNumber}: Column<Row>) => isNumber && html` class="number"`
  return html`<div class="scroll" role="region" aria-label="${name}" tabindex="0"${live}>
<table><caption>${name}</caption>
<thead><tr>${columns.map(column => html`<th scope="col"${classOf(column)}>${column.head}</th>`)}</tr></thead>
<tbody>${rows.map(
    row => html`<tr>${columns.map(column => html`<td${classOf(column)}>${column.cell(row)}</td>`)}</tr>
`,
  )}</tbody>
</table></div>`
}

/** Names and values, one below the other. */
export function facts(
  rows: readonly (readonly [name: string, value: Part] | false | null | undefined)[],
): Html {
  return html`<dl>${rows.map(row => row && html`<div><dt>${row[0]}</dt><dd>${row[1]}</dd></div>`)}</dl>`
}

/** What a form sends besides what is filled in. */
export type Fields = Readonly<Record<string, string | number | readonly string[] | undefined>>

export function hidden(fields: Fields): Html {
  const pairs = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map(one => [name, String(one)] as const),
  )
  return html`${pairs.map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}`
}

/** A form of one button; nothing where nothing may be done. @param here where to come back to */
export function action(site: Site, here: string, words: string, fields: Fields, label = ''): Part {
  if (site.settings.readOnly) return null
  return html`<form method="post" action="${site.settings.basePath}/actions" class="action">
${hidden({...fields, back: here})}<button${label && html` aria-label="${label}"`}>${words}</button></form>`
}

/** A field of a form of filters. */
export function field(name: string, words: string, value: string, more: Part = null): Html {
  return html`<label>${words} <input name="${name}" value="${value}"${more} autocomplete="off"></label>`
}

export function choice(name: string, words: string, value: string, options: readonly string[]): Html {
  return html`<label>${words} <select name="${name}">${options.map(
    option =>
      html`<option value="${option}"${option === value && html` selected`}>${option || 'any'}</option>`,
  )}</select></label>`
}

/** Below a listing: on to what comes behind. */
export function pager(
  site: Site,
  next: string | null,
  isFirst: boolean,
  first: string,
  passed: number | null,
): Html {
  const {basePath} = site.settings
  return html`${
    passed !== null &&
    html`<p class="note">So far ${count(passed)} were looked at. The search goes on with the next page.</p>`
  }<nav aria-label="Further rows" class="pager">${
    !isFirst && html`<a href="${basePath}${first}" rel="first">First page</a>`
  } ${next && html`<a href="${basePath}${next}" rel="next" id="next">Next page</a>`}</nav>`
}
