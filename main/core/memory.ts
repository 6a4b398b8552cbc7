/** @file How much memory this machine can still give. */
import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';

/** Bytes that a new process can have without swapping. On Linux `freemem` leaves out what the page cache would give back. */
export function availableMemory(): number {
  try {
    const found = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
    if (found) return Number(found[1]) * 1024;
  } catch {
    // Not Linux: freemem is right there.
  }
  return freemem();
}
