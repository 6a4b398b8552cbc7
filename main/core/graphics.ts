/** @file What the system tells of a graphics processor: which one a process opened, and its memory. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The device that Vulkan's loader opened, from what it wrote with VK_LOADER_DEBUG=driver; null where it wrote nothing. */
export const openedDevice = (written: string): string | null =>
  [...written.matchAll(/Using "([^"]+)" with driver:/g)].at(-1)?.[1] ?? null;

/** Processors that are the CPU in disguise: SwiftShader, Mesa's llvmpipe and lavapipe, Windows' WARP. */
export const isSoftware = (name: string): boolean =>
  /swiftshader|llvmpipe|lavapipe|softpipe|software|basic render|warp/i.test(name);

/** Bytes of a graphics processor's own memory, or of the machine's where it shares that; null where nobody tells. */
export async function graphicsMemory(name: string | null): Promise<number | null> {
  if (process.platform === 'darwin') return totalmem();
  if (name === null) return null;
  if (/nvidia|geforce|quadro|tesla|rtx/i.test(name)) return nvidiaMemory();
  if (/intel/i.test(name) && !/arc/i.test(name)) return totalmem();
  return /amd|radeon/i.test(name) ? amdMemory() : null;
}

async function nvidiaMemory(): Promise<number | null> {
  const asked = ['--query-gpu=memory.total', '--format=csv,noheader,nounits'];
  const { stdout } = await promisify(execFile)('nvidia-smi', asked, { timeout: 5000 }).catch(() => ({ stdout: '' }));
  const mebibytes = Number(stdout.split('\n')[0]);
  return mebibytes > 0 ? mebibytes * 2 ** 20 : null;
}

function amdMemory(): number | null {
  const cards = '/sys/class/drm';
  try {
    const sizes = readdirSync(cards)
      .filter((card) => /^card\d+$/.test(card))
      .map((card) => Number(readFileSync(join(cards, card, 'device/mem_info_vram_total'), 'utf8')));
    return sizes.length > 0 ? Math.max(...sizes) : null;
  } catch {
    return null;
  }
}
