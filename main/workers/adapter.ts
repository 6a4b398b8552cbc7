/** @file Child process: looks at an adapter that was made elsewhere, and writes it down as a checkpoint of its own. */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Imported } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import { fitAdapter, readSpec } from '../engine/index.ts';
import { sha256 } from '../formats/sha256.ts';
import { openModel } from '../formats/open.ts';
import { writeAdapter } from '../formats/peft.ts';
import { readPeft } from '../formats/tuned.ts';
import { runChild } from './child.ts';

export interface AdapterJob {
  /** Folder of a PEFT adapter. */
  readonly from: string;
  /** The base model, as openModel takes it, and its name. */
  readonly model: string;
  readonly modelName: string;
  /** Folder that is made, whole or not at all. */
  readonly to: string;
}
export interface AdapterEvent {
  readonly stage: string;
  readonly share: number;
}
export interface AdapterFound {
  readonly imported: Omit<Imported, 'name'>;
  readonly bytes: number;
}

/** How far it is, is told once in so many tensors. */
const TOLD = 16;

runChild<AdapterJob, AdapterEvent, AdapterFound>(async ({ from, model, modelName, to }, { emit, signal }) => {
  const opened = await openModel(model);
  try {
    const { stated, ...adapter } = await readPeft(from);
    try {
      const spec = readSpec(opened.config);
      const { targetModules, tensors } = fitAdapter(spec, adapter, stated.tied);
      const { rank, alpha, useRslora = false, useDora = false, modulesToSave = [] } = adapter.lora;
      const told = tensors.map(({ data, ...tensor }, i) => ({
        ...tensor,
        async data(): Promise<Float32Array> {
          if (signal.aborted) throw new FettleError('CANCELLED', 'Bringing the adapter in was cancelled.');
          if (i % TOLD === 0) emit({ stage: 'Writing the adapter', share: i / tensors.length });
          return typeof data === 'function' ? data() : Float32Array.from(data);
        },
      }));
      await writeAdapter(to, told, {
        ...adapter.lora,
        targetModules,
        baseModel: modelName,
        transposed: spec.transposed,
      });
      const hash = await sha256(join(from, 'adapter_model.safetensors'));
      return {
        imported: {
          base: stated.base,
          rank,
          alpha,
          useRslora,
          useDora,
          targetModules: [...targetModules],
          modulesToSave: [...modulesToSave],
          hash: hash,
        },
        bytes: (await stat(join(to, 'adapter_model.safetensors'))).size,
      };
    } finally {
      await adapter.close();
    }
  } catch (error) {
    await rm(to, { recursive: true, force: true });
    throw error;
  } finally {
    await opened.close();
  }
});
