/**
 * A server's URL may name several hosts, `scheme://user:password@h1:1,h2,[::1]:3/database`, which neither URL nor a driver
 * reads: it is parted into a URL for each.
 */

/** Scheme, user and password, hosts, the rest. */
const PARTS = /^([a-z]+:\/\/)((?:[^/?#]*@)?)([^/?#]*)(.*)$/is

/** In their order; of a URL with one host itself. */
export function urlsOf(url: string): [string, ...string[]] {
  const [, scheme = '', user = '', hosts = '', rest = ''] = PARTS.exec(url) ?? []
  if (!hosts.includes(',')) return [url]
  return hosts.split(',').map(host => scheme + user + host.trim() + rest) as [string, ...string[]]
}

/** The other way round: the URL of one host, with all of them. @param hosts each `host:port` */
export function withHosts(url: string, hosts: readonly string[]): string {
  return url.replace(PARTS, (_, scheme, user, _host, rest) => scheme + user + hosts.join(',') + rest)
}

/** The host and its port, the same for all ways to write them. */
export function placeOf(url: string, driver: 'mysql' | 'postgres'): string {
  const {hostname, port} = new URL(url)
  const host = ['127.0.0.1', '[::1]'].includes(hostname) ? 'localhost' : hostname.toLowerCase()
  return `${host}:${port || (driver === 'mysql' ? 3306 : 5432)}`
}

/** As messages name it: `host:port`, or `host` where the port is the usual one. */
export function hostOf(url: string): string {
  return new URL(url).host
}
