/**
 * To whom a password may be told. Over TLS the server has shown who it is, and on this machine the system vouches for
 * it; anyone else could be the one who asks. There a password leaves only as a proof that is of use to no one else
 * (SCRAM, MySQL's hashes), unless the address says so in so many words.
 */
import type {PeerCertificate} from 'node:tls'

/** The server asked for the password itself, and is one of those that must not have it. */
export class PasswordRefused extends Error {
  constructor() {
    super('it asks for the password itself, over a network and without TLS')
  }
}

/** Of a certificate that is good, but another host's: whose. null: that is not what is wrong. */
export function otherName(error: unknown): string | null {
  const {host, cert} = error as {host?: string; cert?: PeerCertificate} // as tls.checkServerIdentity has them
  if (host === undefined || !cert) return null
  const names = cert.subjectaltname?.replace(/(^|, )(DNS|IP Address):/g, '$1') ?? cert.subject?.CN
  return `its certificate is for ${names}, not for ${host}`
}
export const OTHER_NAME_HINT =
  'write the name that it is for into the address, or give the server one for the name in the address'

/** @param address the peer's, as the socket has it: none for a Unix socket's, which is not asked here */
export function isLoopback(address: string | undefined): boolean {
  return /^(127\.|::1$|::ffff:127\.)/i.test(address ?? '')
}
