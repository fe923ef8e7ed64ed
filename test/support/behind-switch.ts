/** A store that can be cut off: it fails then as a server does that is gone. */
import {StoreError} from '../../src/lib/jobs/errors.ts'
import type {Store} from '../../src/lib/store/store.ts'

export function behindSwitch(store: Store, isCut: () => boolean): Store {
  return new Proxy(store, {
    get(target, key) {
      const value = Reflect.get(target, key)
      if (typeof value !== 'function' || key === 'close' || key === 'watch') return bound(value, target)
      return (...args: unknown[]) => {
        if (isCut()) throw new StoreError('UNREACHABLE', 'the server is gone')
        return value.apply(target, args)
      }
    },
  })
}

function bound(value: unknown, target: object): unknown {
  return typeof value === 'function' ? value.bind(target) : value
}
