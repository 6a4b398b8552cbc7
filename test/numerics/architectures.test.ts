/** @file Tiny random models of every architecture against transformers, peft and PyTorch: logits, gradients, optimiser steps, cached generation. oracle/tiny_models.py makes them; two Llamas are fixtures as well, for where PyTorch is not at hand (in CI it must be). */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadBase, modulesOf, Random, type BaseModel } from '../../main/engine/index.ts';
import { graphPath, writeOnnxFolder } from '../../main/engine/export/folder.ts';
import { OnnxReader } from '../../main/engine/export/read.ts';
import { mergeableOf, mergedWeights } from '../../main/engine/model/merge.ts';
import { parameter } from '../../main/engine/model/parameters.ts';
import { writeAdapterGguf } from '../../main/formats/gguf/adapter.ts';
import { writeModelGguf } from '../../main/formats/gguf/export.ts';
import { writeModelFolder } from '../../main/formats/huggingface/write.ts';
import type { HfConfig } from '../../main/formats/model.ts';
import { openModel } from '../../main/formats/open.ts';
import { readAdapter, writeAdapter } from '../../main/formats/peft.ts';
import { openWithLlamaCpp } from '../../main/workers/llama-cpp.ts';
import { writeTinyTokenizer } from '../fixtures/tiny-model.ts';
import { found, need } from '../support/needs.ts';
import { askAllTransformers, runOracle } from '../support/oracle.ts';
import { worstDifference } from '../support/numbers.ts';
import { parityChecks } from '../support/parity-checks.ts';
import { ARCHITECTURES, FIXTURES, goOn, TOLERANCE, type Greedy } from '../support/parity.ts';

const LORA = { rank: 4, alpha: 8, seed: 1 };
const fixtures = join(import.meta.dirname, '../fixtures/tiny-llama');

let folder: string | undefined;
/** All of them are made at once, by the first test that needs one. */
const made = (test: Parameters<typeof need>[0]): string => {
  const python = need(test, 'oracle', found.python);
  if (!folder) {
    folder = mkdtempSync(join(tmpdir(), 'fettle-tiny-'));
    runOracle(python, 'tiny_models.py', [folder, ...ARCHITECTURES]);
  }
  return folder;
};
afterAll(() => folder && rmSync(folder, { recursive: true, force: true }));

describe.each(FIXTURES)('a tiny Llama with a head that is %s, from the fixtures', (name) =>
  checks(() => join(fixtures, name)),
);
describe.each(ARCHITECTURES)('%s, from live PyTorch', (name) => checks((test) => join(made(test), name)));

/** What is exported, with what a GGUF file cannot hold set aside: windows in these families, Gemma's scale other than that of its heads. */
const EXPORTED: Readonly<Record<string, HfConfig>> = {
  'llama-linear': {},
  'llama-llama3': {},
  'llama-yarn': {},
  mistral: { sliding_window: null },
  qwen2: { use_sliding_window: false, layer_types: null, sliding_window: null },
  qwen3: {},
  gemma2: { query_pre_attn_scalar: 16 },
  gemma3: { query_pre_attn_scalar: 16 },
  phi3: { sliding_window: null },
  'phi3-longrope': {},
  gpt2: {},
};
/** Longer than the windows, and than the length at which LongRoPE turns otherwise. */
const PROMPTS = [0, 1, 2].map((seed) => {
  const random = new Random(seed + 40);
  return Array.from({ length: 20 + seed }, () => random.int(256));
});
const TOKENS = 16;
/** llama.cpp’s logits (of some units) differ from transformers’ by up to 0.015, from a file in 32 bits too. */
const TIE = 0.02;

describe('exported', () => {
  const exported = new Map<string, Promise<Exported>>();
  const exportedOf = (test: Parameters<typeof need>[0], name: string): Promise<Exported> => {
    const from = join(made(test), name);
    if (!exported.has(name)) exported.set(name, exportAll(from, join(made(test), 'exported', name), EXPORTED[name]!));
    return exported.get(name)!;
  };

  describe.each(Object.keys(EXPORTED))('%s', (name) => {
    it('is the same model when its GGUF file is read again', async (test) => {
      const { gguf, logits } = await exportedOf(test, name);
      expect(worstDifference(await lastLogits(gguf), logits)).toBeLessThan(TOLERANCE.logits);
    });

    it('is the same model as an ONNX graph, or refused with a sentence', async (test) => {
      const { onnx, logits, greedy } = await exportedOf(test, name);
      if (name === 'phi3-longrope')
        return expect(onnx).toMatchObject({ code: 'EXPORT_UNSUPPORTED', message: expect.stringContaining('LongRoPE') });
      if (onnx instanceof Error) throw onnx;
      const reader = await OnnxReader.open(graphPath(onnx, 'f32'), { threads: 1, maxTokens: 64 });
      expect(worstDifference(await logitsAfter(reader), logits)).toBeLessThan(TOLERANCE.logits);
      expect((await goOn(reader, PROMPTS[0]!, TOKENS)).ids).toEqual(greedy[0]!.ids);
      await reader.release();
    });

    it.for(['merged', 'as an adapter on its base'])(
      '%s is gone on from by llama.cpp with the same tokens',
      async (how, test) => {
        process.env.FETTLE_LLAMA_CPP = need(test, 'llama.cpp', found.llamaCpp);
        const { gguf, baseGguf, lora, greedy } = await exportedOf(test, name);
        const options = { contextSize: 64, threads: 1 };
        const model = (
          how === 'merged'
            ? await openWithLlamaCpp(gguf, options)
            : await openWithLlamaCpp(baseGguf, { ...options, lora })
        )!;
        for (const [i, prompt] of PROMPTS.entries()) {
          const { ids, gaps } = greedy[i]!;
          const said = await model.goOn(prompt, TOKENS);
          // It stops at the end of an answer, and takes another way where two tokens are as good.
          const stop = ids.findIndex((id, t) => model.ends(id) || (id !== said[t] && gaps[t]! < TIE));
          expect(said.slice(0, stop < 0 ? TOKENS : stop)).toEqual(ids.slice(0, stop < 0 ? TOKENS : stop));
        }
        await model.close();
      },
    );
  });

  it('as folders and adapters, all give transformers and peft the same logits', async (test) => {
    const python = need(test, 'oracle', found.python);
    const all: Exported[] = [];
    for (const name of Object.keys(EXPORTED)) all.push(await exportedOf(test, name));
    const requests = all.flatMap(({ merged, base, adapter, fromGguf }) => [
      { model: merged, logits: PROMPTS },
      { model: base, adapter, logits: PROMPTS },
      { model: fromGguf, logits: PROMPTS },
    ]);
    const answers = askAllTransformers(python, requests);
    for (const [i, { model, adapter }] of requests.entries())
      expect(
        worstDifference(answers[i]!.logits.flat(), all[Math.floor(i / 3)]!.logits),
        `${model} ${adapter ?? ''}`,
      ).toBeLessThan(TOLERANCE.logits);
  });
});

