/** @file What this machine is: processor, memory, disk. */
import { readdirSync, statSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Machine } from '../contract/entities.ts';
import type { Core } from '../core/context.ts';
import { availableMemory } from '../core/memory.ts';
import { freeBytes } from '../formats/disk.ts';

export async function describeMachine({ home, threads }: Pick<Core, 'home' | 'threads'>): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model.trim() ?? process.arch,
    cores: availableParallelism(),
    threads,
    memoryBytes: totalmem(),
    freeMemoryBytes: availableMemory(),
    diskFreeBytes: await freeBytes(home.root),
    homeBytes: bytesBelow(home.root),
  };
}

function bytesBelow(folder: string): number {
  let sum = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    sum += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return sum;
}
