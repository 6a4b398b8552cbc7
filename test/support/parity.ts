/** @file How far Fettle's numbers are from transformers', peft's and PyTorch's on tiny models: measured once, for the tests that assert it and the benchmark that prints it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { loadBase, type BaseModel, type TunedModel } from '../../main/engine/index.ts';
import type { OnnxReader } from '../../main/engine/export/read.ts';
import { mergeableOf, mergedWeights } from '../../main/engine/model/merge.ts';
import { inFile } from '../../main/engine/model/parameters.ts';
import { openSafetensors } from '../../main/formats/safetensors.ts';
import { withAdapter } from '../../main/workers/load.ts';
import { openModelFolder } from './models.ts';
import { relativeError, worstDifference } from './numbers.ts';
import { batchOf } from './oracle.ts';

/** Of logits of a few units, absolute; of each gradient, relative in norm; of a loss in nats, absolute. */
export const TOLERANCE = { logits: 1e-4, gradient: 1e-3, loss: 1e-3 } as const;

/** Tiny Llamas that are fixtures as well, for where PyTorch is not at hand. */
export const FIXTURES = ['tied', 'untied'];
/** What oracle/tiny_models.py makes: a base model with a LoRA adapter. */
export const ARCHITECTURES = [
  ...FIXTURES,
  'llama-linear',
  'llama-llama3',
  'llama-yarn',
  'mistral',
  'qwen2',
  'qwen3',
  'gemma2',
  'gemma3',
  'phi3',
  'phi3-longrope',
  'gpt2',
];
/** What oracle/methods.py makes: a model trained by each other method, and in whole in every architecture. */
export const METHODS = [
  'rslora',
  'dora',
  'dora-bias',
  'dora-gpt2',
  'saved',
  'saved-tied',
  'full',
  'full-tied',
  ...ARCHITECTURES.filter((name) => !FIXTURES.includes(name) && !['llama-llama3', 'llama-yarn'].includes(name)).map(
    (name) => `full-${name}`,
  ),
];

const Facts = z.object({
  loss: z.number(),
  adamw: z.object({
    learningRate: z.number(),
    beta1: z.number(),
    beta2: z.number(),
    epsilon: z.number(),
    weightDecay: z.number(),
    maxGradNorm: z.number(),
    loraPlusRatio: z.number().default(1),
  }),
  losses: z.array(z.number()),
  gradNorms: z.array(z.number()),
  prompt: z.array(z.number()),
  greedy: z.array(z.number()),
});

/** One model with what the oracle made of it. */
export interface ParityCase {
  readonly model: TunedModel;
  readonly base: BaseModel;
  /** Largest difference of all logits: of what is tuned, and of its base or, for a method, of all merged into one. */
  logits(): Promise<number>;
  /** The furthest of all gradients with its name, and how far the loss is. Fails where the oracle trained something else. */
  gradients(): Promise<{ readonly worst: number; readonly name: string; readonly loss: number }>;
  /** Over 20 steps of AdamW: the furthest loss, and the furthest norm of the gradients, relative. */
  steps(): Promise<{ readonly loss: number; readonly norm: number }>;
  /** Tokens from the first that are the oracle's, written through the cache. */
  greedy(): Promise<{ readonly equal: number; readonly of: number }>;
  release(): Promise<void>;
}

