#!/usr/bin/env node
// The installed entry: checks the Node before anything else is loaded (better-sqlite3 crashes an old one), then starts.
// CommonJS, for whose start Node needs less than for a module's, and written for any Node that knows import(), so that
// an old one gets a sentence and not a syntax error.
'use strict'
const [major, minor] = process.versions.node.split('.').map(Number)
if (major > 22 || (major === 22 && minor >= 18)) startHere()
else handOver()

function startHere() {
  require('node:module').enableCompileCache()
  const {join} = require('node:path')
  const {quickly} = require('../dist/quick/quick.cjs')
  const words = process.argv.slice(2)
  if (quickly(words, join(__dirname, '..')) === null)
    import('../dist/lib/cli/start.js').then(({start}) => start(words))
}

// A checkout has a Node of its own (npm's `node`, a dev dependency): it takes over, signals and exit status included.
function handOver() {
  const {existsSync} = require('node:fs')
  const pinned = require('node:path').join(__dirname, '../node_modules/node/bin/node')
  if (!existsSync(pinned))
    return fail('install a current Node.js: it runs TypeScript workers as they are, which jobq needs')
  const {spawn} = require('node:child_process')
  const child = spawn(pinned, [__filename, ...process.argv.slice(2)], {stdio: 'inherit'})
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGTTIN', 'SIGTTOU']
  for (const signal of signals)
    process.on(signal, () => {
      // Ctrl-C on a terminal reaches the child by itself: a second one would not let its jobs finish
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  child.on('error', error => fail(`${pinned} can't be started: ${error.message}`))
  child.on('exit', (code, signal) => {
    for (const name of signals) process.removeAllListeners(name)
    if (signal) process.kill(process.pid, signal)
    else process.exitCode = code === null ? 1 : code
  })
}

function fail(hint) {
  const message = `expected Node.js 22.18 or later, got ${process.versions.node}`
  if (process.argv.includes('--json'))
    process.stdout.write(`${JSON.stringify({error: {code: 'NODE_TOO_OLD', message, hint}})}\n`)
  else process.stderr.write(`jobq: ${message} (${hint})\n`)
  process.exitCode = 1
}
