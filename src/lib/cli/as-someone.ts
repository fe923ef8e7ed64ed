/**
 * Gives a user a shell and a home while oclif is loaded, which asks for both, though jobq has no use for them. Where
 * nothing tells (a user without a line in /etc/passwd, as containers have them) that would be an error of the system.
 * No command runs in here.
 */
export async function asSomeone<T>(load: () => Promise<T>): Promise<T> {
  const missing = Object.entries({HOME: '/', SHELL: '/bin/sh'}).filter(
    ([name]) => process.env[name] === undefined,
  )
  Object.assign(process.env, Object.fromEntries(missing))
  try {
    return await load()
  } finally {
    for (const [name] of missing) delete process.env[name]
  }
}
