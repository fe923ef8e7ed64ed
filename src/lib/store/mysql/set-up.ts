/** How a server or cluster of MySQL's kind is set up, where that is a danger to jobs. */
import type {Timeouts} from '../shared/silence.ts'
import {type MysqlConnection, textOf} from './connections/connection.ts'

/** With fewer nodes of Galera none goes on by itself when another is gone. */
const LEAST_NODES = 3
/** How much longer than evs.suspect_timeout a cluster stands still that has lost a node: measured 6.1 to 6.3 s of 5. */
const AFTER_SUSPICION_MS = 2000

/** As Store.warnings. */
export async function setUpWarnings(link: MysqlConnection, {answer}: Timeouts): Promise<string[]> {
  const [variables, status, tables] = await link.batch([
    `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_provider_options')`,
    `SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'`,
    `SELECT table_name AS t, engine AS e FROM information_schema.tables
     WHERE table_schema = DATABASE() AND (table_name IN ('func', 'job', 'exception_log', 'job_status') OR table_name LIKE 'jobq\\_%')
       AND engine <> 'InnoDB' ORDER BY table_name`,
  ])
  const values = new Map(
    [...variables!.rows, ...status!.rows].map(row => [
      textOf(row.Variable_name).toLowerCase(),
      textOf(row.Value),
    ]),
  )
  const others = tables!.rows.map(({t, e}) => `${textOf(t)} is ${textOf(e)}`)
  const warnings =
    others.length === 0 ? [] : [`tables that are not InnoDB have no transactions: ${others.join(', ')}`]
  if (values.get('wsrep_on') !== 'ON') return warnings
  const nodes = Number(values.get('wsrep_cluster_size'))
  if (nodes < LEAST_NODES)
    warnings.push(
      `its Galera cluster has ${nodes} of at least ${LEAST_NODES} nodes: when one more is cut off, none takes writes`,
    )
  const suspicion = suspicionMs(values.get('wsrep_provider_options') ?? '')
  if (suspicion !== null && suspicion + AFTER_SUSPICION_MS > answer)
    warnings.push(
      `its Galera cluster stands still for ${(suspicion + AFTER_SUSPICION_MS) / 1000} s when it has lost a node, and answer-timeout is ${answer / 1000} s: have it be more`,
    )
  return warnings
}

/** `evs.suspect_timeout = PT5S`; null: it is written otherwise. */
function suspicionMs(options: string): number | null {
  const [, minutes = '0', seconds = '0'] =
    /\bevs\.suspect_timeout\s*=\s*PT(?:(\d+)M)?(?:([\d.]+)S)?/.exec(options) ?? []
  const ms = (Number(minutes) * 60 + Number(seconds)) * 1000
  return ms > 0 ? ms : null
}