type Askable = Pick<BaseModel | OnnxReader, 'generator'>;

interface Exported {
  /** Folders, and a file. */
  readonly base: string;
  readonly merged: string;
  readonly adapter: string;
  readonly gguf: string;
  /** The model without its adapter, and the adapter. */
  readonly baseGguf: string;
  readonly lora: string;
  /** What refused it, where there can be none. */
  readonly onnx: string | Error;
  /** The GGUF file's model as a folder again. */
  readonly fromGguf: string;
  /** Of the model with its adapter, after each prompt. */
  readonly logits: Float32Array;
  readonly greedy: readonly Greedy[];
}

/** Writes a model with its adapter in every format. */
async function exportAll(from: string, to: string, changes: HfConfig): Promise<Exported> {
  const at = (name: string): string => join(to, name);
  cpSync(join(from, 'model'), at('base'), { recursive: true });
  // The last of equal keys counts. As text, since JavaScript would write 3.0 as 3, which transformers refuses.
  const config = readFileSync(join(from, 'model/config.json'), 'utf8').trimEnd().slice(0, -1);
  const extra = Object.entries(changes).map(([key, value]) => `, "${key}": ${JSON.stringify(value)}`);
  writeFileSync(join(at('base'), 'config.json'), `${config}${extra.join('')}}`);
  await writeTinyTokenizer(at('base'));
  const files = await openModel(at('base'));
  const base = await loadBase(files.config, files.weights, { threads: 1 });
  const made = await readAdapter(join(from, 'adapter'));
  const model = base.withLora({ ...LORA, targetModules: made.lora.targetModules });
  await model.load(made.weights);
  await made.close();
  const merged = { ...files, weights: mergedWeights(mergeableOf(model), files.weights, model.spec) };
  await writeModelFolder(at('merged'), merged, { dtype: 'f32' });
  await writeModelGguf(at('model.gguf'), merged, 'f32', { name: 'A test', license: null });
  const tensors = model.parameters.entries.map(({ name, shape }) => ({
    name,
    shape,
    data: parameter(model.parameters, name),
  }));
  const { transposed } = model.spec;
  await writeAdapter(at('adapter'), tensors, { ...model.lora!, baseModel: 'tiny', transposed });
  const read = await openModel(at('model.gguf'));
  await writeModelFolder(at('from-gguf'), read, { dtype: 'f32' });
  await read.close();
  await writeModelGguf(at('base.gguf'), files, 'f32', { name: 'A test', license: null });
  await writeAdapterGguf(
    at('adapter.gguf'),
    { lora: model.lora!, tensors },
    { config: files.config, name: 'A test', type: 'f32' },
  );
  mkdirSync(at('onnx'));
  const onnx = await writeOnnxFolder(at('onnx'), merged, 'f32', () => undefined).then(
    () => at('onnx'),
    (error: Error) => error,
  );
  const greedy: Greedy[] = [];
  for (const prompt of PROMPTS) greedy.push(await goOn(model, prompt, TOKENS));
  const logits = await logitsAfter(model);
  await base.release();
  await files.close();
  return {
    base: at('base'),
    merged: at('merged'),
    adapter: at('adapter'),
    gguf: at('model.gguf'),
    baseGguf: at('base.gguf'),
    lora: at('adapter.gguf'),
    onnx,
    fromGguf: at('from-gguf'),
    logits,
    greedy,
  };
}

/** After each prompt, one after the other. */
async function logitsAfter(model: Askable): Promise<Float32Array> {
  const all: number[] = [];
  for (const prompt of PROMPTS) {
    const decoder = model.generator();
    all.push(...(await decoder.prefill(prompt)));
    await decoder.release();
  }
  return Float32Array.from(all);
}

async function lastLogits(path: string): Promise<Float32Array> {
  const files = await openModel(path);
  const base = await loadBase(files.config, files.weights, { threads: 1 });
  const logits = await logitsAfter(base);
  await base.release();
  await files.close();
  return logits;
}

function checks(folderOf: (test: { skip(note?: string): void }) => string): void {
  parityChecks('architecture', folderOf, ({ model: { lora, spec } }) => {
    expect(lora).toMatchObject({ rank: LORA.rank, alpha: LORA.alpha });
    expect([...lora!.targetModules].sort()).toEqual(modulesOf(spec).sort());
  });
}
