#!/usr/bin/env node
// jobq from its sources, without a build: node bin/dev.js enqueue …
import {start} from '../src/lib/cli/start.ts'

await start(process.argv.slice(2), new URL('../', import.meta.url))
