/** Connections of an application's own, on which it has a transaction open. */

/** A Database of better-sqlite3, known by what it can do. */
export interface SqliteConnection {
  readonly inTransaction: boolean
  /** As better-sqlite3's. */
  prepare(sql: string): unknown
}

/** A connection of mysql2, with or without promises, or a client of pg. */
export interface ServerConnection {
  /** As the driver's. */
  query(...query: never[]): unknown
}

export function isSqlite(connection: unknown): connection is SqliteConnection {
  return typeof connection === 'object' && connection !== null && 'inTransaction' in connection
}
