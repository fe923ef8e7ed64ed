/**
 * Who holds SQLite's locks on a file, as Linux tells it. /proc/locks has those of all processes, but other containers';
 * it is for doubts only: the kernel waits until no processor is in the middle of a lock, 3 to 15 ms. Those of this process
 * stand in the fdinfo of its descriptors as well: 10 µs for each.
 */
import {readFileSync, type Stats} from 'node:fs'

/** Bytes that every connection of a process keeps locked: of the database, and of a -shm. */
const DATABASE_BYTE = 0x4000_0002
const SHM_BYTE = 128

/** Processes that have the file open with SQLite. @param locks lines of /proc/locks */
export function usersOf(file: Stats, kind: 'database' | 'shm', locks: string): Set<number> {
  const byte = kind === 'database' ? DATABASE_BYTE : SHM_BYTE
  const place = `${hex(major(file.dev))}:${hex(minor(file.dev))}:${file.ino}`
  const users = new Set<number>()
  for (const line of locks.split('\n')) {
    const [, type, , , pid, where, first, last] = line.trim().split(/ +/)
    if (type !== 'POSIX' || where !== place) continue
    if (Number(first) <= byte && (last === 'EOF' || byte <= Number(last))) users.add(Number(pid))
  }
  return users
}

/** Null where there is no such thing. */
export function allLocks(): string | null {
  try {
    return readFileSync('/proc/locks', 'latin1')
  } catch {
    return null
  }
}

/** Of a device's number, as the C library puts it together. */
const major = (dev: number) => Math.floor(dev / 0x100) % 0x1000
const minor = (dev: number) => (dev % 0x100) + Math.floor(dev / 0x10_0000) * 0x100

function hex(number: number): string {
  return number.toString(16).padStart(2, '0')
}
