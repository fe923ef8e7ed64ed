/** How a server of PostgreSQL and its standbys are set up, where that is a danger to jobs. */
import type {Row} from './connections/connections.ts'

/** pg_stat_replication shows its rows to everyone, and what is in them to few. */
export const SET_UP = {
  name: 'jobq_set_up',
  text: `SELECT current_setting('synchronous_standby_names') <> '' AS "isSynchronous",
    setting AS level, source <> 'session' AS "isServers",
    (SELECT count(*) FROM pg_stat_replication) AS standbys FROM pg_settings WHERE name = 'synchronous_commit'`,
}

/** As Store.warnings, of SET_UP's row. @param areSeveral whether the address has several hosts */
export function setUpWarnings(row: Row, areSeveral: boolean): string[] {
  const {isSynchronous, level, isServers, standbys} = row
  if (!areSeveral && Number(standbys) === 0) return []
  const lost = 'the jobs that were stored last are lost with the server that takes writes'
  if (!isSynchronous) return [`its standbys are asynchronous (synchronous_standby_names is empty): ${lost}`]
  if (isServers && (level === 'off' || level === 'local'))
    return [`it waits for no standby (synchronous_commit is ${level}): ${lost}`]
  return []
}
