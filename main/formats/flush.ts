/** @file Makes what was written last over a power cut: files, and the folders that name them. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export async function flush(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A rename is durable once its folder is flushed; Windows has no such call. */
export async function flushFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** All files in a folder and those below it, then the folders. */
export async function flushTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true }))
    await (entry.isDirectory() ? flushTree : flush)(join(path, entry.name));
  await flushFolder(path);
}
