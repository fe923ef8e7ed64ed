/** Jobs that have left the queue, of functions that keep a status. As `jobq list --finished`. */
import {idOf} from '../../jobs/job.ts'
import type {StatusRow} from '../../jobs/rows/history.ts'
import {STATUSES} from '../../render/listing.ts'
import {filtersOf, fitsStatus, limitOf, statusesOf} from '../filters.ts'
import {html} from '../html.ts'
import {LastRows, pageOf} from '../search.ts'
import {type Asked, pathTo, type Site, type View} from '../site.ts'
import {badge, type Column, field, funcLink, link, pager, shortArg, table, time, took} from './parts.ts'

export async function finished(site: Site, asked: Asked): Promise<View> {
  const filters = filtersOf(asked.query, 'finished')
  const places = new LastRows(asked.query.get('after'))
  const isFirst = places.refs === undefined
  const limit = limitOf(filters)
  const {rows, last, passed} = await pageOf(statusesOf(site, filters, {after: places.refs, limit}), {
    fits: fitsStatus(filters),
    limit,
    onPassed: row => places.pass(row),
  })
  const next = last && pathTo('/finished', {...filters, after: places.text})
  const body = html`<h1>Finished jobs</h1>
<form class="filters" action="${site.settings.basePath}/finished">
${field('func', 'Function', filters.func)}
${field('uniqkey', 'Unique key', filters.uniqkey)}
${field('q', 'Argument has', filters.q, html` type="search"`)}
${field('since', 'Since', filters.since, html` placeholder="2h, 2026-12-24"`)}
<button>Show</button>
</form>
${table('Finished jobs', 'finished', columns(site), rows, STATUSES.none)}
${pager(site, next, isFirst, pathTo('/finished', {...filters}), passed)}`
  return {title: 'Finished jobs', body, document: rows.map(STATUSES.document), next}
}

function columns(site: Site): Column<StatusRow>[] {
  return [
    {
      head: 'Job',
      isNumber: true,
      cell: ({jobId, db}) =>
        jobId === null ? '–' : link(site, `/jobs/${idOf({id: jobId, db})}`, idOf({id: jobId, db})),
    },
    {head: 'Function', cell: ({func}) => funcLink(site, func)},
    {head: 'Status', cell: ({status}) => badge(status)},
    {head: 'Ended', cell: ({jobEndTime}) => time(jobEndTime)},
    {head: 'Took', isNumber: true, cell: row => took(row.jobEndTime - row.jobStartTime)},
    {head: 'Unique key', cell: ({uniqkey}) => uniqkey ?? '–'},
    {head: 'Argument', cell: ({arg}) => shortArg(arg)},
  ]
}
