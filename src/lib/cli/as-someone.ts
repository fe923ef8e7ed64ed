/**
 * Loading oclif asks for the user's shell and home, for what jobq has no use for. Where nothing tells (a user without a
 * line in /etc/passwd, as containers have them) that would be the system's error: so meanwhile the environment does. No
 * command runs in here.
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
