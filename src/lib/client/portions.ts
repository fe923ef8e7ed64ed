/** Many things, some at a time. */

export async function* portions<T>(all: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let portion: T[] = []
  for await (const one of all) {
    if (portion.push(one) < size) continue
    yield portion
    portion = []
  }
  if (portion.length > 0) yield portion
}

export function* slices<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size)
}
