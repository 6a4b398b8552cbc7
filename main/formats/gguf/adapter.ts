/** @file A LoRA adapter as a GGUF file that llama.cpp puts on a base's own GGUF: names, order of rows, scale. Written, and read again. */
import { open, type FileHandle } from 'node:fs/promises';
import { FettleError, toFettleError } from '../../contract/errors.ts';
import type { HfConfig, WeightSource } from '../model.ts';
import { scaleOf, type LoraSettings } from '../peft.ts';
import { readExactly } from '../read-exactly.ts';
import type { TensorToWrite } from '../safetensors.ts';
import type { Tuned } from '../tuned.ts';
import { describe } from './config.ts';
import { ggufName, huggingFaceName, type Change, type Family } from './names.ts';
import { readGgufHeader, type GgufTensor } from './read.ts';
import { writeGguf, type GgufTensorToWrite } from './write.ts';

const FILE_TYPES = { f32: 0, f16: 1 } as const;
export type AdapterGgufType = keyof typeof FILE_TYPES;

/**
 * @param tensors matrices by the base model's names: `model.layers.0.self_attn.q_proj.lora_A.weight` [rank, in].
 * @throws EXPORT_UNSUPPORTED where the base's architecture has no place in the format, DISK_FULL
 */
export async function writeAdapterGguf(
  path: string,
  { lora, tensors }: { readonly lora: LoraSettings; readonly tensors: readonly TensorToWrite[] },
  { config, name, type }: { readonly config: HfConfig; readonly name: string; readonly type: AdapterGgufType },
): Promise<void> {
  // Refuses what the base itself could not be written as.
  const { family } = describe(config);
  const metadata = [
    ['general.architecture', ['string', family.name]],
    ['general.type', ['string', 'adapter']],
    ['general.name', ['string', name]],
    ['adapter.type', ['string', 'lora']],
    // llama.cpp divides it by the rank that it finds in the file, as PEFT does.
    ['adapter.lora.alpha', ['float32', scaleOf(lora) * lora.rank]],
    ['general.file_type', ['uint32', FILE_TYPES[type]]],
    ['general.quantization_version', ['uint32', 2]],
  ] as const;
  await writeGguf(
    path,
    metadata,
    tensors.map((tensor) => toWrite(tensor, family, config, type)),
  );
}

/** Of B, whose rows are the base's; where the base's axes change places, the adapter's matrices stay as they are. */
function changeOf(base: string, part: string, family: Family, config: HfConfig): Change | undefined {
  const change = part.toUpperCase() === 'B' ? family.change(base, config) : undefined;
  return change?.turned ? undefined : change;
}

function toWrite(
  { name, shape, data }: TensorToWrite,
  family: Family,
  config: HfConfig,
  type: AdapterGgufType,
): GgufTensorToWrite {
  const [, stem, part] = /^(.+)\.lora_([AB])\.weight$/.exec(name) ?? [];
  const base = stem === undefined ? undefined : ggufName(family, `${stem}.weight`);
  if (base === undefined)
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      `llama.cpp has no name for the tensor ${name}.`,
      'Export as a PEFT adapter.',
    );
  const change = changeOf(base, part!, family, config);
  return {
    name: `${base}.lora_${part!.toLowerCase()}`,
    shape,
    storage: type === 'f16' ? 'F16' : 'F32',
    read: async () => {
      const numbers = (typeof data === 'function' ? await data() : data) as Float32Array;
      return change ? change.toGguf(numbers, shape) : numbers;
    },
  };
}

/**
 * Opens such a file as the adapter that it is, by the base model's names.
 * @param config of the base model. @throws FILE_*, FORMAT_INVALID, MODEL_UNSUPPORTED
 */
export async function readAdapterGguf(path: string, config: HfConfig): Promise<Tuned> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw toFettleError(error);
  });
  try {
    const { metadata, tensors } = await readGgufHeader(file, path);
    const alpha = metadata.get('adapter.lora.alpha');
    if (metadata.get('general.type') !== 'adapter' || metadata.get('adapter.type') !== 'lora' || !(Number(alpha) > 0))
      throw new FettleError('FORMAT_INVALID', `${path} holds no LoRA adapter.`, 'Give a GGUF file of an adapter.');
    const { family } = describe(config);
    const byName = new Map<string, Placed>();
    for (const tensor of tensors) {
      const [, base, part] = /^(.+)\.lora_([ab])$/.exec(tensor.name) ?? [];
      const name = base === undefined ? undefined : huggingFaceName(family, base);
      if (name === undefined)
        throw new FettleError(
          'MODEL_UNSUPPORTED',
          `${path} has a tensor that has no place in a LoRA adapter: ${tensor.name}.`,
          'Plain LoRA adapters are supported.',
        );
      byName.set(`${name.replace(/\.weight$/, '')}.lora_${part!.toUpperCase()}.weight`, {
        tensor,
        change: changeOf(base!, part!, family, config),
      });
    }
    const names = [...byName.keys()];
    const modules = names.flatMap((name) => /([^.]+)\.lora_A\.weight$/.exec(name)?.[1] ?? []);
    const rank = names.flatMap((name) =>
      name.endsWith('.lora_A.weight') ? [byName.get(name)!.tensor.shape[0]!] : [],
    )[0];
    if (rank === undefined)
      throw new FettleError('FORMAT_INVALID', `${path} holds no matrices.`, 'Get the file again from where it came.');
    return {
      lora: { rank, alpha: Number(alpha), targetModules: [...new Set(modules)] },
      weights: weightsIn(file, path, byName),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface Placed {
  readonly tensor: GgufTensor;
  readonly change: Change | undefined;
}

function weightsIn(file: FileHandle, path: string, byName: ReadonlyMap<string, Placed>): WeightSource {
  const found = (name: string): Placed => {
    const entry = byName.get(name);
    if (!entry) throw new FettleError('MODEL_INCOMPLETE', `${path} has no tensor ${name}.`, 'Get the complete file.');
    return entry;
  };
  return {
    names: [...byName.keys()],
    info: (name) => ({ shape: found(name).tensor.shape, storage: found(name).tensor.block.storage }),
    async read(name) {
      const { tensor, change } = found(name);
      const bytes = new Uint8Array(tensor.bytes);
      await readExactly(file, path, bytes, tensor.start);
      const numbers = tensor.block.widen(bytes);
      return change ? change.toHuggingFace(numbers, tensor.shape) : numbers;
    },
  };
}
