#!/usr/bin/env node
// jobq from its sources, without a build: node bin/dev.js enqueue …
import('../src/lib/cli/main.ts').then(({start}) =>
  start(process.argv.slice(2), require('node:path').join(__dirname, '..')),
)
