/** @file Adapters that peft made, brought in as runs: the same logits, what is not understood refused by name, and what is exported of them as transformers and llama.cpp read it. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Export, Run } from '../../main/contract/entities.ts';
import { FettleError } from '../../main/contract/errors.ts';
import { ALLOWED } from '../../main/contract/export-types.ts';
import { readSpec } from '../../main/engine/index.ts';
import { mergeableIn, mergedWeights } from '../../main/engine/model/merge.ts';
import { writeModelFolder } from '../../main/formats/huggingface/write.ts';
import { openModel } from '../../main/formats/open.ts';
import { readTuned } from '../../main/formats/tuned.ts';
import { createApp, type App } from '../../main/hosts/app.ts';
import { loadModel, withAdapter } from '../../main/workers/load.ts';
import { writeTinyModel } from '../fixtures/tiny-model.ts';
import { found, need } from '../support/needs.ts';
import { worstDifference } from '../support/numbers.ts';
import { askAllTransformers, runOracle } from '../support/oracle.ts';

/** On a machine that is slow and busy: time is measured elsewhere. */
const PATIENCE = 600_000;
const LOGITS = 1e-3;
const folder = mkdtempSync(join(tmpdir(), 'fettle-adapters-'));
const at = (...names: string[]): string => join(folder, ...names);
let app: App;
let tiny: string;
let expected: { readonly ids: number[]; readonly [name: string]: number[] };

beforeAll(async () => {
  tiny = await writeTinyModel(at('tiny'));
  process.env.FETTLE_LLAMA_CPP = found.llamaCpp ?? '';
  app = createApp({ home: at('home'), kind: 'command', threads: 1 });
  await app.client.call('projects.create', { name: 'Shop' });
  await app.core.jobs.settled((await app.client.call('models.add', { path: tiny, name: 'tiny' })).id);
  if (!found.python) return;
  mkdirSync(at('peft'));
  runOracle(found.python, 'foreign_adapters.py', [tiny, at('peft')]);
  expected = z
    .record(z.string(), z.array(z.number()))
    .parse(JSON.parse(readFileSync(at('peft', 'expected.json'), 'utf8'))) as typeof expected;
}, PATIENCE);
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

const bring = async (name: string, model = 'tiny'): Promise<Run> => {
  const { id } = await app.client.call('runs.import', { project: 'shop', model, path: at('peft', name) });
  const { error, subject } = await app.core.jobs.settled(id);
  if (error) throw FettleError.fromInfo(error);
  return app.client.call('runs.show', { run: subject });
};
const checkpointOf = (run: Run): string => at('home', 'projects', 'shop', 'runs', run.id, 'checkpoints', 'imported');
const refusal = async (bringing: Promise<Run>): Promise<string> => {
  const error: unknown = await bringing.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof FettleError ? `${error.code}: ${error.message}` : String(error);
};

describe('adapters that peft made', () => {
  it.for(['rslora', 'all-linear', 'dora'])('%s answers as in peft', { timeout: PATIENCE }, async (name, test) => {
    need(test, 'oracle', found.python);
    const run = await bring(name);
    expect(run).toMatchObject({ state: 'completed', strategy: null, recipe: null, dataset: null, heldOutLoss: null });
    expect(run.imported).toMatchObject({
      name,
      rank: 4,
      alpha: 6,
      useRslora: name === 'rslora',
      useDora: name === 'dora',
      base: 'tiny',
    });
    const { base, close } = await loadModel(tiny, 1);
    try {
      const model = await withAdapter(base, checkpointOf(run));
      expect(worstDifference(await model.logits(Int32Array.from(expected.ids)), expected[name]!)).toBeLessThan(LOGITS);
    } finally {
      await close();
    }
  });

  it.for([
    ['dora-of-a-layer', /MODEL_UNSUPPORTED.*DoRA.*leaves model\.layers\.0/],
    ['saved-modules', /MODEL_UNSUPPORTED.*lm_head apart from the embedding/],
    ['bias', /MODEL_UNSUPPORTED.*trained biases/],
    ['rank-pattern', /MODEL_UNSUPPORTED.*other ranks/],
    ['alpha-pattern', /MODEL_UNSUPPORTED.*other ranks/],
    ['embedding', /MODEL_UNSUPPORTED.*embed_tokens/],
    ['pissa', /MODEL_UNSUPPORTED.*pissa/],
    ['tokens', /MODEL_UNSUPPORTED.*trainable_token_indices/],
  ] as const)('%s is refused by name', { timeout: PATIENCE }, async ([name, words], test) => {
    need(test, 'oracle', found.python);
    expect(await refusal(bring(name))).toMatch(words);
  });

  it('a pickle is never opened, another model’s adapter does not fit', { timeout: PATIENCE }, async (test) => {
    need(test, 'oracle', found.python);
    mkdirSync(at('peft', 'pickle'));
    copyFileSync(at('peft', 'rslora', 'adapter_config.json'), at('peft', 'pickle', 'adapter_config.json'));
    copyFileSync(at('peft', 'adapter_model.bin'), at('peft', 'pickle', 'adapter_model.bin'));
    expect(await refusal(bring('pickle'))).toMatch(/FORMAT_INVALID.*adapter_model\.bin.*can run any program/);
    const wide = await writeTinyModel(at('wide'), { hidden: 128 });
    await app.core.jobs.settled((await app.client.call('models.add', { path: wide, name: 'wide' })).id);
    expect(await refusal(bring('rslora', 'wide'))).toMatch(/MODEL_UNSUPPORTED.*\[4, 64\].*\[4, 128\]/);
    expect(await refusal(bring('nowhere'))).toMatch(/FILE_NOT_FOUND/);
    // What was refused left nothing behind.
    expect(readdirSync(at('home', 'temporary')).filter((name) => name.startsWith('adapter-'))).toEqual([]);
  });
});

