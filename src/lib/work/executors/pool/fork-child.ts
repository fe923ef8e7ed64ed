/** Starts the process of a pool's child. */
import {type ChildProcess, spawn} from 'node:child_process'
import {getCompileCacheDir} from 'node:module'
import {dirname} from 'node:path'
import {fileURLToPath} from 'node:url'
import {ProcessError} from '../../../jobs/errors.ts'
import {EXTENSION, LIBRARY} from '../../../own-modules.ts'
import type {JobLog} from '../../log/log.ts'
import {checkDescriptors} from '../shortage.ts'

const CHILD = fileURLToPath(new URL(`work/executors/child${EXTENSION}`, LIBRARY))
const CHILD_FLAGS = [
  // A worker in a folder without a package.json runs all the same
  '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON',
  // Else V8's second compiler is started for what takes the modules' paths apart, and stays in memory: 3 MB of 50
  ...(/^1[234]\./.test(process.versions.v8) ? ['--invocation-count-for-maglev=5000'] : []),
]

/** Its stdout, its stderr and the line to it are pipes. @throws ProcessError */
export function forkChild(log: JobLog): ChildProcess {
  let child: ChildProcess
  try {
    checkDescriptors()
    child = spawn(process.execPath, [...process.execArgv, ...CHILD_FLAGS, CHILD], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      env: {...process.env, ...compileCache()},
    })
  } catch (cause) {
    throw new ProcessError(cause)
  }
  child.on('error', error => log.debug(`child ${child.pid}: ${error.message}`))
  if (child.pid === undefined) throw new ProcessError()
  return child
}

/** The same for the child: what bin/run.js has found to be this user's own, or what the user has named. */
function compileCache(): NodeJS.ProcessEnv {
  const folder = getCompileCacheDir() // in it, that is: each version of Node has one of its own there
  return folder === undefined ? {} : {NODE_COMPILE_CACHE: dirname(folder)}
}
