import {fileURLToPath} from 'node:url'

/** Where the jobq of tests keeps its compiled code: one for all, in no folder that a test looks into. */
export const COMPILE_CACHE = fileURLToPath(new URL('../../.cache', import.meta.url))
