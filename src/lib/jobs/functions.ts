/**
 * An application's functions and the types of their arguments. For the compiler only: nothing of this is there when the
 * program runs.
 */

/**
 * Open for declaration merging: function names to the types of their arguments. While it is empty, any name will do.
 *
 * ```ts
 * declare module 'jobq' {
 *   interface Functions {
 *     Notify: {to: string}
 *     Cleanup: undefined
 *   }
 * }
 * ```
 *
 * From then on `queue.enqueue('Notify', {arg: {to: '…'}})`, `defineWorker('Notify', {…})` and `job.replace` know them.
 * Two queues with different functions in one program: `JobQueue.open<MyFunctions>()`.
 */
// biome-ignore lint/suspicious/noEmptyInterface: an application fills it
export interface Functions {}

/** The names that may be enqueued: those of F, or any while F is empty. */
export type FuncName<F = Functions> = [keyof F] extends [never] ? string : keyof F & string

/** What the argument of a function is; unknown while F is empty. */
export type ArgOf<F, Name> = Name extends keyof F ? F[Name] : unknown

/** May the argument be left out? Then null is stored. */
export type IsOptional<Arg> = undefined extends Arg ? true : null extends Arg ? true : false
