/**
 * Where jobq's own modules are. The build puts some of them together in one file (rolldown.config.js): those that must
 * know their place ask this one, which stays where it is.
 */

/** This folder. */
export const LIBRARY = new URL('./', import.meta.url)
/** Of jobq's own modules: they may be run from their sources. */
export const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
