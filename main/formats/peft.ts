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
/** modules_to_save that are understood: embedding and head, as the families name them. */
const SAVEABLE: readonly string[] = ['embed_tokens', 'wte', 'lm_head'];
export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
export const ADAPTER_FILE = 'adapter_model.safetensors';
const PICKLE = 'adapter_model.bin';

export interface LoraSettings {
  readonly rank: number;
  readonly alpha: number;
  readonly targetModules: readonly string[];
  /** Rank-stabilised; plain where it is left out. */
  readonly useRslora?: boolean;
  /** Weight-decomposed (DoRA, Liu et al. 2024). */
  readonly useDora?: boolean;
  /** Weights outside the blocks that are trained in whole: embed_tokens or wte, lm_head. */
  readonly modulesToSave?: readonly string[];
}

/** Factor of the adapter's product: alpha / rank (Hu et al. 2021), or alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023). */
export const scaleOf = ({
  rank,
  alpha,
  useRslora = false,
}: Pick<LoraSettings, 'rank' | 'alpha' | 'useRslora'>): number => alpha / (useRslora ? Math.sqrt(rank) : rank);

/** The base model that an adapter belongs to. */
export interface AdapterBase {
  /** It is named, never located. */
  readonly baseModel: string;
  /** Its linear layers are kept as [in, out]. A and B are the same in both cases, so reading does not ask. */
  readonly transposed: boolean;
}

/** What PEFT 0.21 writes for such an adapter. */
export function adapterConfig({
  rank,
  alpha,
  targetModules,
  useRslora = false,
  useDora = false,
  modulesToSave = [],
  baseModel,
  transposed,
}: LoraSettings & AdapterBase): Record<string, unknown> {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: baseModel.split(/[\\/]/).at(-1) ?? baseModel,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    target_modules: [...targetModules],
    bias: 'none',
    fan_in_fan_out: transposed,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
    // Of a model whose head is its embedding one copy is trained, for both.
    ...(modulesToSave.length > 0 ? { ensure_weight_tying: true } : {}),
    rank_pattern: {},
    alpha_pattern: {},
    use_rslora: useRslora,
    use_dora: useDora,
  };
}

/**
 * Writes an adapter's folder. Names are the base model's (`model.layers.0.self_attn.q_proj.lora_A.weight`), float32.
 * @throws DISK_FULL
 */
export async function writeAdapter(
  folder: string,
  tensors: readonly TensorToWrite[],
  settings: LoraSettings & AdapterBase,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeSafetensors(
    join(folder, ADAPTER_FILE),
    tensors.map((tensor) => ({ ...tensor, name: PEFT_PREFIX + tensor.name })),
  );
  await writeFile(join(folder, ADAPTER_CONFIG_FILE), `${JSON.stringify(adapterConfig(settings), null, 2)}\n`);
}

/** What the engine can take over; everything else an adapter may hold changes its results and is refused by name. */
const Config = z.looseObject({
  peft_type: z.string(),
  task_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  ensure_weight_tying: z.boolean().nullish(),
  r: z.int().min(1).max(4096),
  lora_alpha: z.number().positive(),
  target_modules: z.union([z.array(z.string()), z.string()]),
  bias: z.string().nullish(),
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
  // Of a base that keeps its linear layers the other way round: the adapter's matrices are the same.
  'fan_in_fan_out',
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

/** With what else its own files state. */
export interface PeftAdapter extends Adapter {
  readonly stated: {
    /** The last part of what it names as its base. */
    readonly base: string | null;
    /** A head and an embedding that are one weight were trained as one. */
    readonly tied: boolean;
  };
}

/** @throws FILE_NOT_FOUND, FORMAT_INVALID, MODEL_UNSUPPORTED for what the engine cannot take over. */
export async function readAdapter(folder: string): Promise<PeftAdapter> {
  const path = join(folder, ADAPTER_CONFIG_FILE);
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
  const saved = [...new Set((config.modules_to_save ?? []).map((name) => name.split('.').at(-1)!))];
  const refused: [boolean, string][] = [
    [config.peft_type !== 'LORA', `the method ${config.peft_type}`],
    [(config.bias ?? 'none') !== 'none', 'trained biases'],
    [saved.some((name) => !SAVEABLE.includes(name)), `whole trained modules (${saved.join(', ')})`],
    [filled(config.rank_pattern) || filled(config.alpha_pattern), 'other ranks for some modules'],
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
      'LoRA adapters are supported, rank-stabilised and weight-decomposed ones too, with embedding and head trained in whole or not.',
    );
  if (!existsSync(join(folder, ADAPTER_FILE)) && existsSync(join(folder, PICKLE)))
    throw new FettleError(
      'FORMAT_INVALID',
      `The adapter's weights are in ${PICKLE}, a format that can run any program when it is opened; Fettle does not open it.`,
      'Whoever made it can save it again as safetensors: model.save_pretrained(folder, safe_serialization=True).',
    );

  const weights = await openSafetensors(join(folder, ADAPTER_FILE));
  // A pattern for the modules' names stands for those that the file holds.
  const held = new Set(weights.names.flatMap((name) => /([^.]+)\.lora_A\.weight$/.exec(name)?.[1] ?? []));
  const targetModules = Array.isArray(config.target_modules)
    ? config.target_modules.map((name) => name.split('.').at(-1)!)
    : [...held];
  return {
    lora: {
      rank: config.r,
      alpha: config.lora_alpha,
      targetModules: [...new Set(targetModules)],
      useRslora: config.use_rslora ?? false,
      useDora: config.use_dora ?? false,
      modulesToSave: saved,
    },
    weights,
    stated: {
      base: config.base_model_name_or_path?.split(/[\\/]/).at(-1) || null,
      tied: config.ensure_weight_tying === true,
    },
    close: () => weights.close(),
  };
}

/**
 * Adapters that stand on each other as one on the base: ranks concatenated. With W + s1 B1 A1 + s2 B2 A2, the one has
 * A = [A1; A2], B = [s1 B1, s2 B2] and scale 1; a module that one of them leaves alone has zeros there.
 * @param adapters first stage to last, of the same base model.
 * @throws EXPORT_UNSUPPORTED for what is more than a sum of products.
 */
export async function concatenateAdapters(
  adapters: readonly Adapter[],
): Promise<{ lora: LoraSettings; tensors: TensorToWrite[] }> {
  if (adapters.some(({ lora }) => lora.useDora || (lora.modulesToSave ?? []).length > 0))
    throw new FettleError(
      'EXPORT_UNSUPPORTED',
      'Stages cannot be put into one adapter where one of them is weight-decomposed (DoRA) or trained whole modules.',
      'Export the merged model, or the last stage alone.',
    );
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
        const scale = scaleOf(lora);
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
