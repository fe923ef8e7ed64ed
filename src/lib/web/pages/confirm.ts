/** Is that meant? And then: how far it has come. Both work without a script. */

import type {Plan, Run} from '../actions/runs.ts'
import {html} from '../html.ts'
import type {Site, View} from '../site.ts'
import {count, countUpTo, facts, hidden} from './parts.ts'

/** @param form as it was sent: it is sent again, with a word that it is meant */
export function confirmation(
  site: Site,
  plan: Plan,
  form: URLSearchParams,
  back: string,
  counted: Plan['total'],
): View {
  const total = plan.total ?? counted
  const fields = [...form].filter(([name]) => name !== 'confirm')
  const {basePath} = site.settings
  const body = html`<h1>Is that meant?</h1>
<p class="question">${plan.what}</p>
<p>${
    total === null
      ? 'How many jobs it concerns is not known.'
      : html`It concerns <strong>${countUpTo(total.jobs, total.isMore)}</strong> ${total.jobs === 1 && !total.isMore ? 'job' : 'jobs'}.`
  } It begins at once, goes on by itself, and can be stopped; what is done stays done.</p>
<form method="post" action="${basePath}/actions" class="action">
${fields.map(([name, value]) => hidden({[name]: value}))}
<input type="hidden" name="confirm" value="1">
<button class="sure">Yes, do it</button> <a href="${basePath}${back}">No, go back</a>
</form>`
  const document = {confirm: {what: plan.what, jobs: total?.jobs ?? null, is_more: total?.isMore ?? false}}
  return {title: 'Is that meant?', body, document}
}

export function progress(site: Site, run: Run, document: unknown, back: string | null): View {
  const {basePath} = site.settings
  const {state, done, refused, refusals, failure} = run
  const isRunning = state === 'running'
  const body = html`<h1>Action</h1>
<div id="run" data-live${isRunning && html` data-busy`}>
<p class="question">${run.what}</p>
${facts([
  ['State', state],
  ['Done', count(done)],
  ['Refused', count(refused)],
  failure !== '' && ['Why', failure],
])}
${refusals.length > 0 && html`<ul>${refusals.map(said => html`<li>${said}</li>`)}</ul>`}
${
  isRunning &&
  html`<form method="post" action="${basePath}/actions"><input type="hidden" name="stop" value="${run.id}"><button>Stop</button></form>`
}
</div>
<p><a href="${basePath}${back ?? '/'}">Back</a></p>`
  return {title: 'Action', body, document, isBusy: isRunning}
}
