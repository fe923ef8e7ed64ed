#!/usr/bin/env node
// Posts what jobq tells to a web hook, in the form that chats take: command: 'examples/notices/webhook.mjs https://chat.example.com/hook'
import {json} from 'node:stream/consumers'

const [url] = process.argv.slice(2)
if (!url) throw new Error('expected a URL, got none')
const notice = await json(process.stdin)
const answer = await fetch(url, {
  method: 'POST',
  headers: {'content-type': 'application/json'},
  body: JSON.stringify({text: `${notice.database}: ${notice.text}`, notice}),
  signal: AbortSignal.timeout(20_000),
})
if (!answer.ok) throw new Error(`${url} answered ${answer.status}`) // what fails is tried again
