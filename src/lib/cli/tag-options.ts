/** `--tag NAME=VALUE`, or `--tag NAME`, of commands that choose jobs. */
import type {TagOptions} from '../jobs/job.ts'
import {parseTagChoice} from '../jobs/names.ts'

/** @returns undefined where none was given. @throws UsageError */
export function tagOptions(words: readonly string[] | undefined): TagOptions | undefined {
  if (words === undefined) return undefined
  return Object.fromEntries(parseTagChoice(words, '--tag').map(({name, value}) => [name, value ?? true]))
}
