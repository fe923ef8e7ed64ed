/** Lets a server of jobq's listen on a port; a process that has nothing else to do ends all the same. */
import type {Server} from 'node:net'
import {ServerError} from './errors.ts'

/** @throws ServerError if it can't listen there */
export async function listenOn<S extends Server>(
  server: S,
  host: string,
  port: number,
  hint: string,
): Promise<S> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause =>
      reject(new ServerError(`can't listen on ${host}:${port} (${cause.message})`, {hint, cause})),
    )
    server.listen(port, host, resolve)
  })
  server.unref()
  return server
}
