/** Failures: in groups that are alike, and one by one. The latter as `jobq list --failed`. */

import {idOf} from '../../jobs/job.ts'
import type {ExceptionRow} from '../../jobs/rows/history.ts'
import {EXCEPTIONS} from '../../render/listing.ts'
import {exceptionsOf, filtersOf, fitsException, limitOf} from '../filters.ts'
import {type Group, LOOKED_AT} from '../groups.ts'
import {type Html, html, type Part} from '../html.ts'
import {LastRows, PAGE_ROWS, pageOf} from '../search.ts'
import {type Asked, pathTo, type Site, type View} from '../site.ts'
import {
  action,
  badge,
  type Column,
  count,
  countUpTo,
  field,
  funcLink,
  hidden,
  link,
  pager,
  short,
  shortArg,
  table,
  time,
} from './parts.ts'

export async function failures(site: Site, asked: Asked): Promise<View> {
  const {groups, hasMore} = await site.facts.groups.get()
  const body = html`<h1>Failures</h1>
<p class="note">Jobs that were given up and not retried yet, by their function and the first line of why.
${hasMore && `The newest ${count(LOOKED_AT)} were looked at: there are more.`} ${link(site, '/exceptions', 'One by one')}</p>
${table('Failures that are alike', 'groups', groupColumns(site, asked, hasMore), groups, 'No job has failed.')}`
  return {title: 'Failures', body, document: groups.map(groupDocument)}
}

function groupDocument({example, ...group}: Group) {
  return {...group, exception_id: example.exception, job_id: example.job}
}

function groupColumns(site: Site, {here}: Asked, hasMore: boolean): Column<Group>[] {
  const query = ({id, func}: Group) => ({func, group: id})
  return [
    {head: 'Function', cell: ({func}) => funcLink(site, func)},
    {
      head: 'Message',
      cell: group => link(site, pathTo('/exceptions', query(group)), group.message || '(none)'),
    },
    {head: 'Jobs', isNumber: true, cell: group => countUpTo(group.count - Number(hasMore), hasMore)},
    {head: 'First', cell: ({first}) => time(first)},
    {head: 'Last', cell: ({last}) => time(last)},
    {
      head: 'Last job',
      isNumber: true,
      cell: ({example: {job}}) => (job === null ? '–' : link(site, `/jobs/${job}`, job)),
    },
    ...(site.settings.readOnly
      ? []
      : [
          {
            head: html`<span class="unseen">Actions</span>`,
            cell: (group: Group) =>
              action(
                site,
                here,
                'Retry all',
                {do: 'retry', all: 'exceptions', ...query(group)},
                `Retry all of ${group.func}: ${group.message}`,
              ),
          },
        ]),
  ]
}

export async function exceptions(site: Site, asked: Asked): Promise<View> {
  const filters = filtersOf(asked.query, 'exceptions')
  const places = new LastRows(asked.query.get('after'))
  const isFirst = places.refs === undefined
  const limit = limitOf(filters)
  const {rows, last, passed} = await pageOf(exceptionsOf(site, filters, {after: places.refs, limit}), {
    fits: fitsException(filters),
    limit,
    onPassed: row => places.pass(row),
  })
  const next = last && pathTo('/exceptions', {...filters, after: places.text})
  const {func, uniqkey, q, since, group, all} = filters
  const body = html`<h1>Failed attempts</h1>
<form class="filters" action="${site.settings.basePath}/exceptions">
${field('func', 'Function', func)}
${field('q', 'Message or argument has', q, html` type="search"`)}
${field('uniqkey', 'Unique key', uniqkey)}
${field('since', 'Since', since, html` placeholder="2h, 2026-12-24"`)}
${group && hidden({group})}
<label class="check"><input type="checkbox" name="all" value="1"${all && html` checked`}> Retried ones, too</label>
<button>Show</button>
</form>
${group && html`<p class="note">Only those that are alike. ${link(site, pathTo('/exceptions', {...filters, group: ''}), 'All')}</p>`}
${table('Failed attempts', 'exceptions', columns(site), rows, EXCEPTIONS.none)}
${!site.settings.readOnly && rows.length > 0 && actions(site, asked)}
${pager(site, next, isFirst, pathTo('/exceptions', {...filters}), passed)}`
  return {title: 'Failed attempts', body, document: rows.map(EXCEPTIONS.document), next}
}

function columns(site: Site): Column<ExceptionRow>[] {
  return [
    ...(site.settings.readOnly
      ? []
      : [
          {
            head: html`<span class="unseen">Chosen</span>`,
            cell: (row: ExceptionRow): Part =>
              !row.retried &&
              html`<input type="checkbox" form="chosen" name="exception" value="${idOf(row)}" aria-label="Exception ${idOf(row)}">`,
          },
        ]),
    {
      head: 'Job',
      isNumber: true,
      cell: ({jobId, db}) => {
        if (jobId === null) return '–'
        const id = idOf({id: jobId, db})
        return link(site, `/jobs/${id}`, id)
      },
    },
    {head: 'Exception', isNumber: true, cell: row => idOf(row)},
    {head: 'Function', cell: ({func}) => funcLink(site, func)},
    {head: 'Failed', cell: ({exceptionTime}) => time(exceptionTime)},
    {head: 'State', cell: ({state}) => badge(state)},
    {head: 'Message', cell: ({message}) => short(message.trim())},
    {head: 'Unique key', cell: ({uniqkey}) => uniqkey ?? '–'},
    {head: 'Argument', cell: ({arg}) => shortArg(arg)},
  ]
}

function actions(site: Site, {here, query}: Asked): Html {
  const path = `${site.settings.basePath}/actions`
  const button = html`<button name="do" value="retry">Retry</button>`
  const {state: _, all: __, ...filters} = filtersOf(query, 'exceptions')
  return html`<div class="actions">
<form method="post" action="${path}" id="chosen"><fieldset><legend>The chosen ones</legend>
${hidden({back: here})}${button}</fieldset></form>
<form method="post" action="${path}"><fieldset><legend>All that match, not only these ${count(PAGE_ROWS)}</legend>
${hidden({...filters, all: 'exceptions', back: here})}${button}</fieldset></form>
</div>`
}