/** @param folder as tiny_models.py or methods.py wrote it */
export async function openParity(folder: string, kind: 'architecture' | 'method'): Promise<ParityCase> {
  const { config, weights } = await openModelFolder(join(folder, 'model'));
  const base = await loadBase(config, weights, { threads: 2 });
  const expected = await openSafetensors(join(folder, 'expected.safetensors'));
  const facts = Facts.parse(JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')));
  const model = (await withAdapter(base, join(folder, kind === 'method' ? 'tuned' : 'adapter'))) as TunedModel;
  const { parameters } = model;
  const integers = async (name: string): Promise<Int32Array> => Int32Array.from(await expected.readIntegers(name));

  async function apart(subject: Pick<BaseModel, 'logits'>, name: string): Promise<number> {
    const [rows, length] = expected.info('ids').shape as [number, number];
    const [ids, wanted] = [await integers('ids'), await expected.read(name)];
    let worst = 0;
    for (let row = 0; row < rows; row++) {
      const got = await subject.logits(ids.slice(row * length, (row + 1) * length));
      worst = Math.max(worst, worstDifference(got, wanted.subarray(row * got.length, (row + 1) * got.length)));
    }
    return worst;
  }

  return {
    model,
    base,
    async logits() {
      if (kind === 'architecture') return Math.max(await apart(base, 'logits'), await apart(model, 'logits.adapter'));
      const merged = await loadBase(config, mergedWeights(mergeableOf(model), weights, model.spec), { threads: 2 });
      const worst = Math.max(await apart(model, 'logits'), await apart(merged, 'logits'));
      await merged.release();
      return worst;
    },
    async gradients() {
      const batch = batchOf(expected.info('ids').shape, await integers('ids'), await integers('labels'));
      parameters.gradients.fill(0);
      const sum = await model.accumulate(batch, 1 / batch.labelled);
      const wanted = expected.names.filter((name) => name.startsWith('grad.')).sort();
      const own = parameters.entries.map(({ name }) => `grad.${name}`).sort();
      if (own.join() !== wanted.join())
        throw new Error(`the oracle trained ${wanted.join(', ')} and Fettle ${own.join(', ')}`);
      let [worst, name] = [-1, ''];
      for (const entry of parameters.entries) {
        const got = inFile(entry, parameters.gradients.subarray(entry.offset, entry.offset + entry.size));
        const error = relativeError(got, await expected.read(`grad.${entry.name}`));
        if (!(error <= worst)) [worst, name] = [error, entry.name];
      }
      return { worst, name, loss: Math.abs(sum / batch.labelled - facts.loss) };
    },
    async steps() {
      const [count, ...shape] = expected.info('train.ids').shape as [number, number, number];
      const [ids, labels] = [await integers('train.ids'), await integers('train.labels')];
      const size = ids.length / count;
      const { learningRate, maxGradNorm, ...options } = facts.adamw;
      const optimiser = model.optimizer(options);
      const [losses, norms]: [number[], number[]] = [[], []];
      for (let step = 0; step < count; step++) {
        const cut = (from: Int32Array): Int32Array => from.slice(step * size, (step + 1) * size);
        const batch = batchOf(shape, cut(ids), cut(labels));
        await optimiser.zero();
        losses.push((await model.accumulate(batch, 1 / batch.labelled)) / batch.labelled);
        norms.push(await optimiser.clip(maxGradNorm));
        await optimiser.step(learningRate);
      }
      return {
        loss: worstDifference(losses, facts.losses),
        norm: worstDifference(
          norms.map((norm, i) => norm / facts.gradNorms[i]!),
          facts.gradNorms.map(() => 1),
        ),
      };
    },
    async greedy() {
      const { ids } = await goOn(model, facts.prompt, facts.greedy.length);
      const other = ids.findIndex((id, i) => id !== facts.greedy[i]);
      return { equal: other < 0 ? ids.length : other, of: facts.greedy.length };
    },
    async release() {
      await base.release();
      await weights.close();
      await expected.close();
    },
  };
}

export interface Greedy {
  readonly ids: readonly number[];
  /** Between the two best logits at each token. */
  readonly gaps: readonly number[];
}

/** The likeliest tokens after a prompt, one after the other. */
export async function goOn(
  model: Pick<BaseModel | OnnxReader, 'generator'>,
  prompt: readonly number[],
  tokens: number,
): Promise<Greedy> {
  const decoder = model.generator();
  let logits = await decoder.prefill(prompt);
  const [ids, gaps]: [number[], number[]] = [[], []];
  while (ids.length < tokens) {
    const [first, second] = logits.toSorted((a, b) => b - a);
    ids.push(logits.indexOf(first!));
    gaps.push(first! - second!);
    logits = await decoder.step(ids.at(-1)!);
  }
  await decoder.release();
  return { ids, gaps };
}
