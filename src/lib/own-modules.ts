/**
 * Where jobq's own modules are: those that are started by their name. The build makes files of them at the same places
 * (rolldown.config.js), and this one is in a chunk at its own.
 */

/** This folder. */
export const LIBRARY = new URL('./', import.meta.url)
/** Of jobq's own modules: they may be run from their sources. */
export const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.cjs'
