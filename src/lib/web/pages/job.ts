/** All that is known of a job, and what it writes. As `jobq show` and `jobq logs`. */
import {unknownJob} from '../../client/logs.ts'
import {idOf, type RowRef} from '../../jobs/job.ts'
import {parseRef} from '../../jobs/names.ts'
import type {AttemptRow, ShownJob} from '../../jobs/rows/history.ts'
import {textOf} from '../../jobs/value.ts'
import {batchText, NO_WORKER, showDocument, stateOf, waitsForText} from '../../render/show.ts'
import {argLine, argText} from '../../render/text.ts'
import {type Html, html, lines, type Part} from '../html.ts'
import type {Asked, Site, View} from '../site.ts'
import {
  action,
  badge,
  type Column,
  count,
  facts,
  funcLink,
  hidden,
  jobLink,
  progressBar,
  table,
  time,
  took,
} from './parts.ts'

/** So much of an argument, and of the end of the output, is on the page. */
const SHOWN_CHARACTERS = 50_000
/** JSON that is no deeper is shown indented. */
const MAX_DEPTH = 20

/** @throws NotFoundError */
export async function job(site: Site, asked: Asked): Promise<View> {
  const ref = parseRef(asked.params[0]!, 'job')
  const found = await site.queue.show(ref)
  if (!found) throw unknownJob(ref)
  const shown = site.masks.of(found)
  const output = await site.queue.logs(ref).catch(() => null)
  const id = idOf(shown)
  const body = html`<h1>Job ${id}</h1>
<div id="facts" data-live${shown.job?.state === 'running' && html` data-busy`}>${factsOf(site, shown)}</div>
${!site.settings.readOnly && actions(site, asked, shown)}
<h2>Argument</h2>
${argument(shown)}
<div id="result" data-live>${resultOf(shown)}</div>
${attempts(site, asked, shown)}
<h2>Output</h2>
${outputOf(site, shown, output && {text: textOf(output.output), isCut: output.isCut, attempt: output.attempt})}`
  return {title: `Job ${id}`, body, document: showDocument(shown)}
}

function factsOf(site: Site, shown: ShownJob): Html {
  const {job, run, func, uniqkey, after, parked, batch, db} = shown
  return facts([
    ['Function', funcLink(site, func)],
    ['State', html`${badge(stateOf(shown))}${shown.paused && html` ${badge('paused')}`}`],
    shown.workers === 0 && ['Workers', NO_WORKER],
    ['Unique key', uniqkey ?? '–'],
    job && ['Priority', count(job.priority)],
    job && ['Enqueued', time(job.enqueueTime)],
    job && (parked || job.state !== 'waiting') && ['Due', time(parked?.runAfter ?? job.runAfter)],
    job && ['Retries', count(job.retryCnt)],
    parked && ['Waits for', waitsForText(parked)],
    after.length > 0 && [
      'Waits for',
      after
        .slice(0, 20)
        .map(
          ({id, anyEnd}) =>
            html`${jobLink(site, {id, ...(db === undefined ? {} : {db})})}${anyEnd && ' (any end)'} `,
        ),
    ],
    batch && ['Batch', batchText(batch)],
    job?.progress && ['Progress', progressBar(job.progress)],
    run && [
      'Runs on',
      html`${run.host}${run.pid !== null && `, process ${run.pid}`}, since ${time(run.start)}`,
    ],
  ])
}

function actions(site: Site, {here}: Asked, shown: ShownJob): Part {
  const {job, attempts} = shown
  const id = idOf(shown)
  const isRetried = attempts.some(({retriedAs}) => retriedAs !== null)
  const canRetry = !job && !isRetried && (attempts.at(-1)?.exceptionId ?? null) !== null
  const path = `${site.settings.basePath}/actions`
  return html`<div class="actions">
${job && action(site, here, job.state === 'running' ? 'Stop and cancel' : 'Cancel', {do: 'cancel', job: id})}
${canRetry && action(site, here, 'Retry', {do: 'retry', job: id})}
${
  job &&
  job.state !== 'running' &&
  html`<form method="post" action="${path}" class="action">${hidden({do: 'priority', job: id, back: here})}
<label>Priority <input name="priority" value="${job.priority}" inputmode="numeric" pattern="\\d+" size="6" required></label>
<button>Set</button></form>`
}
</div>`
}

