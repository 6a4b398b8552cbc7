/** @file A base kept in fewer bits, of each kind of architecture, against the same simulated in PyTorch with float64: logits, loss, gradients. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isQuantised } from '../../main/contract/recipe.ts';
import { loadBase, measureRounding, Random, readSpec, type TunedModel } from '../../main/engine/index.ts';
import { readWeights, wantedBy } from '../../main/engine/model/weights.ts';
import { freezer, type Rounding } from '../../main/engine/quantise/freeze.ts';
import { Gptq, groupSizes } from '../../main/engine/quantise/gptq.ts';
import { roundingTensors } from '../../main/engine/quantise/stored.ts';
import { tensor } from '../../main/engine/segments/session.ts';
import { assembleBatch } from '../../main/engine/train/batches.ts';
import type { Example } from '../../main/engine/types.ts';
import type { HfConfig, WeightSource } from '../../main/formats/model.ts';
import { openSafetensors, writeSafetensors, type TensorToWrite } from '../../main/formats/safetensors.ts';
import { withAdapter } from '../../main/workers/load.ts';
import { unpackedInt4 } from '../support/int4.ts';
import { openModelFolder } from '../support/models.ts';
import { relativeError } from '../support/numbers.ts';
import { found, need } from '../support/needs.ts';
import { runOracle } from '../support/oracle.ts';

/**
 * Relative in norm. float32 and float64 differ by an ulp before rounding, so that now and then a number falls on the other
 * step: one of 127 of one number. Most rows of logits see none of that; all together, and the gradients, see some.
 */
const MOST_ROWS = 1e-4;
const ALL_ROWS = 1e-2;
const MOST_GRADIENTS = 1e-2;
const EACH_GRADIENT = 5e-2;
const LOSS = 1e-3;
/** Of halves, which are the same ones there: what float32 products leave. */
const HALVES = { logits: 1e-4, gradients: 1e-3, loss: 1e-4 } as const;
/** Of weights in 4 bits, as a share: none was, where this was written; one that is takes those after it along. */
const OTHER_STEPS = 0.01;
/** Short rows, several of them: a number on the other step is seen by all that comes after it in its row. */
const [ROWS, LENGTH] = [8, 16];
/** Of the weights, narrower than elsewhere: through wide ones a number on the other step grows from layer to layer. */
const SPREAD = '0.08';

/** Heads that are tied and not, biases, a soft cap, weights in one layer or turned. */
const FAMILIES = ['llama-linear', 'llama-llama3', 'qwen3', 'gemma2', 'phi3', 'gpt2'];
const PRECISIONS = ['fp16', 'int8', 'int4'] as const;
const CASES = FAMILIES.flatMap((family) => PRECISIONS.map((precision) => ({ family, precision })));

const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)]!;
const random = new Random(4);
const example = (): Example => ({
  ids: Int32Array.from({ length: LENGTH }, () => random.int(256)),
  loss: new Uint8Array(LENGTH).fill(1),
});
const rows = Array.from({ length: ROWS }, example);

