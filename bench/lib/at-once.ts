/** What "50 jobs at once" means in every contender of the scenario at-once. */
export const AT_ONCE = 50
/** How long each of them waits, as for an answer of another service, in milliseconds. */
export const JOB_MS = 10
