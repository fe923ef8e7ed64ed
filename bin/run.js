#!/usr/bin/env node
// The installed entry: checks the Node before anything else is loaded (better-sqlite3 crashes an old one), then starts.
// Written for any Node that knows import(), so that an old one gets a sentence and not a syntax error.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major > 22 || (major === 22 && minor >= 18)) startHere()
else handOver()

async function startHere() {
  const {enableCompileCache} = await import('node:module')
  enableCompileCache()
  const {start} = await import('../dist/lib/cli/start.js')
  await start(process.argv.slice(2), new URL('../', import.meta.url))
}

// A checkout has a Node of its own (npm's `node`, a dev dependency): it takes over, signals and exit status included.
async function handOver() {
  const {existsSync} = await import('node:fs')
  const {fileURLToPath} = await import('node:url')
  const pinned = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))
  if (!existsSync(pinned))
    return fail('install a current Node.js: it runs TypeScript workers as they are, which jobq needs')
  const {spawn} = await import('node:child_process')
  const child = spawn(pinned, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {stdio: 'inherit'})
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