const folder = mkdtempSync(join(tmpdir(), 'fettle-quantised-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The linear layers as their 4 bits have them, by their names in the files. */
async function roundedWeights(config: HfConfig, source: WeightSource, rounding: Rounding): Promise<TensorToWrite[]> {
  const spec = readSpec(config);
  const freeze = freezer(spec, 'int4', rounding, 1);
  const { layers } = await readWeights(spec, source, freeze);
  await freeze.release();
  return wantedBy(spec).layers.flatMap((wanted, layer) =>
    wanted
      .filter(({ projection }) => projection !== undefined)
      .map(({ name, shape, from }) => ({
        name: from.name,
        shape,
        data: unpackedInt4(layers[layer]!, name, shape as [number, number]),
      })),
  );
}

interface Rounded {
  readonly model: TunedModel;
  /** Of int4: a file of what its steps stand for. */
  readonly weights: string | undefined;
  readonly expected: Awaited<ReturnType<typeof openSafetensors>>;
  release(): Promise<void>;
}
let made: Promise<Map<string, Rounded>> | undefined;
/** All of them at once: Python and its libraries take longer to start than these models to answer. */
async function makeAll(python: string): Promise<Map<string, Rounded>> {
  runOracle(python, 'tiny_models.py', [folder, '--spread', SPREAD, ...FAMILIES]);
  const models = new Map<string, Omit<Rounded, 'expected' | 'weights'>>();
  const requests: { readonly out: string; readonly weights?: string }[] = [];
  for (const { family, precision } of CASES) {
    const at = (name: string): string => join(folder, family, name);
    const { config, weights } = await openModelFolder(at('model'));
    const rounding = isQuantised(precision)
      ? await measureRounding(config, weights, { threads: 1, precision }, Array.from({ length: 6 }, example))
      : undefined;
    const base = await loadBase(config, weights, { threads: 1, precision, rounding });
    const model = (await withAdapter(base, at('adapter'))) as TunedModel;
    models.set(`${family} ${precision}`, { model, release: () => base.release() });
    const [stored, out] = [at(`${precision}.rounding.safetensors`), at(`${precision}.expected.safetensors`)];
    if (rounding) await writeSafetensors(stored, roundingTensors(rounding));
    const ids = rows.map((row) => [...row.ids]);
    const common = { model: at('model'), adapter: at('adapter'), rounding: stored, precision, ids, out };
    if (precision !== 'int4') requests.push(common);
    else {
      const steps = at('int4.weights.safetensors');
      await writeSafetensors(steps, await roundedWeights(config, weights, rounding!));
      requests.push({ ...common, weights: steps });
    }
    await weights.close();
  }
  const request = join(folder, 'request.json');
  writeFileSync(request, JSON.stringify(requests));
  runOracle(python, 'quantised.py', [request]);
  const all = new Map<string, Rounded>();
  for (const [i, [name, each]] of [...models].entries())
    all.set(name, { ...each, weights: requests[i]!.weights, expected: await openSafetensors(requests[i]!.out) });
  return all;
}

describe.each(FAMILIES)('%s in int4', (family) => {
  it('has the weights that GPTQ gives after the same rows', async (test) => {
    made ??= makeAll(need(test, 'oracle', found.python));
    const { expected, weights } = (await made).get(`${family} int4`)!;
    const file = await openSafetensors(weights!);
    expect(file.names.length).toBeGreaterThan(0);
    for (const name of file.names)
      expect(apart(await file.read(name), await expected.read(`rounded.${name}`)), name).toBeLessThan(OTHER_STEPS);
    await file.close();
  });
});

it('inputs in groups, the last of them smaller, are rounded as GPTQ rounds each', async (test) => {
  const python = need(test, 'oracle', found.python);
  const [to, from, seen] = [24, 880, 1200];
  const drawn = (size: number): Float32Array => Float32Array.from({ length: size }, () => random.normal());
  const weight = drawn(to * from);
  // Neighbours go together, or there would be nothing to make up for.
  const own = drawn(seen * from);
  const x = own.map((value, i) => value + (i % from > 0 ? own[i - 1]! : 0));
  const groups = groupSizes(from);
  expect(new Set(groups).size).toBe(2);
  const at = (name: string): string => join(folder, name);
  await writeSafetensors(at('grouped.safetensors'), [
    { name: 'weight', shape: [to, from], data: weight },
    { name: 'x', shape: [seen, from], data: x },
  ]);
  const request = { weight: at('grouped.safetensors'), groups, out: at('rounded.safetensors') };
  writeFileSync(at('grouped.json'), JSON.stringify(request));
  runOracle(python, 'gptq.py', [at('grouped.json')]);
  const gptq = new Gptq(1);
  const made = await gptq.round([{ name: 'w', tensor: tensor(weight, [to, from]) }], momentsOf(x, from, groups));
  await gptq.release();
  const expected = await openSafetensors(request.out);
  expect(apart(unpackedInt4(made, 'w', [to, from]), await expected.read('rounded'))).toBeLessThan(OTHER_STEPS);
  await expected.close();
});

/** Sums of x x' over rows x [rows, from], for each group of columns. */
function momentsOf(x: Float32Array, from: number, groups: readonly number[]): Float64Array[] {
  let start = 0;
  return groups.map((size) => {
    const moments = new Float64Array(size * size);
    for (let row = start; row < x.length; row += from)
      for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) moments[i * size + j]! += x[row + i]! * x[row + j]!;
    start += size;
    return moments;
  });
}

/** Share of numbers that are on another step. */
const apart = (got: Float32Array, wanted: Float32Array): number =>
  got.filter((x, i) => Math.abs(x - wanted[i]!) > 1e-4).length / got.length;

describe.each(CASES)('$family in $precision', ({ family, precision }) => {
  it('has the logits, the loss and the gradients of the simulation', async (test) => {
    made ??= makeAll(need(test, 'oracle', found.python));
    const { model, expected, release } = (await made).get(`${family} ${precision}`)!;
    const { parameters } = model;
    const logits = await expected.read('logits');
    const got = new Float32Array(logits.length);
    for (const [i, { ids }] of rows.entries()) got.set(await model.logits(ids), (i * logits.length) / ROWS);
    const halves = precision === 'fp16';
    expect(relativeError(got, logits)).toBeLessThan(halves ? HALVES.logits : ALL_ROWS);
    const { vocab } = model.spec;
    const apart = Array.from({ length: ROWS * LENGTH }, (_, at) =>
      relativeError(got.subarray(at * vocab, (at + 1) * vocab), logits.subarray(at * vocab, (at + 1) * vocab)),
    );
    expect(quantile(apart, 0.7)).toBeLessThan(MOST_ROWS);
    const batch = assembleBatch(
      rows.map((row) => [row]),
      LENGTH,
    );
    parameters.gradients.fill(0);
    const loss = (await model.accumulate(batch, 1 / batch.labelled)) / batch.labelled;
    expect(Math.abs(loss - (await expected.read('loss'))[0]!)).toBeLessThan(halves ? HALVES.loss : LOSS);
    const gradients: number[] = [];
    for (const { name, offset, size } of parameters.entries) {
      const got = parameters.gradients.subarray(offset, offset + size);
      gradients.push(relativeError(got, await expected.read(`grad.${name}`)));
      expect(gradients.at(-1), name).toBeLessThan(halves ? HALVES.gradients : EACH_GRADIENT);
    }
    expect(quantile(gradients, 0.5)).toBeLessThan(MOST_GRADIENTS);
    await expected.close();
    await release();
  });
});
