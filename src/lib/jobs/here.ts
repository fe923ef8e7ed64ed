/** The current folder. It may be removed while a process is in it, so only who has a relative path asks for it. */
import {isAbsolute, resolve} from 'node:path'
import {UsageError} from './errors.ts'

/** @throws UsageError if it has been removed */
export function here(): string {
  try {
    return process.cwd()
  } catch (cause) {
    throw new UsageError('expected a current folder, got one that has been removed', {
      hint: 'change to one that is there, or give absolute paths',
      cause,
    })
  }
}

/**
 * @param folder what a relative path means; default: the current folder
 * @throws UsageError if that is needed, and has been removed
 */
export function absolutePath(path: string, folder?: string): string {
  return isAbsolute(path) ? resolve(path) : resolve(folder ?? here(), path)
}
