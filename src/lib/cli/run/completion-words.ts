/** What `jobq completion` is told: a shell, or by its script, what is to be completed. */

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export const VALUE_KINDS = ['func', 'func-list', 'id', 'exception'] as const

export type Shell = (typeof SHELLS)[number]
export type ValueKind = (typeof VALUE_KINDS)[number]
