/** What stands around every page. */

import type {Run} from '../actions/runs.ts'
import {assetPath} from '../assets.ts'
import {type Html, html} from '../html.ts'
import type {Asked, Site, View} from '../site.ts'

const PAGES: readonly [path: string, name: string][] = [
  ['/', 'Overview'],
  ['/jobs', 'Jobs'],
  ['/failures', 'Failures'],
  ['/finished', 'Finished'],
  ['/workers', 'Workers'],
  ['/schedules', 'Schedules'],
  ['/pauses', 'Pauses'],
  ['/log', 'Log'],
]

export function document(site: Site, asked: Asked, {title, body, isBusy}: View): string {
  const base = site.settings.basePath
  const run = site.runs.get(asked.query.get('run'))
  return html`<!doctype html>
<html lang="en" data-base="${base}" data-live="${base}/live">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${isBusy && html`<noscript><meta http-equiv="refresh" content="2"></noscript>`}
<title>${title} · jobq</title>
<link rel="icon" href="${base}${assetPath('icon.svg')}">
<link rel="stylesheet" href="${base}${assetPath('page.css')}">
<script src="${base}${assetPath('page.js')}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header>
<nav aria-label="Pages"><ul>${PAGES.map(([path, name]) => item(site, asked, path, name))}</ul></nav>
<form class="find" action="${base}/find" role="search">
<label for="find">Job or key</label>
<input id="find" name="q" type="search" autocomplete="off" spellcheck="false" required>
<button>Find</button>
</form>
</header>
<main id="main" tabindex="-1">
${run && told(site, run)}
${body}
</main>
<footer>
<p>${site.queue.name}${site.settings.readOnly && ' · read-only'}</p>
<p id="live" hidden>Live</p>
${asked.hasCookie && html`<form method="post" action="${base}/logout"><button>Log out</button></form>`}
</footer>
</body>
</html>
`.text
}

function item({settings}: Site, {here}: Asked, path: string, name: string): Html {
  const isHere = here.split('?')[0] === path
  return html`<li><a href="${settings.basePath}${path}"${isHere && html` aria-current="page"`}>${name}</a></li>`
}

/** What became of the last action. */
function told({settings}: Site, run: Run): Html {
  return html`<p class="told" role="status">${run.summary} ${
    run.isMany && html`<a href="${settings.basePath}/runs/${run.id}">More about it</a>`
  }</p>`
}
