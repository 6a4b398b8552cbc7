/** @file LoRA adapters as PEFT keeps them: adapter_config.json and adapter_model.safetensors. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { FettleError, toFettleError } from '../contract/errors.ts';
import type { WeightSource } from './model.ts';
import { openSafetensors, writeSafetensors, type TensorToWrite } from './safetensors.ts';

/** PEFT puts this before the base model's own names. */
export const PEFT_PREFIX = 'base_model.model.';
const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const PICKLE = 'adapter_model.bin';

export interface LoraSettings {
  readonly rank: number;
  /** The adapter's product is scaled by alpha / rank. */
  readonly alpha: number;
  readonly targetModules: readonly string[];
}

/** What PEFT 0.21 writes for such an adapter. The base model is named, never located. */
export function adapterConfig({
  rank,
  alpha,
  targetModules,
  baseModel,
}: LoraSettings & { readonly baseModel: string }): Record<string, unknown> {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: baseModel.split(/[\\/]/).at(-1) ?? baseModel,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    target_modules: [...targetModules],
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: null,
    rank_pattern: {},
    alpha_pattern: {},
    use_rslora: false,
    use_dora: false,
  };
}

/**
 * Writes an adapter's folder. Names are the base model's (`model.layers.0.self_attn.q_proj.lora_A.weight`), float32.
 * @throws DISK_FULL
 */
export async function writeAdapter(
  folder: string,
  tensors: readonly TensorToWrite[],
  settings: LoraSettings & { readonly baseModel: string },
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeSafetensors(
    join(folder, WEIGHTS),
    tensors.map((tensor) => ({ ...tensor, name: PEFT_PREFIX + tensor.name })),
  );
  await writeFile(join(folder, CONFIG), `${JSON.stringify(adapterConfig(settings), null, 2)}\n`);
}

/** What the engine can take over; everything else an adapter may hold changes its results and is refused by name. */
const Config = z.looseObject({
  peft_type: z.string(),
  task_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  r: z.int().min(1).max(4096),
  lora_alpha: z.number().positive(),
  target_modules: z.union([z.array(z.string()), z.string()]),
  bias: z.string().nullish(),
  fan_in_fan_out: z.boolean().nullish(),
  modules_to_save: z.array(z.string()).nullish(),
  rank_pattern: z.record(z.string(), z.unknown()).nullish(),
  alpha_pattern: z.record(z.string(), z.unknown()).nullish(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
});

/** Keys that change nothing once the adapter is trained, or that are looked at by name. */
const UNDERSTOOD = new Set([
  ...Object.keys(Config.shape),
  ...['auto_mapping', 'peft_version', 'revision', 'inference_mode', 'lora_dropout', 'runtime_config'],
  // Which modules it is on is seen by the names of the weights.
  ...['exclude_modules', 'layers_to_transform', 'layers_pattern'],
  ...['megatron_core', 'eva_config', 'qalora_group_size'],
]);
/** Beginnings that leave the base's weights as they are. */
const PLAIN_BEGINNINGS: readonly unknown[] = [undefined, null, true, false, 'true', 'gaussian', 'eva', 'orthogonal'];

export interface Adapter {
  readonly lora: LoraSettings;
  /** Names as PEFT writes them, with its prefix. */
  readonly weights: WeightSource;
  close(): Promise<void>;
}

/** As its own files state it. */
export interface PeftAdapter extends Adapter {
  readonly stated: { readonly alpha: number; readonly rslora: boolean; readonly base: string | null };
}

/** @throws FILE_NOT_FOUND, FORMAT_INVALID, MODEL_UNSUPPORTED for what is no plain LoRA. */
export async function readAdapter(folder: string): Promise<PeftAdapter> {
  const path = join(folder, CONFIG);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw toFettleError(error);
  });
  let config: z.infer<typeof Config>;
  try {
    config = Config.parse(JSON.parse(text));
  } catch (error) {
    throw new FettleError(
      'FORMAT_INVALID',
      `${path} is no valid adapter_config.json.`,
      'Give the folder of a PEFT LoRA adapter.',
      { cause: error },
    );
  }
  const filled = (value: unknown): boolean =>
    typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : Boolean(value);
  const unknown = Object.entries(config).find(([key, value]) => !UNDERSTOOD.has(key) && filled(value))?.[0];
  const refused: [boolean, string][] = [
    [config.peft_type !== 'LORA', `the method ${config.peft_type}`],
    [config.use_dora === true, 'DoRA'],
    [(config.bias ?? 'none') !== 'none', 'trained biases'],
    [(config.modules_to_save ?? []).length > 0, `whole trained modules (${(config.modules_to_save ?? []).join(', ')})`],
    [filled(config.rank_pattern) || filled(config.alpha_pattern), 'other ranks for some modules'],
    [config.fan_in_fan_out === true, 'transposed layers'],
    [(config.task_type ?? 'CAUSAL_LM') !== 'CAUSAL_LM', `the task ${config.task_type}`],
    [
      !PLAIN_BEGINNINGS.includes(config.init_lora_weights),
      `the beginning ${String(config.init_lora_weights)}, which changes the base's weights too`,
    ],
    [unknown !== undefined, `the option ${unknown}`],
  ];
  const [found] = refused.filter(([is]) => is);
  if (found)
    throw new FettleError(
      'MODEL_UNSUPPORTED',
      `The adapter in ${folder} uses ${found[1]}.`,
      'Plain LoRA adapters are supported, with or without rsLoRA.',
    );
  if (!existsSync(join(folder, WEIGHTS)) && existsSync(join(folder, PICKLE)))
    throw new FettleError(
      'FORMAT_INVALID',
      `The adapter's weights are in ${PICKLE}, a format that can run any program when it is opened; Fettle does not open it.`,
      'Whoever made it can save it again as safetensors: model.save_pretrained(folder, safe_serialization=True).',
    );

  const weights = await openSafetensors(join(folder, WEIGHTS));
  // A pattern for the modules' names stands for those that the file holds.
  const held = new Set(weights.names.flatMap((name) => /([^.]+)\.lora_A\.weight$/.exec(name)?.[1] ?? []));
  const targetModules = Array.isArray(config.target_modules)
    ? config.target_modules.map((name) => name.split('.').at(-1)!)
    : [...held];
  // rsLoRA divides by the root of the rank (Kalajdzievski 2023): the same product under another alpha.
  const alpha = config.use_rslora ? config.lora_alpha * Math.sqrt(config.r) : config.lora_alpha;
  return {
    lora: { rank: config.r, alpha, targetModules: [...new Set(targetModules)] },
    weights,
    stated: {
      alpha: config.lora_alpha,
      rslora: config.use_rslora === true,
      base: config.base_model_name_or_path?.split(/[\\/]/).at(-1) || null,
    },
    close: () => weights.close(),
  };
}

