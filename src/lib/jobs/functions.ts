/**
 * An application's functions and the types of their arguments. For the compiler only: nothing of this is there when the
 * program runs.
 */

/**
 * Open for declaration merging: function names to the types of their arguments; or to a function from that to what its worker
 * returns. While it is empty, any name will do.
 *
 * ```ts
 * declare module 'jobq' {
 *   interface Functions {
 *     Notify: {to: string}
 *     Cleanup: undefined
 *     Report: (arg: {year: number}) => {pages: number}
 *   }
 * }
 * ```
 *
 * From then on `queue.enqueue('Notify', {arg: {to: '…'}})`, `defineWorker('Notify', {…})` and `job.replace` know them, and
 * `(await queue.wait(job)).result` of a job that was enqueued as 'Report' is `{pages: number} | undefined`.
 * Two queues with different functions in one program: `JobQueue.open<MyFunctions>()`.
 */
// biome-ignore lint/suspicious/noEmptyInterface: an application fills it
export interface Functions {}

/** The names that may be enqueued: those of F, or any while F is empty. */
export type FuncName<F = Functions> = [keyof F] extends [never] ? string : keyof F & string

/** What the argument of a function is; unknown while F is empty. */
export type ArgOf<F, Name> = Name extends keyof F
  ? F[Name] extends (arg: infer Arg) => unknown
    ? Arg
    : F[Name]
  : unknown

/** The same as its worker has it: null where it was left out. */
export type TakenArg<F, Name> =
  undefined extends ArgOf<F, Name> ? Exclude<ArgOf<F, Name>, undefined> | null : ArgOf<F, Name>

/** What its worker returns; unknown where F does not say it. */
export type ResultOf<F, Name> = Name extends keyof F
  ? F[Name] extends (...args: never[]) => infer Result
    ? Awaited<Result>
    : unknown
  : unknown

/** May the argument be left out? Then null is stored. */
export type IsOptional<Arg> = undefined extends Arg ? true : null extends Arg ? true : false
