/** An application's plugins by name. For the compiler only, as functions.ts is. */

/** Open for declaration merging: names of plugins to their types, for `job.plugin` and `queue.plugin`. */
// biome-ignore lint/suspicious/noEmptyInterface: an application fills it
export interface Plugins {}

/** What `plugin(name)` returns: as `Plugins` has it, else unknown. */
export type PluginOf<Name> = Name extends keyof Plugins ? Plugins[Name] : unknown
