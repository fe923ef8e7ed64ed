/** Anything, as a person may read it: node:util's inspect, loaded when it is first needed. It costs a process 3 MB. */
export function inspected(value: unknown): string {
  const {inspect} = process.getBuiltinModule('node:util')
  return inspect(value, {breakLength: Number.POSITIVE_INFINITY})
}
