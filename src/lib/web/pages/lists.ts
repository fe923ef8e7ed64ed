/** Short lists: schedules, pauses, the log of actions. */

import {ALL_FUNCS, idOf} from '../../jobs/job.ts'
import type {ActionRow} from '../../jobs/side-tables/actions.ts'
import type {ScheduleStatus} from '../../jobs/side-tables/schedules.ts'
import {scheduleDocument} from '../../render/schedules.ts'
import {html} from '../html.ts'
import {LastRows, PAGE_ROWS} from '../search.ts'
import {type Asked, pathTo, type Site, type View} from '../site.ts'
import {action, badge, type Column, count, funcLink, jobLink, pager, table, time} from './parts.ts'

/** As `jobq schedules`. */
export async function schedules(site: Site, {here}: Asked): Promise<View> {
  const all = await site.queue.schedules()
  const columns: Column<ScheduleStatus>[] = [
    {head: 'Name', cell: ({name}) => name},
    {head: 'Cron', cell: ({cron}) => html`<code>${cron}</code>`},
    {head: 'Time zone', cell: ({timeZone}) => timeZone},
    {head: 'Function', cell: ({func}) => funcLink(site, func)},
    {head: 'Next', cell: ({next}) => time(next)},
    {head: 'Last', cell: ({last}) => time(last)},
    {
      head: 'Last job',
      isNumber: true,
      cell: ({lastJob, isQueued}) =>
        lastJob && html`${jobLink(site, lastJob)} ${isQueued && badge('waiting')}`,
    },
    ...(site.settings.readOnly
      ? []
      : [
          {
            head: html`<span class="unseen">Actions</span>`,
            cell: ({name}: ScheduleStatus) =>
              action(site, here, 'Run now', {do: 'run', schedule: name}, `Run now: ${name}`),
          },
        ]),
  ]
  const body = html`<h1>Schedules</h1>
${table('Schedules', 'schedules', columns, all, 'The configuration has no schedules.')}`
  return {title: 'Schedules', body, document: all.map(scheduleDocument)}
}

/** As `jobq pause` tells them. */
export async function pauses(site: Site, {here}: Asked): Promise<View> {
  const paused = await site.queue.paused()
  const columns: Column<string>[] = [
    {head: 'Paused', cell: func => (func === ALL_FUNCS ? 'Everything' : funcLink(site, func))},
    ...(site.settings.readOnly
      ? []
      : [
          {
            head: html`<span class="unseen">Actions</span>`,
            cell: (func: string) =>
              action(
                site,
                here,
                'Resume',
                func === ALL_FUNCS ? {do: 'resume', everything: '1'} : {do: 'resume', func},
                `Resume ${func || 'everything'}`,
              ),
          },
        ]),
  ]
  const {basePath, readOnly} = site.settings
  const body = html`<h1>Pauses</h1>
<p class="note">No job of what is paused is handed out, on any host. Enqueueing goes on, and what runs goes on.</p>
${table('Pauses', 'pauses', columns, paused, 'Nothing is paused.')}
${
  !readOnly &&
  html`<div class="actions"><form method="post" action="${basePath}/actions" class="action">
<input type="hidden" name="do" value="pause"><input type="hidden" name="back" value="${here}">
<label>Function <input name="func" required autocomplete="off"></label> <button>Pause</button></form>
${!paused.includes(ALL_FUNCS) && action(site, here, 'Pause everything', {do: 'pause', everything: '1'})}</div>`
}`
  return {title: 'Pauses', body, document: {paused}}
}

/** What was done from these pages, by whom. */
export async function log(site: Site, {query}: Asked): Promise<View> {
  const places = new LastRows(query.get('after'))
  const isFirst = places.refs === undefined
  const rows = await site.queue.actions({limit: PAGE_ROWS + 1, after: places.refs})
  const shown = rows.slice(0, PAGE_ROWS)
  for (const row of shown) places.pass(row)
  const next = rows.length > PAGE_ROWS ? pathTo('/log', {after: places.text}) : null
  const columns: Column<ActionRow>[] = [
    {head: 'When', cell: ({doneAt}) => time(doneAt)},
    {head: 'Who', cell: ({who}) => who},
    {head: 'What', cell: ({what}) => what},
    {head: 'Jobs', isNumber: true, cell: ({jobs}) => count(jobs)},
  ]
  const body = html`<h1>Log of actions</h1>
${table('Actions', 'log', columns, shown, 'Nothing was done from these pages yet.')}
${pager(site, next, isFirst, '/log', null)}`
  const document = shown.map(row => ({
    ...{id: idOf(row), done_at: row.doneAt, who: row.who, what: row.what, jobs: row.jobs},
  }))
  return {title: 'Log', body, document, next}
}
