/** `jobq init` on PostgreSQL: what is missing is made, or told. */

import type {Preparation} from '../store.ts'
import {postgresStore} from './store.ts'

export async function preparePostgres(
  url: string,
  name: string,
  {dryRun}: {dryRun: boolean},
): Promise<Preparation> {
  const store = postgresStore(url, name)
  try {
    const steps = await (dryRun ? store.plan() : store.prepare())
    return {
      database: name,
      made: steps.flatMap(({makes}) => makes ?? []),
      sql: steps.map(({sql}) => sql),
      warnings: await store.warnings(true),
    }
  } finally {
    await store.close()
  }
}
