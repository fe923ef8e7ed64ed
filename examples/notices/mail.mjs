#!/usr/bin/env node
// Mails what jobq tells, to whom the command line names: command: 'examples/notices/mail.mjs ops@example.com'
import {spawn} from 'node:child_process'
import {text} from 'node:stream/consumers'

const [to] = process.argv.slice(2)
if (!to) throw new Error('expected an address, got none')
const notice = JSON.parse(await text(process.stdin))
const lines = notice.jobs.map(
  ({job_id, func, time, message}) =>
    `${time}  ${func}, job ${job_id ?? '?'}\n  ${message.replaceAll('\n', '\n  ')}`,
)
const more = notice.count - notice.jobs.length
const mail = spawn('sendmail', ['-t'], {stdio: ['pipe', 'inherit', 'inherit']})
mail.stdin.end(`To: ${to}
Subject: ${notice.text.replace(/[^ -~]+/g, '?').slice(0, 120)}
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

${notice.database}

${lines.join('\n\n')}${more > 0 ? `\n\nand ${more} more` : ''}
`)
mail.on('error', error => {
  console.error(error.message)
  process.exitCode = 1
})
mail.on('exit', code => {
  process.exitCode ||= code ?? 1 // what fails is tried again
})
