/** Every `jobq work` of this database, on any host. As `jobq status`. */
import {countSlots, type ManagerStatus, type Slot} from '../../jobs/manager.ts'
import {memoryText} from '../../render/cells.ts'
import {duration} from '../../render/text.ts'
import {type Html, html} from '../html.ts'
import type {Asked, Site, View} from '../site.ts'
import {badge, type Column, count, facts, funcLink, link, progressBar, table, time, took} from './parts.ts'

export async function workers(site: Site, _asked: Asked): Promise<View> {
  const managers = await site.queue.managers()
  const body = html`<h1>Workers</h1>
<div id="workers" data-live${managers.some(isTold) && html` data-busy`}>${
    managers.length === 0
      ? html`<p class="none">No \`jobq work\` is running for this database. Perl's workers are not told here.</p>`
      : managers.map(manager => section(site, manager))
  }</div>`
  return {title: 'Workers', body, document: {managers}}
}

function section(site: Site, manager: ManagerStatus): Html {
  const {pid, host, started, seen, age, gone, jobs, failed, memory, slots, workers, paused} = manager
  const shown = countSlots(slots)
  const more = (['working', 'idle', 'none'] as const).flatMap(state =>
    workers[state] > shown[state] ? [`${count(workers[state] - shown[state])} ${state}`] : [],
  )
  const name = `jobq work ${pid} on ${host}`
  return html`<section aria-label="${name}"><h2>${name} ${gone && badge('gone')}</h2>
${facts([
  ['Since', time(started)],
  ['Seen', gone ? time(seen) : `${duration(age)} ago`],
  ['Busy', `${count(workers.working)} of ${count(workers.working + workers.idle + workers.none)}`],
  ['Jobs', count(jobs)],
  ['Failed', count(failed)],
  ['Memory', memoryText(memory)],
  paused.length > 0 && ['Paused', paused.map(func => func || 'everything').join(', ')],
])}
${table(`Slots of ${name}`, '', columns(site, slots), slots, 'No slots.')}
${more.length > 0 && html`<p class="note">And more slots: ${more.join(', ')}.</p>`}</section>`
}

/** Does one of its jobs say how far it is? */
function isTold({slots}: {slots: readonly Slot[]}): boolean {
  return slots.some(({progress}) => progress)
}

function columns(site: Site, slots: readonly Slot[]): Column<Slot>[] {
  const progress: Column<Slot> = {
    head: 'Progress',
    cell: ({progress}) => (progress ? progressBar(progress) : '–'),
  }
  return [
    {head: 'Slot', cell: ({state}) => badge(state)},
    {head: 'Process', isNumber: true, cell: ({pid}) => pid ?? '–'},
    {head: 'Job', isNumber: true, cell: ({id}) => (id === null ? '–' : link(site, `/jobs/${id}`, id))},
    {head: 'Function', cell: ({func}) => (func === null ? '–' : funcLink(site, func))},
    {head: 'For', isNumber: true, cell: ({seconds}) => took(seconds)},
    {head: 'Jobs', isNumber: true, cell: ({pid, jobs}) => (pid === null ? '–' : count(jobs))},
    {head: 'Memory', isNumber: true, cell: ({memory}) => memoryText(memory)},
    ...(isTold({slots}) ? [progress] : []),
  ]
}
