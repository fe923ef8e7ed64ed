#!/usr/bin/env node
// The installed entry: checks the Node before anything else is loaded (better-sqlite3 crashes an old one), then starts.
// CommonJS, for whose start Node needs less than for a module's, and written for any Node that knows import(), so that
// an old one gets a sentence and not a syntax error.
'use strict'
const [major, minor] = process.versions.node.split('.').map(Number)
if (major > 22 || (major === 22 && minor >= 18)) startHere()
else handOver()

function startHere() {
  enableCache()
  const {join} = require('node:path')
  require('../dist/lib/cli/main.cjs').start(process.argv.slice(2), join(__dirname, '..'))
}

// What V8 has compiled is kept between runs, which is half of a start. It is run as it lies there: so not in TMPDIR,
// where Node would have it and who comes first makes that folder, but where no one else can write. Else there is none.
// What the user says of it (NODE_COMPILE_CACHE, NODE_DISABLE_COMPILE_CACHE) has been obeyed by Node already.
function enableCache() {
  const {env} = process
  if (env.NODE_COMPILE_CACHE || env.NODE_DISABLE_COMPILE_CACHE !== undefined) return
  const {isAbsolute, join} = require('node:path')
  const {XDG_CACHE_HOME: named = '', HOME: home = ''} = env
  const caches = isAbsolute(named) ? named : isAbsolute(home) ? join(home, '.cache') : null
  const folder = (caches && ownFolder(join(caches, 'jobq'), 2)) || ownFolder(join(__dirname, '../.cache'), 1)
  if (folder) require('node:module').enableCompileCache(folder)
}

// The folder by its real path, if no one but this user and root can write to it; made if only so many of its last parts
// are missing. (src/lib/config/own-files.ts asks the same of other files, but is not loaded yet.)
function ownFolder(folder, missing, isParent = false) {
  const {mkdirSync, realpathSync} = require('node:fs')
  try {
    const path = realpathSync.native(folder)
    return isOwn(path, isParent) ? path : null
  } catch (error) {
    if (error.code !== 'ENOENT' || missing === 0) return null
  }
  if (!ownFolder(require('node:path').dirname(folder), missing - 1, true)) return null
  try {
    mkdirSync(folder, 0o700)
  } catch (error) {
    if (error.code !== 'EEXIST') return null // another process was faster, or someone else
  }
  return ownFolder(folder, 0, isParent)
}

// Up to the root, since who can write to a folder can put another in the place of what is in it. Not so in a sticky one,
// such as /tmp, where each may move only what is his.
function isOwn(folder, isParent) {
  if (!process.getuid) return true
  const {lstatSync} = require('node:fs')
  const {dirname} = require('node:path')
  const me = process.getuid()
  for (let path = folder; ; path = dirname(path)) {
    const {mode, uid} = lstatSync(path)
    const isSticky = (path !== folder || isParent) && (mode & 0o1000) !== 0
    if ((uid !== me && uid !== 0) || ((mode & 0o022) !== 0 && !isSticky)) return false
    if (path === folder && uid !== me && !isParent) return false // for reading only: it would stay empty
    if (path === dirname(path)) return true
  }
}

// A checkout has a Node of its own (npm's `node`, a dev dependency): it takes over, signals and exit status included.
function handOver() {
  const {existsSync} = require('node:fs')
  const pinned = require('node:path').join(__dirname, '../node_modules/node/bin/node')
  if (!existsSync(pinned))
    return fail('install a current Node.js: it runs TypeScript workers as they are, which jobq needs')
  const {spawn} = require('node:child_process')
  const words = process.argv.slice(2)
  const child = spawn(pinned, [__filename, ...words], {stdio: 'inherit'})
  // The child hides a password in its own words (main.ts)
  if (words.some(word => /@|pass|pw/i.test(word))) process.title = 'jobq'
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