/**
 * Adapters that stand on each other as one on the base: ranks concatenated. With W + s1 B1 A1 + s2 B2 A2, the one has
 * A = [A1; A2], B = [s1 B1, s2 B2] and scale 1; a module that one of them leaves alone has zeros there.
 * @param adapters first stage to last, of the same base model.
 */
export async function concatenateAdapters(
  adapters: readonly Adapter[],
): Promise<{ lora: LoraSettings; tensors: TensorToWrite[] }> {
  const rank = adapters.reduce((sum, { lora }) => sum + lora.rank, 0);
  const stemOf = (name: string): string => name.slice(PEFT_PREFIX.length).replace(/\.lora_[AB]\.weight$/, '');
  const stems = [...new Set(adapters.flatMap(({ weights }) => weights.names.map(stemOf)))].sort();
  const tensors: TensorToWrite[] = [];
  for (const stem of stems) {
    const nameOf = (part: 'A' | 'B'): string => `${PEFT_PREFIX}${stem}.lora_${part}.weight`;
    const holder = adapters.find(({ weights }) => weights.names.includes(nameOf('A')))!.weights;
    const [ins, outs] = [holder.info(nameOf('A')).shape[1]!, holder.info(nameOf('B')).shape[0]!];
    const a = new Float32Array(rank * ins);
    const b = new Float32Array(outs * rank);
    let at = 0;
    for (const { lora, weights } of adapters) {
      if (weights.names.includes(nameOf('A'))) {
        a.set(await weights.read(nameOf('A')), at * ins);
        const own = await weights.read(nameOf('B'));
        const scale = lora.alpha / lora.rank;
        for (let out = 0; out < outs; out++)
          for (let r = 0; r < lora.rank; r++) b[out * rank + at + r] = scale * own[out * lora.rank + r]!;
      }
      at += lora.rank;
    }
    tensors.push(
      { name: `${stem}.lora_A.weight`, shape: [rank, ins], data: a },
      { name: `${stem}.lora_B.weight`, shape: [outs, rank], data: b },
    );
  }
  const targetModules = [...new Set(adapters.flatMap(({ lora }) => lora.targetModules))];
  return { lora: { rank, alpha: rank, targetModules }, tensors };
}
