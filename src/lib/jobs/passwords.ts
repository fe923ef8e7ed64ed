/**
 * Takes passwords out of text that is shown, such as a message that repeats what a user wrote, or a command line.
 * Addresses never show theirs; this is the last guard, for what was no address, or stood where none is expected.
 */

/** The text, with `***` for the password of each address in it. In linear time: arguments come through here, too. */
export function withoutPasswords(text: string): string {
  return hideByName(text.replace(/"(?:[^"\\]|\\.)*"|\S+/gs, hideInUrl))
}

/** The same of one word, whatever blanks it has. */
export function withoutPassword(word: string): string {
  return hideByName(hideInUrl(word))
}

/** `user:password@host`, behind `scheme://` or not, whatever the password has in it. */
function hideInUrl(word: string): string {
  const at = word.lastIndexOf('@')
  if (at < 0) return word
  const slashes = /:\/\/?/.exec(word)
  const user = slashes ? slashes.index + slashes[0].length : 0
  let colon = word.indexOf(':', user)
  if (colon < 0 && slashes?.[0] === ':/') colon = slashes.index // a password that begins with a slash
  if (colon < 0 || colon > at || word.slice(colon + 1, at) === 'password') return word // hints write it so
  return `${word.slice(0, colon + 1)}***${word.slice(at)}`
}

/** `password=…`, in a URL, in a DSN, or in libpq's words. */
function hideByName(word: string): string {
  return word.replace(
    /((?:pass|passwd|password|passphrase|pwd|pw)\s*=\s*)('[^']*'?|"[^"]*"?|(?:\\.|[^\s;&"\\])+)/gis,
    '$1***',
  )
}