function argument({arg}: ShownJob): Html {
  if (arg === null) return html`<p class="none">None.</p>`
  return jsonOf('Argument', argText(arg) ?? argLine(arg))
}

/** What its worker has returned, where that was kept. */
function resultOf({result}: ShownJob): Part {
  return (
    result &&
    html`<h2>Result</h2>
${jsonOf('Result', result.json)}
<p class="note">Kept until ${time(result.keptUntil)}.</p>`
  )
}

function jsonOf(name: string, text: string): Html {
  const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
  return html`<pre tabindex="0" role="region" aria-label="${name}">${lines(pretty(shown))}</pre>`
}

/** Only what keeps every digit, and is not so deep that it would be blanks for the most part. */
function pretty(text: string): string {
  if (depthOf(text) > MAX_DEPTH) return text
  try {
    const value: unknown = JSON.parse(text)
    return JSON.stringify(value) === text ? JSON.stringify(value, null, 2) : text
  } catch {
    return text
  }
}

/** Brackets in texts count as well: it may be less deep. */
function depthOf(json: string): number {
  let [depth, most] = [0, 0]
  for (const [bracket] of json.matchAll(/[[\]{}]/g)) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1
    most = Math.max(most, depth)
  }
  return most
}

function attempts(site: Site, _asked: Asked, {attempts, db}: ShownJob): Html {
  const other = (id: number): RowRef => (db === undefined ? {id} : {id, db})
  const columns: Column<AttemptRow>[] = [
    {head: 'Attempt', isNumber: true, cell: ({nth}) => nth},
    {head: 'Outcome', cell: ({outcome}) => badge(outcome)},
    {head: 'Ended', cell: ({end}) => time(end)},
    {
      head: 'Took',
      isNumber: true,
      cell: ({start, end}) => took(start === null ? null : Math.max(0, end - start)),
    },
    {head: 'Host', cell: ({host, pid}) => (host === null ? '–' : html`${host}${pid !== null && `, ${pid}`}`)},
    {
      head: 'Exception',
      isNumber: true,
      cell: ({exceptionId}) => (exceptionId === null ? '–' : idOf(other(exceptionId))),
    },
    {
      head: 'Retried as',
      isNumber: true,
      cell: ({retriedAs}) => (retriedAs === null ? '–' : jobLink(site, other(retriedAs))),
    },
    {
      head: 'Message',
      cell: ({message}) => message && html`<pre class="message">${lines(message.trimEnd())}</pre>`,
    },
  ]
  return html`<h2>Attempts</h2>
${table('Attempts', 'attempts', columns, attempts, 'None has ended yet.')}`
}

function outputOf(
  site: Site,
  shown: ShownJob,
  output: {text: string; isCut: boolean; attempt: number} | null,
): Html {
  const follow = shown.job && html` data-follow="${site.settings.basePath}/jobs/${idOf(shown)}/output"`
  const text = output?.text.slice(-SHOWN_CHARACTERS) ?? ''
  return html`<p class="note" id="output-note">${
    output === null
      ? shown.job?.state === 'running'
        ? 'What it writes is shown here as it comes, with a script; and kept at its end, if it is.'
        : 'Nothing is kept.'
      : `Of attempt ${output.attempt}${output.isCut || text.length < output.text.length ? ', the end of it' : ''}.`
  }</p>
<pre id="output" class="output" tabindex="0" role="log" aria-label="Output"${follow}>${lines(text)}</pre>`
}
