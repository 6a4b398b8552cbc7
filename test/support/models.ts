/** @file A model's folder without a tokenizer, as the numeric fixtures have it: config and weights alone. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HfConfig } from '../../main/formats/model.ts';
import { openSafetensors, type SafetensorsFile } from '../../main/formats/safetensors.ts';

export async function openModelFolder(folder: string): Promise<{ config: HfConfig; weights: SafetensorsFile }> {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as HfConfig;
  return { config, weights: await openSafetensors(join(folder, 'model.safetensors')) };
}
