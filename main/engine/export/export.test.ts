/** @file An exported graph, run by ONNX Runtime from its files: the model's logits in every type, padded rows, the cache, and what lies in the folder. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/fixtures/tiny-model.ts';
import { worstDifference } from '../../../test/support/numbers.ts';
import type { ModelFiles } from '../../formats/model.ts';
import { openModel } from '../../formats/open.ts';
import { writeOnnx } from '../../formats/onnx/write.ts';
import { reshape } from '../graph/ops/index.ts';
import { FREE, Scope } from '../graph/value.ts';
import { loadBase, readSpec, type BaseModel } from '../index.ts';
import { graphPath, onnxBytes, writeOnnxFolder } from './folder.ts';
import { onnxModel } from './model.ts';
import { OnnxReader } from './read.ts';

const root = mkdtempSync(join(tmpdir(), 'fettle-onnx-'));
const IDS = Int32Array.of(72, 105, 32, 116, 104, 101, 114, 101, 46, 10, 65, 66);
let files: ModelFiles;
let base: BaseModel;

beforeAll(async () => {
  files = await openModel(await writeTinyModel(join(root, 'model')));
  base = await loadBase(files.config, files.weights, { threads: 1 });
});
afterAll(async () => {
  await base.release();
  await files.close();
  rmSync(root, { recursive: true, force: true });
});

async function exported(name: string, type: 'f32' | 'f16' | 'q8' | 'q4'): Promise<string> {
  const folder = mkdtempSync(join(root, `${name}-`));
  await writeOnnxFolder(folder, files, type, () => undefined);
  return folder;
}

describe('an exported graph', () => {
  it.each([
    ['f32', 1e-5],
    ['f16', 1e-2],
    ['q8', 0.1],
    ['q4', 1],
  ] as const)('%s gives the model’s logits, all at once and token by token', async (type, tolerance) => {
    const reader = await OnnxReader.open(graphPath(await exported('logits', type), type), {
      threads: 1,
      maxTokens: 512,
    });
    const wanted = await base.logits(IDS);
    const { logits, vocab } = await reader.run(IDS, {});
    expect(worstDifference(logits, wanted)).toBeLessThan(tolerance);

    const decoder = reader.generator();
    let last = await decoder.prefill([...IDS.subarray(0, 5)]);
    for (let i = 5; i < IDS.length; i++) last = await decoder.step(IDS[i]!);
    // The cache changes nothing but the order of sums; halves of it are rounded once more.
    expect(worstDifference(last, logits.slice(-vocab))).toBeLessThan(type === 'f16' ? 5e-3 : 1e-4);
    await reader.release();
  });

  it.each(['left', 'right'] as const)(
    'a row of a batch that is padded on the %s reads as it does alone',
    async (side) => {
      const session = await InferenceSession.create(graphPath(await exported('batch', 'f32'), 'f32'));
      const { layers, kvHeads, headDim, vocab } = readSpec(files.config);
      const short = IDS.subarray(0, 7);
      const missing = IDS.length - short.length;
      const row = (values: ArrayLike<number>, filler: number): number[] =>
        side === 'left'
          ? [...new Array<number>(missing).fill(filler), ...Array.from(values)]
          : [...Array.from(values), ...new Array<number>(missing).fill(filler)];
      const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
      const integers = (...rows: readonly number[][]): Tensor =>
        new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [2, IDS.length]);
      const feeds: Record<string, Tensor> = {
        input_ids: integers([...IDS], row(short, 258)),
        attention_mask: integers(
          new Array<number>(IDS.length).fill(1),
          row(
            short.map(() => 1),
            0,
          ),
        ),
        position_ids: integers(count(IDS.length), row(count(short.length), 1)),
      };
      for (const layer of count(layers))
        for (const name of ['key', 'value'])
          feeds[`past_key_values.${layer}.${name}`] = new Tensor('float32', new Float32Array(0), [
            2,
            kvHeads,
            0,
            headDim,
          ]);
      const { logits } = await session.run(feeds);
      const start = (IDS.length + (side === 'left' ? missing : 0)) * vocab;
      const got = (logits!.data as Float32Array).subarray(start, start + short.length * vocab);
      expect(worstDifference(got, await base.logits(short))).toBeLessThan(1e-4);
      await session.release();
    },
  );

  it('takes apart no lengths that it cannot tell from each other', () => {
    const x = new Scope().input('x', [FREE, 8]);
    expect(reshape(x, [FREE, 2, 4]).shape).toEqual([FREE, 2, 4]);
    expect(() => reshape(x, [FREE, FREE, 8])).toThrow('cannot be told apart');
    expect(() => reshape(x.scope.input('y', [FREE, 2, FREE, 4]), [FREE, FREE, 4])).toThrow('cannot be told apart');
  });

  it('keeps eight bits in half of the blocks where most have four, for what is read and the way down', () => {
    const { groups } = onnxModel(readSpec({ ...files.config, num_hidden_layers: 8 }), files.weights, 'q4');
    const bits = (layer: number, name: string): (number | undefined)[] =>
      groups
        .flatMap(({ tensors }) => tensors)
        .filter((tensor) => tensor.name.startsWith(`model.layers.${layer}.${name}.`) && tensor.name.endsWith('.values'))
        .map(({ dims }) => dims[2]! / 4);
    expect([bits(0, 'qkv'), bits(0, 'o'), bits(0, 'gateUp'), bits(0, 'down')]).toEqual([[8, 8, 8], [4], [4, 4], [8]]);
    expect([bits(1, 'qkv'), bits(1, 'down')]).toEqual([[4, 4, 4], [4]]);
  });

  it('has no operator that only a CPU has', () => {
    const { graph } = onnxModel(readSpec(files.config), files.weights, 'f32');
    const kinds = new Set(graph.nodes.map(({ opType }) => opType));
    expect([...kinds].filter((kind) => ['FusedMatMul', 'QuickGelu'].includes(kind))).toEqual([]);
  });
});

describe('an exported folder', () => {
  it('holds what both clients look for, and as many bytes of weights as was told before', async () => {
    const folder = await exported('folder', 'q4');
    expect((await readdir(folder, { recursive: true })).toSorted()).toEqual([
      'config.json',
      'genai_config.json',
      'generation_config.json',
      'onnx',
      'onnx/model_q4.onnx',
      'onnx/model_q4.onnx_data',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const json = (name: string): Record<string, unknown> => JSON.parse(readFileSync(join(folder, name), 'utf8'));
    expect(json('config.json')).toMatchObject({
      model_type: 'llama',
      'transformers.js_config': { dtype: 'q4', use_external_data_format: { 'model_q4.onnx': 1 } },
    });
    expect(json('genai_config.json')).toMatchObject({
      model: {
        eos_token_id: [258],
        decoder: { filename: 'onnx/model_q4.onnx', num_key_value_heads: 2, head_size: 16 },
      },
    });
    const told = onnxBytes(files.config, files.weights, 'q4');
    const { size } = statSync(join(folder, 'onnx/model_q4.onnx_data'));
    // Tensors begin at whole pages.
    expect(size).toBeGreaterThanOrEqual(told);
    expect(size).toBeLessThan(told + 4096 * 60);
  });

  it('keeps large weights in several files, which ONNX Runtime finds', async () => {
    const path = join(mkdtempSync(join(root, 'split-')), 'model.onnx');
    const { graph, groups } = onnxModel(readSpec(files.config), files.weights, 'f32');
    expect(await writeOnnx(path, graph, groups, { fileBytes: 150_000 })).toBeGreaterThan(2);
    const reader = await OnnxReader.open(path, { threads: 1, maxTokens: 512 });
    expect(worstDifference((await reader.run(IDS, {})).logits, await base.logits(IDS))).toBeLessThan(1e-5);
    await reader.release();
  });

  it('is not there where it was given up, or where a weight cannot be read', async () => {
    const folder = mkdtempSync(join(root, 'given-up-'));
    const { graph, groups } = onnxModel(readSpec(files.config), files.weights, 'f32');
    const stop = (share: number): void => {
      if (share > 0.5) throw new Error('enough');
    };
    await expect(writeOnnx(join(folder, 'model.onnx'), graph, groups, { onTensor: stop })).rejects.toThrow();
    expect(await readdir(folder)).toEqual([]);
  });

  it('asks for one group of weights at a time', async () => {
    const { graph, groups } = onnxModel(readSpec(files.config), files.weights, 'q8');
    let asked = 0;
    const seen: number[] = [];
    const counted = groups.map((group) => ({
      ...group,
      read: () => {
        asked++;
        return group.read();
      },
    }));
    const path = join(mkdtempSync(join(root, 'one-')), 'model.onnx');
    await writeOnnx(path, graph, counted, { onTensor: () => seen.push(asked) });
    expect(seen).toEqual(groups.map((_, i) => i));
  });
});
