/** Writes MessagePack, byte for byte as Perl's Data::MessagePack writes it for Qudo's serializer. */

const MIN_INT64 = -(2n ** 63n)
const MAX_UINT64 = 2n ** 64n - 1n

/**
 * Values are those of JSON, and bytes, BigInts of 64 bits, NaN and the infinities besides; toJSON is heeded. Text is
 * `bin`, a key, too, since a string of Perl's is bytes; whole numbers are as short as they go; all others are doubles.
 * @throws RangeError for a BigInt of more than 64 bits, text that is no Unicode, and for what is nested too deeply
 */
export function pack(value: unknown): Buffer {
  const writer = new Writer()
  writer.value(value)
  return writer.bytes
}

class Writer {
  #buffer = Buffer.allocUnsafe(256)
  #at = 0

  get bytes(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#at))
  }

  value(value: unknown): void {
    if (typeof value === 'string') this.#text(value)
    else if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'bigint') this.#bigint(value)
    else if (typeof value === 'boolean') this.#byte(value ? 0xc3 : 0xc2)
    else if (value === null || value === undefined) this.#byte(0xc0)
    else if (typeof value === 'object') this.#object(value)
    else throw new RangeError(`a ${typeof value}`)
  }

  #object(value: object): void {
    if (Array.isArray(value)) {
      this.#head(value.length, 0x90, 0xdc)
      for (const item of value) this.value(item)
    } else if (value instanceof Uint8Array) {
      this.#binHead(value.length)
      this.#room(value.length)
      this.#buffer.set(value, this.#at)
      this.#at += value.length
    } else if ('toJSON' in value && typeof value.toJSON === 'function') {
      this.value(value.toJSON(''))
    } else {
      const members = Object.entries(value).filter(([, item]) => item !== undefined)
      this.#head(members.length, 0x80, 0xde)
      for (const [key, item] of members) {
        this.#text(key)
        this.value(item)
      }
    }
  }

  #text(text: string): void {
    if (!text.isWellFormed()) throw new RangeError('text with half a surrogate pair, which UTF-8 has not')
    const size = Buffer.byteLength(text)
    this.#binHead(size)
    this.#room(size)
    this.#at += this.#buffer.write(text, this.#at)
  }

  #binHead(size: number): void {
    if (size < 0x100) this.#sized(0xc4, size, 1)
    else if (size < 0x10000) this.#sized(0xc5, size, 2)
    else this.#sized(0xc6, size, 4)
  }

  /** @param short up to 15, in the byte itself @param long with 16 bits, and the one after it with 32 */
  #head(size: number, short: number, long: number): void {
    if (size < 16) this.#byte(short | size)
    else if (size < 0x10000) this.#sized(long, size, 2)
    else this.#sized(long + 1, size, 4)
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) this.#whole(value)
    else this.#double(value)
  }

  #whole(value: number): void {
    if (value >= 0) {
      if (value < 0x80) this.#byte(value)
      else if (value < 0x100) this.#sized(0xcc, value, 1)
      else if (value < 0x10000) this.#sized(0xcd, value, 2)
      else if (value < 0x100000000) this.#sized(0xce, value, 4)
      else this.#whole64(BigInt(value))
    } else if (value >= -0x20) this.#byte(value & 0xff)
    else if (value >= -0x80) this.#sized(0xd0, value & 0xff, 1)
    else if (value >= -0x8000) this.#sized(0xd1, value & 0xffff, 2)
    else if (value >= -0x80000000) this.#sized(0xd2, value >>> 0, 4)
    else this.#whole64(BigInt(value))
  }

  #bigint(value: bigint): void {
    if (value >= -0x80000000n && value < 0x100000000n) this.#whole(Number(value))
    else if (value >= MIN_INT64 && value <= MAX_UINT64) this.#whole64(value)
    else throw new RangeError(`the BigInt ${value}, of more than 64 bits`)
  }

  #whole64(value: bigint): void {
    this.#byte(value < 0n ? 0xd3 : 0xcf)
    this.#room(8)
    this.#at = this.#buffer.writeBigUInt64BE(BigInt.asUintN(64, value), this.#at)
  }

  #double(value: number): void {
    this.#byte(0xcb)
    this.#room(8)
    this.#at = this.#buffer.writeDoubleBE(value, this.#at)
  }

  #sized(type: number, value: number, bytes: 1 | 2 | 4): void {
    this.#byte(type)
    this.#room(bytes)
    this.#at = this.#buffer.writeUIntBE(value, this.#at, bytes)
  }

  #byte(byte: number): void {
    this.#room(1)
    this.#buffer[this.#at++] = byte
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#at + bytes))
    larger.set(this.#buffer.subarray(0, this.#at))
    this.#buffer = larger
  }
}
