/** Every function: what waits, runs and has failed, how old, how fast. As `jobq stats`. */
import {ALL_FUNCS} from '../../jobs/job.ts'
import type {FuncStats} from '../../jobs/stats.ts'
import {statsDocument} from '../../render/stats.ts'
import {type Html, html, type Part} from '../html.ts'
import {type Asked, pathTo, type Site, type View} from '../site.ts'
import {perMinuteChart, runTimesChart} from './charts.ts'
import {action, badge, type Column, count, facts, funcLink, link, table, took} from './parts.ts'

export async function overview(site: Site, asked: Asked): Promise<View> {
  const [{stats, took: times}, paused] = await Promise.all([site.facts.numbers.get(), site.queue.paused()])
  const isAllPaused = paused.includes(ALL_FUNCS)
  const funcs = stats.funcs.map(func => ({...func, paused: isAllPaused || paused.includes(func.func)}))
  const total = {...stats.total, paused: isAllPaused}
  const body = html`<h1>Overview</h1>
${isAllPaused && html`<p class="told" role="status">Everything is paused. ${link(site, '/pauses', 'Pauses')}</p>`}
<div id="total" data-live>${facts([
    ['Ready', counted(site, total.ready, pathTo('/jobs', {state: 'ready'}))],
    ['Delayed', counted(site, total.delayed, pathTo('/jobs', {state: 'delayed'}))],
    ['Waiting', counted(site, total.waiting, pathTo('/jobs', {state: 'waiting'}))],
    ['Running', counted(site, total.running, pathTo('/jobs', {state: 'running'}))],
    ['Failed', counted(site, total.failed, '/failures')],
    ['Oldest ready', took(total.oldestReadyAge)],
    ['Median, p95', `${took(total.median)}, ${took(total.p95)}`],
  ])}</div>
${charts(total.perMinute, times)}
${table('Functions', 'funcs', columns(site, asked), funcs, 'No job was ever enqueued here: `jobq enqueue --help` tells how.')}`
  return {title: 'Overview', body, document: statsDocument({funcs, total})}
}

function charts(perMinute: number[] | null, times: readonly [number, number][]): Part {
  if (times.length === 0)
    return html`<p class="note">Run times are known of functions that keep a job status: setJobStatus.</p>`
  return html`<div class="charts" id="charts" data-live>
<figure><figcaption>Jobs a minute, last hour</figcaption>${perMinuteChart(perMinute, 'All functions')}</figure>
${runTimesChart(times)}
</div>`
}

function columns(site: Site, {here}: Asked): Column<FuncStats>[] {
  const number = (head: string, key: 'ready' | 'delayed' | 'waiting' | 'running'): Column<FuncStats> => ({
    head,
    isNumber: true,
    cell: stats => counted(site, stats[key], pathTo('/jobs', {func: stats.func, state: key})),
  })
  return [
    {head: 'Function', cell: ({func, paused}) => html`${funcLink(site, func)} ${paused && badge('paused')}`},
    number('Ready', 'ready'),
    number('Delayed', 'delayed'),
    number('Waiting', 'waiting'),
    number('Running', 'running'),
    {
      head: 'Failed',
      isNumber: true,
      cell: ({func, failed}) => counted(site, failed, pathTo('/exceptions', {func}), 'bad'),
    },
    {head: 'Retrying', isNumber: true, cell: ({retrying}) => counted(site, retrying, '')},
    {head: 'Oldest', isNumber: true, cell: ({oldestReadyAge}) => took(oldestReadyAge)},
    {head: 'Median', isNumber: true, cell: ({median}) => took(median)},
    {head: 'p95', isNumber: true, cell: ({p95}) => took(p95)},
    {head: 'Last hour', cell: ({perMinute, func}) => perMinuteChart(perMinute, func)},
    ...(site.settings.readOnly
      ? []
      : [
          {
            head: html`<span class="unseen">Actions</span>`,
            cell: ({func, paused}: FuncStats) =>
              paused
                ? action(site, here, 'Resume', {do: 'resume', func}, `Resume ${func}`)
                : action(site, here, 'Pause', {do: 'pause', func}, `Pause ${func}`),
          },
        ]),
  ]
}

/** None is dim. */
function counted(site: Site, number: number, path: string, tone = ''): Html {
  if (number === 0) return html`<span class="zero">0</span>`
  if (path === '') return html`${count(number)}`
  return html`<span class="${tone}">${link(site, path, count(number))}</span>`
}
