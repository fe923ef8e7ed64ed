/** `jobq init`, and in words what it did; or as SQL, what it would do. */
import {JobQueue} from '../../client/queue.ts'
import type {Preparation} from '../../index.ts'
import {complain, printer} from '../output-guard.ts'
import {commandSettings, type QueueFlags} from '../settings.ts'

export interface InitFlags extends QueueFlags {
  'dry-run'?: boolean | undefined
  json?: boolean | undefined
}

export async function run({db, config, json, 'dry-run': dryRun = false}: InitFlags) {
  await commandSettings({db, config})
  const databases = await JobQueue.init({db, config, dryRun})
  if (!json) {
    const {text, notes} = preparationText(databases, dryRun)
    if (text) printer()(text)
    for (const note of notes) complain(note)
    for (const {database, warnings} of databases)
      for (const warning of warnings) complain(`jobq: ${database}: ${warning}`)
  }
  return {databases, dry_run: dryRun}
}

/** @returns `text` for standard output and `notes` for people: SQL must have nothing else between it */
export function preparationText(
  done: readonly Preparation[],
  dryRun: boolean,
): {text: string; notes: string[]} {
  const idle = done.filter(({made, sql}) => made.length === 0 && sql.length === 0)
  const notes = idle.map(({database}) => `${database}: nothing to do, all is there`)
  if (!dryRun) {
    const text = done.map(
      ({database, made}) =>
        `${database}: ${made.length > 0 ? `made ${made.join(', ')}` : 'nothing to do, all is there'}`,
    )
    return {text: text.join('\n'), notes: []}
  }
  const scripts = done
    .filter(({sql}) => sql.length > 0)
    .map(({database, sql}) => {
      const statements = sql.map(delimited).join('')
      return done.length > 1 ? `-- ${database.replaceAll('\n', ' ')}\n${statements}` : statements
    })
  return {text: scripts.join(''), notes}
}

/** MySQL's client ends a statement at the first semicolon, within a procedure too, unless it is told otherwise. */
function delimited(statement: string): string {
  if (!statement.startsWith('CREATE PROCEDURE')) return `${statement};\n`
  return `DELIMITER $$\n${statement}$$\nDELIMITER ;\n`
}
