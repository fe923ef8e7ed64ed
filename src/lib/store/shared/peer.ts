/**
 * To whom a password may be told. Over TLS the server has shown who it is, and on this machine the system vouches for
 * it; anyone else could be the one who asks. There a password leaves only as a proof that is of use to no one else
 * (SCRAM, MySQL's hashes), unless the address says so in so many words.
 */

/** The server asked for the password itself, and is one of those that must not have it. */
export class PasswordRefused extends Error {
  constructor() {
    super('it asks for the password itself, over a network and without TLS')
  }
}

/** @param address the peer's, as the socket has it: none for a Unix socket's, which is not asked here */
export function isLoopback(address: string | undefined): boolean {
  return /^(127\.|::1$|::ffff:127\.)/i.test(address ?? '')
}
