/** Jobs that are in the queue, as they would be worked. As `jobq list`. */
import {idOf, JOB_STATES, type JobState, type ListedJob} from '../../jobs/job.ts'
import {percent} from '../../jobs/side-tables/progress.ts'
import {JOBS} from '../../render/listing.ts'
import {filtersOf, fitsJob, jobsOf, limitOf} from '../filters.ts'
import {type Html, html} from '../html.ts'
import {PAGE_ROWS, pageOf, spotOf, spotText} from '../search.ts'
import {type Asked, pathTo, type Site, type View} from '../site.ts'
import {
  badge,
  type Column,
  choice,
  count,
  countUpTo,
  field,
  funcLink,
  hidden,
  jobLink,
  pager,
  shortArg,
  table,
  time,
} from './parts.ts'

export async function jobs(site: Site, asked: Asked): Promise<View> {
  const filters = filtersOf(asked.query, 'jobs')
  const after = spotOf(asked.query.get('after'))
  const limit = limitOf(filters)
  const {rows, last, passed} = await pageOf(jobsOf(site, filters, {after, limit}), {
    fits: fitsJob(filters),
    limit,
  })
  const next = last && pathTo('/jobs', {...filters, after: spotText(last)})
  const total = await totalOf(site, asked)
  const body = html`<h1>Jobs</h1>
<form class="filters" action="${site.settings.basePath}/jobs">
${field('func', 'Function', filters.func)}
${choice('state', 'State', filters.state, ['', ...JOB_STATES])}
${field('uniqkey', 'Unique key', filters.uniqkey)}
${field('q', 'Argument has', filters.q, html` type="search"`)}
${field('since', 'Enqueued since', filters.since, html` placeholder="2h, 2026-12-24"`)}
<button>Show</button>
</form>
<p class="note" id="total" data-live>${total !== null && `${countUpTo(total)} in all.`}</p>
${table('Jobs', 'jobs', columns(site), rows, JOBS.none)}
${!site.settings.readOnly && rows.length > 0 && actions(site, asked)}
${pager(site, next, after === undefined, pathTo('/jobs', {...filters}), passed)}`
  return {title: 'Jobs', body, document: rows.map(JOBS.document), next}
}

/** Where the store knows it without a search; null elsewhere. */
async function totalOf(site: Site, {query}: Asked): Promise<number | null> {
  const {func, state, uniqkey, q, since} = filtersOf(query, 'jobs')
  if (uniqkey || q || since) return null
  const {stats} = await site.facts.numbers.get()
  const states = state ? [state as JobState] : JOB_STATES
  return stats.funcs
    .filter(stats => func === '' || stats.func === func)
    .reduce((sum, stats) => sum + states.reduce((of, state) => of + stats[state], 0), 0)
}

function columns(site: Site): Column<ListedJob>[] {
  return [
    ...(site.settings.readOnly
      ? []
      : [
          {
            head: html`<span class="unseen">Chosen</span>`,
            cell: (job: ListedJob) =>
              html`<input type="checkbox" form="chosen" name="job" value="${idOf(job)}" aria-label="Job ${idOf(job)}">`,
          },
        ]),
    {head: 'Job', isNumber: true, cell: job => jobLink(site, job)},
    {head: 'Function', cell: ({func}) => funcLink(site, func)},
    {head: 'State', cell: ({state, progress}) => html`${badge(state)}${progress && ` ${percent(progress)}`}`},
    {head: 'Priority', isNumber: true, cell: ({priority}) => count(priority)},
    {head: 'Due', cell: ({state, runAfter}) => (state === 'waiting' ? '–' : time(runAfter))},
    {head: 'Enqueued', cell: ({enqueueTime}) => time(enqueueTime)},
    {head: 'Retries', isNumber: true, cell: ({retryCnt}) => count(retryCnt)},
    {head: 'Unique key', cell: ({uniqkey}) => uniqkey ?? '–'},
    {head: 'Argument', cell: ({arg}) => shortArg(arg)},
  ]
}

/** On those that are chosen, or on all that match, however many pages that are. */
function actions(site: Site, {here, query}: Asked): Html {
  const filters = filtersOf(query, 'jobs')
  const action = `${site.settings.basePath}/actions`
  const fields = html`<button name="do" value="cancel">Cancel</button>
<label>Priority <input name="priority" inputmode="numeric" pattern="\\d+" size="6"></label>
<button name="do" value="priority">Set</button>`
  return html`<div class="actions">
<form method="post" action="${action}" id="chosen"><fieldset><legend>The chosen ones</legend>
${hidden({back: here})}${fields}</fieldset></form>
<form method="post" action="${action}"><fieldset><legend>All that match, not only these ${PAGE_ROWS}</legend>
${hidden({...filters, all: 'jobs', back: here})}${fields}</fieldset></form>
</div>`
}
