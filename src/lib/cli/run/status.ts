/** `jobq status` once its words are known: asks the managers on this host, once or again and again. */
import {databasesName} from '../../config/settings.ts'
import type {ManagerStatus} from '../../jobs/manager.ts'
import {printable} from '../../jobs/printable.ts'
import {toJson} from '../../render/json.ts'
import {statusLines, statusTables} from '../../render/status.ts'
import {parseWatch} from '../optional-value.ts'
import {complain} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'
import {watch} from '../watch.ts'

type StatusForm = 'json' | 'table' | 'lines'

export interface StatusFlags extends QueueFlags {
  watch?: string | undefined
  json?: boolean | undefined
}

/** @returns the document, if it is still to be shown */
export async function run(flags: StatusFlags): Promise<{managers: ManagerStatus[]} | undefined> {
  const form = flags.json ? 'json' : process.stdout.isTTY ? 'table' : 'lines'
  const seconds = flags.watch === undefined ? null : parseWatch(flags.watch)
  const {findManagers} = await import('../../work/status/managers.ts')
  const db = databasesName(await commandSettings(flags))
  const none = `no \`jobq work\` is running on this host for ${printable(db)}`
  if (seconds !== null) {
    await watch(
      seconds,
      async () => (await shown(await findManagers(db), form)) || `${none}\n`,
      form === 'table',
    )
    return undefined
  }
  const managers = await findManagers(db, message => complain(`jobq: ${message}`))
  if (form === 'json') return {managers}
  if (managers.length === 0 && form === 'table') complain(none)
  else process.stdout.write(await shown(managers, form))
  return undefined
}

async function shown(managers: ManagerStatus[], form: StatusForm): Promise<string> {
  if (form === 'json') return `${toJson({managers})}\n`
  return form === 'lines' ? statusLines(managers) : statusTables(managers, process.stdout.columns || 80)
}
