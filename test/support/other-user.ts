import {spawnSync} from 'node:child_process'
import {RUN_JS} from './jobq.ts'

const NOBODY = 65_534

/** Root may do anything: what others may not is tried as nobody. Empty if this is not root anyway. */
export const otherUser: {uid?: number} = process.getuid?.() === 0 ? {uid: NOBODY} : {}

/** Why it can't be tried here; false if it can. */
export function cantBeOtherUser(): string | false {
  if (process.getuid === undefined) return 'this system has no users to be'
  if (otherUser.uid === undefined) return false
  const {status} = spawnSync(process.execPath, [RUN_JS, '--version'], {uid: NOBODY, gid: NOBODY})
  return status === 0 ? false : 'nobody may not read this checkout'
}
