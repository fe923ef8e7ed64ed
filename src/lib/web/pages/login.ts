/** The page that asks for the token. Nothing of the queue is on it. */
import {assetPath} from '../assets.ts'
import {html} from '../html.ts'

/** @param next where to go then. @param wrong why it is shown again */
export function loginPage(base: string, next: string, wrong: string): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in · jobq</title>
<link rel="icon" href="${base}${assetPath('icon.svg')}">
<link rel="stylesheet" href="${base}${assetPath('page.css')}">
</head>
<body>
<main id="main">
<h1>jobq</h1>
${wrong && html`<p role="alert">${wrong}</p>`}
<form method="post" action="${base}/login" class="login">
<input type="hidden" name="next" value="${next}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form>
<p class="note">It is what JOBQ_WEB_TOKEN, or the file of --token-file, says where \`jobq web\` was started.</p>
</main>
</body>
</html>
`.text
}
