/**
 * Where jobq's own modules are that are started by their name. The build makes files of them at the same places
 * (rolldown.config.js), and has this one in a chunk that lies in this same folder.
 */

/** This folder. */
export const LIBRARY = new URL('./', import.meta.url)
/** Of jobq's own modules: they may be run from their sources. */
export const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.cjs'
