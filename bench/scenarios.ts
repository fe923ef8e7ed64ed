/** All of them, in the order of the report. */
import type {Scenario} from './lib/scenario.ts'
import {atOnce} from './scenarios/at-once.ts'
import {bulk} from './scenarios/bulk.ts'
import {commandsByDepth} from './scenarios/commands-by-depth.ts'
import {enqueue} from './scenarios/enqueue.ts'
import {executables} from './scenarios/executables.ts'
import {flushes} from './scenarios/flushes.ts'
import {grabByDepth} from './scenarios/grab-by-depth.ts'
import {grabByLanes} from './scenarios/grab-by-lanes.ts'
import {idle} from './scenarios/idle.ts'
import {latency} from './scenarios/latency.ts'
import {manyWorkers} from './scenarios/many-workers.ts'
import {mariadb} from './scenarios/mariadb.ts'
import {postgres} from './scenarios/postgres.ts'
import {redis} from './scenarios/redis.ts'
import {scale} from './scenarios/scale.ts'
import {shell} from './scenarios/shell.ts'
import {startUp} from './scenarios/start-up.ts'
import {stream} from './scenarios/stream.ts'
import {waitingJobs} from './scenarios/waiting-jobs.ts'
import {workInline} from './scenarios/work-inline.ts'
import {workPool} from './scenarios/work-pool.ts'

export const SCENARIOS: readonly Scenario[] = [
  startUp,
  flushes,
  commandsByDepth,
  bulk,
  enqueue,
  stream,
  workInline,
  workPool,
  waitingJobs,
  executables,
  shell,
  grabByDepth,
  grabByLanes,
  latency,
  idle,
  manyWorkers,
  postgres,
  mariadb,
  redis,
  atOnce,
  scale,
]
