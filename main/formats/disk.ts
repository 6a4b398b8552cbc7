/** @file The room on a disk: what is free, and caches that are kept to a size. */
import { rm, stat, statfs } from 'node:fs/promises';

/** Bytes that are free where a path lies. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/** Of these files the newest stay that have at most so many bytes together; the others go. One that went meanwhile is none. */
export async function keepNewest(paths: readonly string[], most: number): Promise<void> {
  const known = await Promise.all(
    paths.map(async (path) => {
      const { size, mtimeMs } = await stat(path).catch(() => ({ size: 0, mtimeMs: 0 }));
      return { path, size, mtimeMs };
    }),
  );
  let bytes = 0;
  for (const { path, size } of known.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
    bytes += size;
    if (bytes > most) await rm(path, { force: true });
  }
}
