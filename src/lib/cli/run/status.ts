/** `jobq status` once its words are known: what the managers have told the store, once or again and again. */

import {existsSync} from 'node:fs'
import type {JobQueue} from '../../client/queue.ts'
import {databasesName, type Settings} from '../../config/settings.ts'
import {EXIT} from '../../jobs/errors.ts'
import type {ManagerStatus} from '../../jobs/manager.ts'
import {printable} from '../../jobs/printable.ts'
import {toJson} from '../../render/json.ts'
import {statusLines, statusTables} from '../../render/status.ts'
import {withQueue} from '../command-queue.ts'
import {parseWatch} from '../optional-value.ts'
import {columns, isTerminal} from '../output.ts'
import {complain, say} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'

type StatusForm = 'json' | 'table' | 'lines'

export interface StatusFlags extends QueueFlags {
  watch?: string | undefined
  json?: boolean | undefined
}

/** @returns the document, if it is still to be shown */
export async function run(flags: StatusFlags): Promise<{managers: ManagerStatus[]} | undefined> {
  const form = flags.json ? 'json' : isTerminal() ? 'table' : 'lines'
  const seconds = flags.watch === undefined ? null : parseWatch(flags.watch)
  const settings = await commandSettings(flags)
  if (seconds === null && isNowhere(settings)) return show([], form, noneOf(settings))
  const onTrouble = (message: string) => {
    process.exitCode = EXIT.failed
    if (seconds === null || form !== 'table') complain(`jobq: ${message}`)
  }
  return withQueue(settings, null, {onTrouble}, async queue => {
    if (seconds === null) return show(await queue.managers(), form, noneOf(settings))
    const {watch} = await import('../watch.ts')
    await watch(seconds, () => frame(queue, form, noneOf(settings)), form === 'table')
    return undefined
  })
}

/** A file that is not there: who only looks makes none. */
function isNowhere({databases}: Settings): boolean {
  return databases.every(
    address => address.driver === 'sqlite' && address.path !== ':memory:' && !existsSync(address.path),
  )
}

function noneOf(settings: Settings): string {
  return `no \`jobq work\` is running for ${printable(databasesName(settings))}`
}

async function show(
  managers: ManagerStatus[],
  form: StatusForm,
  none: string,
): Promise<{managers: ManagerStatus[]} | undefined> {
  if (form === 'json') return {managers}
  if (managers.length === 0 && form === 'table') complain(none)
  else say(await shown(managers, form))
  return undefined
}

async function frame(queue: JobQueue, form: StatusForm, none: string): Promise<string> {
  const managers = await queue.managers()
  return (await shown(managers, form)) || `${none}\n`
}

async function shown(managers: ManagerStatus[], form: StatusForm): Promise<string> {
  if (form === 'json') return `${toJson({managers})}\n`
  return form === 'lines' ? statusLines(managers) : statusTables(managers, columns())
}