describe('what is exported of one', () => {
  let run: Run;
  /** So that the last position of each is every position of the whole. */
  const prefixes = (): number[][] => expected.ids.map((_, i) => expected.ids.slice(0, i + 1));
  const wanted = (): number[][] => {
    const vocabulary = expected['rslora']!.length / expected.ids.length;
    return expected.ids.map((_, i) => expected['rslora']!.slice(i * vocabulary, (i + 1) * vocabulary));
  };
  type Rows = readonly (readonly number[])[];
  const farthest = (a: Rows, b: Rows): number => Math.max(...a.map((row, i) => worstDifference(row, b[i]!)));
  /** Mean loss of the ids in nats, from logits of each prefix. */
  const loss = (logits: Rows): number => {
    const each = expected.ids.slice(1).map((id, i) => {
      const row = logits[i]!;
      const most = Math.max(...row);
      return most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0)) - row[id]!;
    });
    return each.reduce((a, b) => a + b, 0) / each.length;
  };
  const made = async (format: Export['format'], name: string): Promise<Export> => {
    const { id } = await app.client.call('exports.start', { run: run.id, format, out: at(name) });
    await app.core.jobs.settled(app.core.jobs.of('export', id)!.id);
    return app.client.call('exports.show', { export: id });
  };
  const DTYPES = ['f32', 'f16', 'bf16'] as const;
  /** Merged weights cut into files, as one writes them where they are larger than two gigabytes. */
  async function cut(): Promise<void> {
    const [opened, adapter] = [await openModel(tiny), await readTuned(checkpointOf(run))];
    const weights = mergedWeights(mergeableIn(adapter), opened.weights, readSpec(opened.config));
    for (const dtype of DTYPES)
      await writeModelFolder(at(dtype), { ...opened, weights }, { dtype, shardBytes: 100_000 });
    await adapter.close();
    await opened.close();
  }
  beforeAll(async () => {
    if (found.python) run = await bring('rslora');
  });

  it(
    'answers elsewhere as the adapter in peft: merged, in files of 32 and 16 bits, and as an adapter again',
    { timeout: PATIENCE },
    async (test) => {
      const python = need(test, 'oracle', found.python);
      // The project has no data: it is asked about Fettle's own.
      for (const format of ['safetensors', 'adapter'] as const) {
        const { error, proof } = await made(format, format);
        expect([format, error, proof?.verdict]).toEqual([format, null, 'equal']);
      }
      await cut();
      const asked = { logits: prefixes(), prompts: [expected.ids], maxTokens: 24 };
      const [peft, merged, again, ...pieces] = askAllTransformers(python, [
        { ...asked, model: tiny, adapter: at('peft', 'rslora') },
        { ...asked, model: at('safetensors') },
        { ...asked, model: tiny, adapter: at('adapter') },
        ...DTYPES.map((dtype) => ({ ...asked, model: at(dtype) })),
      ]);
      for (const { logits } of [peft!, merged!, again!, pieces[0]!])
        expect(farthest(logits, wanted())).toBeLessThan(LOGITS);
      for (const { greedy } of [merged!, again!, pieces[0]!]) expect(greedy[0]!.ids).toEqual(peft!.greedy[0]!.ids);
      for (const [i, dtype] of DTYPES.entries()) {
        const names = readdirSync(at(dtype));
        expect(names).toContain('model.safetensors.index.json');
        expect(names.filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(1);
        expect(Math.abs(loss(pieces[i]!.logits) / loss(wanted()) - 1)).toBeLessThan(ALLOWED[dtype]);
      }
    },
  );

  it('answers in llama.cpp on the base’s own GGUF', { timeout: PATIENCE }, async (test) => {
    need(test, 'oracle', found.python);
    need(test, 'llama.cpp', found.llamaCpp);
    const { error, proof } = await made('gguf-adapter', 'gguf');
    expect([error, proof?.verdict]).toEqual([null, 'equal']);
    expect(proof!.readers).toMatchObject([{ name: 'llama.cpp', agrees: true }]);
  });
});
