/** Hosts of the measurement's own: network namespaces on one bridge, which nothing else is connected to (Linux, root). */
import {execFileSync} from 'node:child_process'
import type {Bench} from './scenario.ts'

const NETWORK = '10.77.0'
/** Where the bridge is. */
const MIDDLE = 'jobq-middle'

export interface TestHost {
  address: string
  /** What a command is begun with to run there. */
  prefix: readonly string[]
}

/** @throws where this machine lets nobody make any */
export function makeHosts({defer}: Bench, count: number): TestHost[] {
  add(defer, MIDDLE)
  ip('-n', MIDDLE, 'link', 'add', 'bridge', 'type', 'bridge')
  ip('-n', MIDDLE, 'link', 'set', 'bridge', 'up')
  return Array.from({length: count}, (_, i) => {
    const name = `jobq-host-${i + 1}`
    const address = `${NETWORK}.${i + 1}`
    add(defer, name)
    ip('-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `to${i + 1}`, 'netns', MIDDLE)
    ip('-n', MIDDLE, 'link', 'set', `to${i + 1}`, 'master', 'bridge', 'up')
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0')
    for (const device of ['lo', 'eth0']) ip('-n', name, 'link', 'set', device, 'up')
    return {address, prefix: ['ip', 'netns', 'exec', name]}
  })
}

function add(defer: Bench['defer'], name: string): void {
  ip('netns', 'add', name)
  defer(() => ip('netns', 'delete', name))
}

function ip(...words: readonly string[]): void {
  execFileSync('ip', words, {stdio: ['ignore', 'ignore', 'pipe']})
}
